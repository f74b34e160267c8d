//! One sentence that says to a duty officer why an alarm came or went.
//!
//! Called by the API, the notifier and the edge's status page with nothing but the evidence, so the sentence is the
//! same everywhere and for ever. Times are in the site's own fixed offset from UTC. It says 疑似 where power is only a
//! lead, and never more than the evidence holds.

mod several;
mod word;

use crate::evidence::{Evidence, FactNote, Input, Measure};
use crate::series::{Ms, Quality};
use crate::test::Test;
use crate::text::Lang;
use crate::transition::TransitionKind;
use word::{date, moment, number, quantity, share, span, time};

/// Most inputs named one by one in a sentence.
const INPUTS_NAMED_MAX: usize = 6;

/// Explains a transition in one sentence.
pub fn why(evidence: &Evidence, lang: Lang) -> String {
    let place = place(evidence, lang);
    if let Some(note) = &evidence.note {
        return finish(format!("{place}{}{}", colon(lang), note.get(lang)), lang);
    }
    let what = match evidence.kind {
        TransitionKind::Clear | TransitionKind::LevelDown => over(evidence, lang),
        TransitionKind::Unsuppress => {
            let still = holds(evidence, lang);
            match lang {
                Lang::Zh => format!("屏蔽已结束而条件仍在: {still}"),
                Lang::En => format!("what masked it is over and it still holds: {still}"),
            }
        }
        TransitionKind::Raise | TransitionKind::LevelUp => {
            format!("{}{}{}", order(evidence, lang), holds(evidence, lang), delay(evidence, lang))
        }
    };
    let text = format!("{place}{}{what}{}", colon(lang), notes(evidence, lang));
    finish(text, lang)
}

fn place(e: &Evidence, lang: Lang) -> String {
    let (site, object) = (e.site_name.get(lang), e.object_name.get(lang));
    if e.scope.object.is_empty() || object == site {
        return site.to_string();
    }
    match lang {
        Lang::Zh => format!("{site}「{object}」"),
        Lang::En => format!("{site}, {object}"),
    }
}

fn colon(lang: Lang) -> &'static str {
    match lang {
        Lang::Zh => ": ",
        Lang::En => ": ",
    }
}

fn finish(text: String, lang: Lang) -> String {
    match lang {
        Lang::Zh => text + "。",
        Lang::En => text + ".",
    }
}

/// Names the order under which the rule judged.
fn order(e: &Evidence, lang: Lang) -> String {
    let judged = matches!(e.test, Test::Activity { .. } | Test::RunOrdered { .. });
    let Some(fact) = e.facts.first().filter(|_| judged) else { return String::new() };
    let until = fact.valid_to.map(|t| date(t, e.utc_offset_min));
    match (lang, until) {
        (Lang::Zh, Some(d)) => format!("{}(至 {d})有效期内, ", fact.what.zh),
        (Lang::Zh, None) => format!("{}有效期内, ", fact.what.zh),
        (Lang::En, Some(d)) => format!("under {} (until {d}), ", fact.what.en),
        (Lang::En, None) => format!("under {}, ", fact.what.en),
    }
}

/// Says how long it held, how long it had to, and what was not known in between.
fn delay(e: &Evidence, lang: Lang) -> String {
    if matches!(e.test, Test::Silent { .. } | Test::Neighbours { .. }) {
        return String::new();
    }
    let unknown = (e.samples_to - e.since - e.observed_ms).max(0);
    let (held, wanted, gap) = (span(e.observed_ms, lang), span(e.on_ms, lang), span(unknown, lang));
    let mut text = match lang {
        Lang::Zh => format!(", 已持续 {held}(要求 {wanted})"),
        Lang::En => format!(", held for {held} (required: {wanted})"),
    };
    text += &several::again(e, lang);
    if unknown > 0 {
        text += &match lang {
            Lang::Zh => format!(", 其间 {gap} 无有效数据未计入"),
            Lang::En => format!(", {gap} without valid data not counted"),
        };
    }
    text
}

/// Adds what a person must know beside the test: a mask, work that was filed.
fn notes(e: &Evidence, lang: Lang) -> String {
    let mut text = String::new();
    if let Some(s) = &e.suppression {
        let until = s.until.map(|t| moment(t, e.utc_offset_min));
        text += &match (lang, until) {
            (Lang::Zh, Some(t)) => format!("; 因{}暂不推送(至 {t})", s.fact.what.zh),
            (Lang::Zh, None) => format!("; 因{}暂不推送", s.fact.what.zh),
            (Lang::En, Some(t)) => format!("; not paged because of {} (until {t})", s.fact.what.en),
            (Lang::En, None) => format!("; not paged because of {}", s.fact.what.en),
        };
    }
    let masked = e.suppression.as_ref().map(|s| s.fact.id.as_str());
    let judged = matches!(e.test, Test::Activity { .. } | Test::RunOrdered { .. });
    let shown = |f: &&FactNote| Some(f.id.as_str()) != masked;
    for fact in e.facts.iter().skip(usize::from(judged)).filter(shown) {
        text += &match lang {
            Lang::Zh => format!("; 另有: {}", fact.what.zh),
            Lang::En => format!("; also: {}", fact.what.en),
        };
    }
    text
}

fn range(e: &Evidence) -> String {
    let o = e.utc_offset_min;
    let fine = e.on_ms < 600_000;
    format!("{} {}–{}", date(e.since, o), time(e.since, o, fine), time(e.samples_to, o, fine))
}

/// Says what held.
fn holds(e: &Evidence, lang: Lang) -> String {
    let range = range(e);
    match (&e.test, lang) {
        (Test::High { .. } | Test::Low { .. }, _) => format!("{range} {}", limit(e, lang)),
        (Test::HighRising { rise, .. }, _) => {
            format!("{range} {}{}", limit(e, lang), several::rising(e, *rise, lang))
        }
        (Test::AllBelowUnset { limit, .. }, _) => {
            format!("{range} {}", several::no_spare(e, *limit, lang))
        }
        (Test::RunsWeak { limit, .. }, _) => format!("{range} {}", several::weak(e, *limit, lang)),
        (Test::Votes { .. }, _) => format!("{range} {}", several::votes(e, lang)),
        (Test::Neighbours { within_ms, .. }, _) => several::neighbours(e, *within_ms, lang),
        (Test::Activity { base, .. }, _) => format!("{range} {}", activity(e, *base, lang)),
        (Test::AllBelow { limit, .. }, Lang::Zh) => {
            format!(
                "{range} {}, 全部低于额定值的 {}",
                list(e, |i| i.member == 0, lang),
                share(*limit)
            )
        }
        (Test::AllBelow { limit, .. }, Lang::En) => {
            format!(
                "{range} {}, all below {} of rated",
                list(e, |i| i.member == 0, lang),
                share(*limit)
            )
        }
        (Test::RunsWithout { limit, .. }, Lang::Zh) => format!(
            "{range} {}在运行, 而{}, 低于额定值的 {}(停机)",
            devices(e, |i| i.member == 0, lang),
            list(e, |i| i.member == 1, lang),
            share(*limit)
        ),
        (Test::RunsWithout { limit, .. }, Lang::En) => format!(
            "{range} {} runs while {}, below {} of rated (stopped)",
            devices(e, |i| i.member == 0, lang),
            list(e, |i| i.member == 1, lang),
            share(*limit)
        ),
        (Test::RunOrdered { .. }, Lang::Zh) => {
            format!("{range} {}运行", devices(e, |i| i.value == Some(1.0), lang))
        }
        (Test::RunOrdered { .. }, Lang::En) => {
            format!("{range} {} runs", devices(e, |i| i.value == Some(1.0), lang))
        }
        (Test::OneLow { low, high, .. }, Lang::Zh) => format!(
            "{range} {}: 一相低于 {}, 其余高于 {}",
            list(e, |_| true, lang),
            share(*low),
            share(*high)
        ),
        (Test::OneLow { low, high, .. }, Lang::En) => format!(
            "{range} {}: one below {}, the others above {}",
            list(e, |_| true, lang),
            share(*low),
            share(*high)
        ),
        (Test::Outside { low, high, .. }, _) => {
            let (low, high) = (share(*low), share(*high));
            let outside = list(e, |_| true, lang);
            match lang {
                Lang::Zh => format!("{range} {outside}, 超出允许范围 {low}–{high}"),
                Lang::En => format!("{range} {outside}, outside {low}–{high}"),
            }
        }
        (Test::InputUnknown, _) => unknown(e, lang),
        (Test::SilentWhile, Lang::Zh) => {
            format!("{range} 断电接点动作, 全部进线电表无应答, 疑似停电")
        }
        (Test::SilentWhile, Lang::En) => {
            format!(
                "{range} power-fail contact closed, all incomer meters silent: suspected outage"
            )
        }
        (Test::Silent { limit_ms }, _) => silent(e, *limit_ms, lang),
    }
}

fn limit(e: &Evidence, lang: Lang) -> String {
    let Some(input) = e.inputs.first() else { return String::new() };
    let sign =
        if matches!(e.test, Test::High { .. } | Test::HighRising { .. }) { "≥" } else { "≤" };
    let level = e.source_level.as_deref().unwrap_or("");
    let value = reading(input, lang);
    let unit = if e.unit.is_empty() { &input.unit } else { &e.unit };
    let limit = e.limit.unwrap_or(f64::NAN);
    if e.unit == "span" {
        return match lang {
            Lang::Zh => format!("{value} ≥ 阈值(量程的 {})", share(limit)),
            Lang::En => format!("{value} ≥ limit ({} of span)", share(limit)),
        };
    }
    let limit = number(limit);
    match lang {
        Lang::Zh => format!("{value} {sign} {level}阈值 {limit} {unit}"),
        Lang::En => format!("{value} {sign} {level} limit {limit} {unit}").replace("  ", " "),
    }
}

fn activity(e: &Evidence, base: f64, lang: Lang) -> String {
    let item = |name: &str| e.intermediates.iter().find(|i| i.name == name).and_then(|i| i.value);
    let act = item("act").map_or("?".into(), |v| format!("{v:.2}"));
    let limit = e.limit.map_or("?".into(), |v| format!("{v:.2}"));
    let power = item("p_site").map_or("?".into(), number);
    let base = number(base);
    match lang {
        Lang::Zh => format!(
            "活跃度 {act} (阈值 {limit}), 全厂功率 {power} kW, 保安负荷 {base} kW, 疑似生产"
        ),
        Lang::En => format!(
            "activity {act} (limit {limit}), site power {power} kW, security load {base} kW: suspected production"
        ),
    }
}

fn unknown(e: &Evidence, lang: Lang) -> String {
    let dead = |i: &Input| i.member == 1 && i.value.is_none();
    let last = e.inputs.iter().filter(|i| dead(i)).filter_map(|i| i.t).max();
    let last = last.map(|t| moment(t, e.utc_offset_min));
    let runs = devices(e, |i| i.member == 0 && i.value != Some(0.0), lang);
    let names = devices(e, dead, lang);
    match lang {
        Lang::Zh => {
            let last = last.map_or("从未有数据".into(), |t| format!("最后数据 {t}"));
            let of = if runs.is_empty() {
                "所保护对象持有物料或人员".into()
            } else {
                format!("{runs}在运行或运行状态不明")
            };
            format!("{names}无有效数据({last}), 而{of}, 保护状态不明")
        }
        Lang::En => {
            let last = last.map_or("never any".into(), |t| format!("last at {t}"));
            let of = if runs.is_empty() {
                "what it protects holds material or people".into()
            } else {
                format!("{runs} runs or may run")
            };
            format!("{names} gives no valid data ({last}) while {of}: state of protection unknown")
        }
    }
}

fn silent(e: &Evidence, limit_ms: Ms, lang: Lang) -> String {
    let last = e.inputs.iter().filter_map(|i| i.t).max().map(|t| moment(t, e.utc_offset_min));
    let limit = span(limit_ms, lang);
    match (lang, last) {
        (Lang::Zh, Some(t)) => format!("超过 {limit}没有数据, 最后数据 {t}, 状态不明"),
        (Lang::Zh, None) => format!("超过 {limit}没有数据, 且从未有过数据"),
        (Lang::En, Some(t)) => format!("no data for more than {limit}, last at {t}: state unknown"),
        (Lang::En, None) => format!("no data for more than {limit}, and never any before"),
    }
}

/// Says that it is over.
fn over(e: &Evidence, lang: Lang) -> String {
    let back = moment(e.since, e.utc_offset_min);
    if matches!(e.test, Test::Silent { .. } | Test::Neighbours { .. }) {
        return match lang {
            Lang::Zh => format!("{} 恢复数据", moment(e.samples_to, e.utc_offset_min)),
            Lang::En => format!("data is back at {}", moment(e.samples_to, e.utc_offset_min)),
        };
    }
    let state = now(e, lang);
    let (off, kind) = (span(e.off_ms, lang), e.kind == TransitionKind::LevelDown);
    match (lang, kind) {
        (Lang::Zh, false) => format!("自 {back} 起条件不再成立满 {off}, 报警解除{state}"),
        (Lang::Zh, true) => format!("自 {back} 起较高级别条件不再成立满 {off}, 降级{state}"),
        (Lang::En, false) => format!("not true any more since {back}, for {off}: cleared{state}"),
        (Lang::En, true) => {
            format!("the higher level is not true any more since {back}, for {off}: lowered{state}")
        }
    }
}

/// Adds the present value to a clear, where there is one.
fn now(e: &Evidence, lang: Lang) -> String {
    match (&e.test, e.value) {
        (Test::Activity { ordered: false, .. }, _) => match lang {
            Lang::Zh => ", 停产令已不在有效期".into(),
            Lang::En => ", no order is in force".into(),
        },
        (Test::Activity { .. }, Some(act)) => match lang {
            Lang::Zh => format!(", 现活跃度 {act:.2}"),
            Lang::En => format!(", activity is {act:.2}"),
        },
        (Test::High { .. } | Test::HighRising { .. } | Test::Low { .. }, Some(_)) => match lang {
            Lang::Zh => format!(", 现{}", list(e, |_| true, lang)),
            Lang::En => format!(", now {}", list(e, |_| true, lang)),
        },
        _ => String::new(),
    }
}

/// Names a reading with value, unit and share of its rating.
fn reading(input: &Input, lang: Lang) -> String {
    let name = quantity(&input.series.quantity, lang);
    let mean = match (input.measure, lang) {
        (Measure::Mean { minutes }, Lang::Zh) => format!(" {minutes} 分钟均值"),
        (Measure::Mean { minutes }, Lang::En) => format!(" mean of {minutes} min"),
        (Measure::Slope { minutes }, Lang::Zh) => format!(" {minutes} 分钟变化率"),
        (Measure::Slope { minutes }, Lang::En) => format!(" rate over {minutes} min"),
        (Measure::Fall { minutes }, Lang::Zh) => {
            format!("在泵阀停止后 {}内下降", span(Ms::from(minutes) * 60_000, lang))
        }
        (Measure::Fall { minutes }, Lang::En) => {
            format!(
                " fell with pumps and valves at rest, within {}, by",
                span(Ms::from(minutes) * 60_000, lang)
            )
        }
        _ => String::new(),
    };
    let Some(value) = input.value else {
        return match lang {
            Lang::Zh => format!("{name}不明"),
            Lang::En => format!("{name} unknown"),
        };
    };
    let mut text = format!("{name}{mean} {} {}", number(value), input.unit).trim_end().to_string();
    text += match (input.quality, lang) {
        (Quality::Uncertain { over: true, .. }, Lang::Zh) => "(超量程)",
        (Quality::Uncertain { over: true, .. }, Lang::En) => " (over range)",
        (Quality::Uncertain { under: true, .. }, Lang::Zh) => "(低于量程)",
        (Quality::Uncertain { under: true, .. }, Lang::En) => " (under range)",
        _ => "",
    };
    if (input.rating - 1.0).abs() > f64::EPSILON {
        let (rating, part) = (number(input.rating), share(value / input.rating));
        let unit = &input.unit;
        text += &match (input.measure, lang) {
            (Measure::Slope { .. } | Measure::Fall { .. }, Lang::Zh) => format!("(量程的 {part})"),
            (Measure::Slope { .. } | Measure::Fall { .. }, Lang::En) => {
                format!(" ({part} of span)")
            }
            (_, Lang::Zh) => format!("(额定 {rating} {unit} 的 {part})"),
            (_, Lang::En) => format!(" ({part} of rated {rating} {unit})"),
        };
    }
    text
}

fn list(e: &Evidence, wanted: impl Fn(&Input) -> bool, lang: Lang) -> String {
    let found: Vec<&Input> = e.inputs.iter().filter(|i| wanted(i)).collect();
    let mut parts = Vec::new();
    let mut device = "";
    for input in found.iter().take(INPUTS_NAMED_MAX) {
        let same = device == input.series.device;
        device = &input.series.device;
        let name = if same { "" } else { input.device_name.get(lang) };
        parts.push(format!("{name} {}", reading(input, lang)).trim_start().to_string());
    }
    let rest = found.len().saturating_sub(INPUTS_NAMED_MAX);
    let joined = parts.join(if lang == Lang::Zh { "、" } else { ", " });
    match (rest, lang) {
        (0, _) => joined,
        (_, Lang::Zh) => format!("{joined}等 {} 项", found.len()),
        (_, Lang::En) => format!("{joined} and {rest} more"),
    }
}

fn devices(e: &Evidence, wanted: impl Fn(&Input) -> bool, lang: Lang) -> String {
    let mut names: Vec<&str> =
        e.inputs.iter().filter(|i| wanted(i)).map(|i| i.device_name.get(lang)).collect();
    names.dedup();
    names.join(if lang == Lang::Zh { "、" } else { ", " })
}

//! Sentences of tests that join several things: a rate beside a level, switches, votes, neighbours.

use super::word::{moment, number, quantity, share, span};
use super::{devices, list, reading};
use crate::evidence::{Evidence, Input};
use crate::series::{Ms, Quality};
use crate::text::Lang;
use crate::transition::TransitionKind;

fn item(e: &Evidence, name: &str) -> Option<f64> {
    e.intermediates.iter().find(|i| i.name == name).and_then(|i| i.value)
}

/// Says that it still rises, or that it is above the range.
pub(super) fn rising(e: &Evidence, rise: f64, lang: Lang) -> String {
    let over = |i: &Input| matches!(i.quality, Quality::Uncertain { over: true, .. });
    let rate = e.inputs.iter().find(|i| i.member == 1 && i.value.is_some());
    match (rate, lang) {
        (Some(rate), _) => {
            let (now, limit) = (reading(rate, lang), share(rise));
            match lang {
                Lang::Zh => format!(", 且仍在上升: {now}(阈值每小时 {limit})"),
                Lang::En => format!(", and still rises: {now} (limit {limit} per hour)"),
            }
        }
        (None, Lang::Zh) if e.inputs.iter().any(over) => ", 且已超出量程".into(),
        (None, Lang::En) if e.inputs.iter().any(over) => ", and above its range".into(),
        (None, _) => String::new(),
    }
}

/// Says that all stand and nothing is ready to take over.
pub(super) fn no_spare(e: &Evidence, limit: f64, lang: Lang) -> String {
    let stand = list(e, |i| i.member == 0, lang);
    let limit = share(limit);
    match lang {
        Lang::Zh => format!("{stand}, 全部低于额定值的 {limit}, 且备用未就绪、无切换命令"),
        Lang::En => format!(
            "{stand}, all below {limit} of rated, with no spare ready and no changeover command"
        ),
    }
}

/// Says that what runs does too little.
pub(super) fn weak(e: &Evidence, limit: f64, lang: Lang) -> String {
    let runs = devices(e, |i| i.member == 0 && i.value == Some(1.0), lang);
    let known = e.inputs.iter().filter(|i| i.member == 1);
    let low = known.filter_map(|i| {
        let value = i.value?;
        let (name, part) = (quantity(&i.series.quantity, lang), share((value / i.rating).abs()));
        let (value, usual, unit) = (number(value), number(i.rating), &i.unit);
        let device = i.device_name.get(lang);
        (i.rating > 1.0 || value != "0").then(|| match lang {
            Lang::Zh => format!("{device} {name} {value} {unit}(参考值 {usual} {unit} 的 {part})"),
            Lang::En => {
                format!("{device} {name} {value} {unit} ({part} of the usual {usual} {unit})")
            }
        })
    });
    let low = low.collect::<Vec<_>>().join(if lang == Lang::Zh { "、" } else { ", " });
    let limit = share(limit);
    match lang {
        Lang::Zh => format!("{runs} 在运行, 而 {low}, 低于参考值的 {limit}"),
        Lang::En => format!("{runs} runs, but {low}, below {limit} of what is usual"),
    }
}

/// Says which detectors of a cell met.
pub(super) fn votes(e: &Evidence, lang: Lang) -> String {
    let marked = |device: &str| {
        let of_device = |i: &&Input| i.series.device == device && i.member == 0;
        e.inputs.iter().find(of_device).is_some_and(|i| i.value == Some(1.0))
    };
    let count = number(e.value.unwrap_or(0.0));
    let now = list(e, |i| i.member == 1 && marked(&i.series.device), lang);
    match lang {
        Lang::Zh => format!("同一区域 {count} 个探测器先后达到一级报警值, 现 {now}"),
        Lang::En => format!("{count} detectors of one cell reached the first level; now {now}"),
    }
}

/// Says which gateway went with how many neighbours.
pub(super) fn neighbours(e: &Evidence, within_ms: Ms, lang: Lang) -> String {
    let last = e.inputs.iter().filter_map(|i| i.t).max();
    let last = last.map_or(String::new(), |t| moment(t, e.utc_offset_min));
    let gateway = devices(e, |_| true, lang);
    let count = |name| number(item(e, name).unwrap_or(0.0));
    let (neighbours, within) = (count("neighbours"), span(within_ms, lang));
    let gasps = item(e, "gasps").unwrap_or(0.0) > item(e, "neighbours").unwrap_or(0.0);
    let (alive, outside) = (count("outside_alive"), count("outside"));
    match (lang, gasps) {
        (Lang::Zh, true) => format!(
            "{last} 网关 {gateway} 报告失去市电, 同一馈线另有 {neighbours} 家在 {within}内同样报告, 疑似馈线停电"
        ),
        (Lang::Zh, false) => format!(
            "{last} 网关 {gateway} 断线(末次报文), 同一馈线另有 {neighbours} 家在 {within}内相继断线, \
             其他馈线 {outside} 家中 {alive} 家在线, 疑似馈线停电"
        ),
        (Lang::En, true) => format!(
            "{last} gateway {gateway} said that mains is gone, and so did {neighbours} more on the same feeder \
             within {within}: suspected feeder outage"
        ),
        (Lang::En, false) => format!(
            "{last} gateway {gateway} went with its last will, and {neighbours} more on the same feeder within \
             {within}, while {alive} of {outside} on other feeders are heard: suspected feeder outage"
        ),
    }
}

/// Names the occurrence before, where it is why the level was reached.
pub(super) fn again(e: &Evidence, lang: Lang) -> String {
    let raised = matches!(e.kind, TransitionKind::Raise | TransitionKind::LevelUp);
    let Some(earlier) = item(e, "earlier").filter(|_| raised) else { return String::new() };
    #[expect(clippy::cast_possible_truncation, reason = "a time that the engine wrote")]
    let earlier = moment(earlier as Ms, e.utc_offset_min);
    match lang {
        Lang::Zh => format!(", 短期内再次发生(上次 {earlier})"),
        Lang::En => format!(", again (last time {earlier})"),
    }
}

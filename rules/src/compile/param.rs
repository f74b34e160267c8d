//! Resolves the parameters of a rule for a scope: asset > site > sector > template.

use super::input::Inputs;
use super::scope::Candidate;
use super::{DELAY_POLLS_MIN, Missing, has_word, severity, test_of};
use crate::catalogue::{Kind, LevelSpec, MarkSpec, ParamSpec, Rule};
use crate::evidence::{Origin, Parameter};
use crate::plan::{Level, MarkPlan};
use crate::series::Ms;
use crate::site::{SiteModel, rating};
use crate::test::Test;
use crate::text::Text;

/// The resolved parameters of one instance; `None` where neither default, rating nor override gives a value.
#[derive(Debug)]
pub(crate) struct Numbers {
    values: Vec<(String, Option<Parameter>)>,
}

/// Turns seconds into whole milliseconds.
pub(crate) fn seconds_to_ms(seconds: f64) -> Ms {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a year before")]
    let ms = (seconds.clamp(0.0, 366.0 * 86_400.0) * 1000.0).round() as Ms;
    ms
}

impl Numbers {
    /// Resolves every parameter of the rule. A value outside its range is refused and named in `missing`.
    pub(crate) fn resolve(
        rule: &Rule,
        site: &SiteModel,
        candidate: &Candidate<'_>,
        missing: &mut Missing,
    ) -> Self {
        let values = rule
            .params
            .iter()
            .map(|p| (p.name.clone(), one(rule, p, site, candidate, missing)))
            .collect();
        Self { values }
    }

    /// Lists the parameters that are not the catalogue's.
    pub(crate) fn overridden(&self) -> Vec<String> {
        let given = self.values.iter().filter_map(|(_, p)| p.as_ref());
        given.filter(|p| p.overridden).map(|p| p.name.clone()).collect()
    }

    /// Gives the parameters to the evidence.
    pub(crate) fn into_parameters(self) -> Vec<Parameter> {
        self.values.into_iter().filter_map(|(_, p)| p).collect()
    }

    fn get(&self, name: Option<&String>) -> Option<&Parameter> {
        let name = name?;
        self.values.iter().find(|(n, _)| n == name).and_then(|(_, p)| p.as_ref())
    }

    /// Makes a mark of a series; none where a parameter has no value. `shortest` is the shortest delay allowed, ms.
    pub(crate) fn mark(&self, spec: &MarkSpec, series: u32, shortest: Ms) -> Option<MarkPlan> {
        let value = |name: &String| self.get(Some(name)).map(|p| p.value);
        let limit = value(&spec.limit)?;
        let on = seconds_to_ms(value(&spec.on)?);
        Some(MarkPlan {
            series,
            limit,
            clear: limit - value(&spec.deadband)?,
            on: if on == 0 { 0 } else { on.max(shortest) },
            keep: seconds_to_ms(value(&spec.keep)?),
        })
    }

    /// Makes a level, or says what it lacks.
    #[expect(clippy::too_many_arguments, reason = "everything a level depends on, used once")]
    pub(crate) fn level(
        &self,
        rule: &Rule,
        spec: &LevelSpec,
        site: &SiteModel,
        candidate: &Candidate<'_>,
        inputs: &Inputs,
        lacking: &mut Vec<Text>,
        missing: &mut Missing,
    ) -> Option<Level> {
        let absent: Vec<&str> =
            spec.names().filter(|n| self.get(Some(&(*n).to_string())).is_none()).collect();
        if !absent.is_empty() {
            for name in absent {
                lacking.push(lacks(rule, name, site, candidate, missing));
            }
            return None;
        }
        let looks_aside = spec.unset || (rule.kind == Kind::High && spec.second.is_some());
        if looks_aside && inputs.is_partial {
            return None;
        }
        let limit = self.get(spec.limit.as_ref()).map_or(0.0, |p| p.value);
        let second = self.get(spec.second.as_ref()).map_or(f64::NAN, |p| p.value);
        let clear = self.clear(rule, spec, candidate, (limit, second), missing)?;
        let base = self.get(Some(&"p_base".to_string())).map_or(f64::NAN, |p| p.value);
        let on = self.delay(&spec.on, inputs, lacking, missing)?;
        let off = self.delay(&spec.off, inputs, lacking, missing)?;
        let (on, test) = match rule.kind {
            Kind::Stale => {
                let polls = self.get(Some(&"polls".to_string())).map_or(0.0, |p| p.value);
                let on = on.max(seconds_to_ms(polls) / 1000 * inputs.period);
                (on, Test::Silent { limit_ms: on })
            }
            _ => (on, test_of(rule.kind, spec.unset, (limit, second), clear, base)),
        };
        Some(Level {
            inst: 0,
            test,
            on,
            off,
            reset: inputs.gap.max(on / 5),
            severity: severity(spec, site, candidate),
            source_level: spec.source_level.clone(),
            latching: spec.latching,
            again: self.get(spec.again.as_ref()).map(|p| seconds_to_ms(p.value)),
        })
    }

    /// Finds where a level clears.
    fn clear(
        &self,
        rule: &Rule,
        spec: &LevelSpec,
        candidate: &Candidate<'_>,
        (limit, second): (f64, f64),
        missing: &mut Missing,
    ) -> Option<(f64, f64)> {
        if let Some(p) = self.get(spec.clear.as_ref()) {
            return Some((p.value, second));
        }
        let Some(deadband) = self.get(spec.deadband.as_ref()) else { return Some((limit, second)) };
        let mut width = deadband.value;
        if deadband.unit == "%span" {
            let device = candidate.devices.first();
            let span = device.and_then(|d| d.ratings.get(rating::SPAN)).copied();
            let Some(span) = span.filter(|s| *s > 0.0) else {
                let label = device.map(|d| d.label()).unwrap_or_default();
                missing.push(
                    format!("{} 缺少量程 span", label.zh),
                    format!("missing rating span of {}", label.en),
                );
                return None;
            };
            width = span * width / 100.0;
        }
        Some(match rule.kind {
            Kind::High | Kind::Activity => (limit - width, second),
            Kind::Outside => (limit + width, second - width),
            _ => (limit + width, second),
        })
    }

    /// Returns a delay in ms. One shorter than two polls is refused: a person's is an error, the catalogue's is
    /// replaced by two polls and named, because a level that does not run protects nobody.
    fn delay(
        &self,
        name: &str,
        inputs: &Inputs,
        lacking: &mut Vec<Text>,
        missing: &mut Missing,
    ) -> Option<Ms> {
        let given = self.get(Some(&name.to_string()))?;
        let delay = seconds_to_ms(given.value);
        let shortest = DELAY_POLLS_MIN * inputs.period;
        if delay == 0 || delay >= shortest {
            return Some(delay);
        }
        let (zh, en) = (
            format!("延时 {name}={} s 短于两个采样周期({} ms), 不予采用", given.value, shortest),
            format!(
                "delay {name} = {} s refused: shorter than two polls ({shortest} ms)",
                given.value
            ),
        );
        if given.overridden {
            missing.push(zh, en);
            return None;
        }
        let text = Text::new(
            format!("{zh}, 改用 {shortest} ms"),
            format!("{en}; {shortest} ms used instead"),
        );
        if !lacking.contains(&text) {
            lacking.push(text);
        }
        Some(shortest)
    }
}

/// Names the overrides of a rule for parameters that it does not have: a slip of the pen must not be silent.
pub(crate) fn strangers(rule: &Rule, site: &SiteModel) -> Vec<Text> {
    let of_rule = site.overrides.iter().filter(|o| o.rule == rule.id);
    let unknown = of_rule.filter(|o| rule.param(&o.parameter).is_none());
    unknown
        .map(|o| {
            let name = &o.parameter;
            Text::new(
                format!("设置了不存在的参数 {name}, 未采用"),
                format!("override of unknown parameter {name} not used"),
            )
        })
        .collect()
}

fn one(
    rule: &Rule,
    spec: &ParamSpec,
    site: &SiteModel,
    candidate: &Candidate<'_>,
    missing: &mut Missing,
) -> Option<Parameter> {
    let of_rule = |o: &&crate::site::Override| o.rule == rule.id && o.parameter == spec.name;
    let fits = |o: &&crate::site::Override| match o.origin {
        Origin::Asset => {
            o.target == candidate.object || candidate.devices.iter().any(|d| d.id == o.target)
        }
        Origin::Site => true,
        Origin::Sector => site.sector_tags.contains(&o.target),
        Origin::Template => false,
    };
    let best = site.overrides.iter().filter(of_rule).filter(fits).max_by_key(|o| o.origin);
    let rated = spec.rating.as_ref().and_then(|name| {
        let device = candidate.devices.first().and_then(|d| d.ratings.get(name));
        device.or_else(|| site.ratings.get(name)).copied()
    });
    let (value, origin) = match (best, rated) {
        (Some(o), _) => (o.value, o.origin),
        (None, Some(value)) => (value, Origin::Template),
        (None, None) => {
            let special = spec.default_where.iter().find(|w| has_word(&w.has, site, candidate));
            (special.map(|w| w.value).or(spec.default)?, Origin::Template)
        }
    };
    if !(spec.min..=spec.max).contains(&value) {
        missing.push(
            format!(
                "参数 {} = {value} 超出允许范围 {}–{} {}",
                spec.name, spec.min, spec.max, spec.unit
            ),
            format!(
                "parameter {} = {value} lies outside {}..{} {}",
                spec.name, spec.min, spec.max, spec.unit
            ),
        );
        return None;
    }
    let (name, unit) = (spec.name.clone(), spec.unit.clone());
    Some(Parameter { name, value, unit, origin, overridden: origin != Origin::Template })
}

fn lacks(
    rule: &Rule,
    name: &str,
    site: &SiteModel,
    candidate: &Candidate<'_>,
    missing: &mut Missing,
) -> Text {
    let wanted = rule.param(name).and_then(|p| p.rating.clone()).unwrap_or_else(|| name.into());
    if let Some(until) = site.learning.get(&wanted) {
        missing.learning_until = missing.learning_until.max(Some(*until));
    }
    let label = &candidate.name;
    Text::new(
        format!("{} 缺少额定值 {wanted}", label.zh),
        format!("missing rating {wanted} of {}", label.en),
    )
}

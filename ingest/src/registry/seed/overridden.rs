//! Reads `[[site.override]]`: a parameter of a rule for a site or one object of it, held against the rules that there are.
//!
//! A slip of the pen here would leave a limit as it was while people believe it changed, so nothing is taken on trust.

use rules::Catalogue;
use rules::catalogue::Rule;
use rules::site::Override;

use super::reader::{At, Table};

/// Reads one; `objects`: what a rule of this site may stand at.
pub(super) fn read(
    table: Table<'_>,
    catalogue: &Catalogue,
    objects: &[String],
) -> Option<Override> {
    use rules::evidence::Origin;
    let (rule, parameter) = (table.need_text("rule"), table.need_text("parameter"));
    let value = table.need_number("value");
    let target = table.text("asset");
    if let Some(at) = target.as_ref().filter(|at| !objects.contains(&at.value)) {
        table.problem_at(
            at,
            format!(
                "{:?} is no device, group, protected object or pair of this site; without `asset` the value holds for the whole site",
                at.value
            ),
        );
    }
    let origin = if target.is_some() { Origin::Asset } else { Origin::Site };
    if let (Some(rule), Some(parameter), Some(value)) = (&rule, &parameter, &value) {
        check(&table, catalogue, (rule, parameter, value));
    }
    table.finish();
    Some(Override {
        rule: rule?.value,
        parameter: parameter?.value,
        value: value?.value,
        origin,
        target: target.map(|at| at.value).unwrap_or_default(),
    })
}

fn check(
    table: &Table<'_>,
    catalogue: &Catalogue,
    (rule, parameter, value): (&At<String>, &At<String>, &At<f64>),
) {
    let Some(known) = catalogue.rule(&rule.value) else {
        // R24 is R24l and R24h: whoever writes the number means one of them.
        let all = || catalogue.rules.iter().map(|r| r.id.as_str());
        let near: Vec<&str> = all().filter(|id| id.starts_with(&rule.value)).collect();
        let known = if near.is_empty() || rule.value.is_empty() { all().collect() } else { near };
        table.problem_at(
            rule,
            format!("{:?} is no rule; there is {}", rule.value, known.join(", ")),
        );
        return;
    };
    let Some(spec) = known.param(&parameter.value) else {
        table.problem_at(
            parameter,
            format!("rule {} has no parameter {:?}; {}", known.id, parameter.value, has(known)),
        );
        return;
    };
    if !(spec.min..=spec.max).contains(&value.value) {
        table.problem_at(
            value,
            format!(
                "{} lies outside {} to {} {}, the range of {} of rule {}",
                value.value, spec.min, spec.max, spec.unit, spec.name, known.id
            ),
        );
    }
}

fn has(rule: &Rule) -> String {
    let names: Vec<String> =
        rule.params.iter().map(|p| format!("{} ({})", p.name, p.unit)).collect();
    match names.is_empty() {
        true => "it has none".to_owned(),
        false => format!("it has {}", names.join(", ")),
    }
}

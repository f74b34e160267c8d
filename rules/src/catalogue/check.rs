//! Refuses a rule that says something impossible.

use super::{Kind, MeasureSpec, Rule};

/// Checks one rule.
///
/// # Errors
/// What is wrong and how to mend it.
pub(super) fn check(rule: &Rule) -> Result<(), String> {
    if rule.version == 0 || rule.name.zh.is_empty() || rule.name.en.is_empty() {
        return Err("needs a version from 1 and a name in both languages".into());
    }
    if rule.action.is_empty() {
        return Err("an alarm without a response is no alarm: give at least one action".into());
    }
    for p in &rule.params {
        let span = p.min..=p.max;
        if p.default.is_some_and(|d| !span.contains(&d)) {
            return Err(format!("default of {} lies outside {}..{}", p.name, p.min, p.max));
        }
    }
    if rule.levels.is_empty() {
        return Err("needs at least one level".into());
    }
    if rule.kind == Kind::Stale && rule.levels.len() != 1 {
        return Err("a rule about silent devices has exactly one level".into());
    }
    for level in &rule.levels {
        if let Some(name) = level.names().find(|n| rule.param(n).is_none()) {
            return Err(format!(
                "a level names the parameter {name}, which the rule does not have"
            ));
        }
        let compares = matches!(
            rule.kind,
            Kind::High
                | Kind::Low
                | Kind::AllBelow
                | Kind::RunsWithout
                | Kind::RunsWeak
                | Kind::Votes
                | Kind::Activity
                | Kind::OneLow
                | Kind::Outside
        );
        if level.unset && rule.kind != Kind::AllBelow {
            return Err("unset is for kind all_below only".into());
        }
        if compares && level.limit.is_none() {
            return Err("a level of this kind needs a limit".into());
        }
        if matches!(rule.kind, Kind::OneLow | Kind::Outside) && level.second.is_none() {
            return Err("a level of this kind needs a second limit".into());
        }
    }
    for mark in rule.inputs.iter().filter_map(|i| match &i.measure {
        MeasureSpec::Mark(mark) => Some(mark),
        _ => None,
    }) {
        let names = [&mark.limit, &mark.deadband, &mark.on, &mark.keep];
        if let Some(name) = names.into_iter().find(|n| rule.param(n).is_none()) {
            return Err(format!("a mark names the parameter {name}, which the rule does not have"));
        }
    }
    Ok(())
}

//! One `[[point]]`, of a profile or of the site file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wire::{Mark, Reason, quantity};

use super::{any_key, choice, keys};
use crate::config::problem::{Problems, Text, nearest};
use crate::config::section::Section;
use crate::decode::decimal::{Decimal, Factor};
use crate::profile::resolve::{conversion, is_transformed};
use crate::profile::{Code, Effect, Kind, PointSpec, Side, Table, When};

/// What a point takes from its profile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults<'a> {
    /// Low word first.
    pub(crate) low_word_first: bool,
    /// Low byte first.
    pub(crate) low_byte_first: bool,
    /// Side of the transformers, where the profile has one for all.
    pub(crate) side: Option<Side>,
    /// The poll classes there are.
    pub(crate) classes: &'a BTreeMap<Arc<str>, Duration>,
}

/// Reads one point; `None` when it has a problem, which is then listed.
pub(crate) fn point(
    mut section: Section<'_>,
    defaults: &Defaults<'_>,
    problems: &mut Problems,
) -> Option<PointSpec> {
    let before = problems.len();
    let quantity = quantity_name(&mut section, problems);
    if let Some(name) = &quantity {
        section.rename(format!("[[point]] {name}"));
    }
    let place = place(&mut section, problems);
    let kind = kind(&mut section, place.map(|(table, _)| table), problems);
    let (scale, factor, unit) = scaling(&mut section, quantity.as_deref(), problems);
    let side = side(&mut section, &unit, defaults, problems);
    let order = [("big", false), ("little", true)];
    let words = choice(&mut section, keys::WORD_ORDER, &order, problems).map(|at| at.value);
    let bytes = choice(&mut section, keys::BYTE_ORDER, &order, problems).map(|at| at.value);
    let codes = [("4q_fp_pf", Code::FourQuadrantPf)];
    let code = choice(&mut section, keys::CODE, &codes, problems).map(|at| at.value);
    let valid = valid(&mut section, problems);
    let invalid = invalid(&mut section, kind, problems);
    let class = class(&mut section, defaults, problems);
    let group = section.text(problems, keys::GROUP).map(|at| Arc::from(at.value));
    let no_merge = section.flag(problems, keys::NO_MERGE);
    let governs = section.literals(problems, keys::GOVERNS);
    let governs: Vec<Arc<str>> = governs.into_iter().map(|at| at.value.into()).collect();
    let otherwise = decimal(&mut section, keys::OTHERWISE, problems);
    let when = section.tables(problems, keys::WHEN);
    let when = when.into_iter().filter_map(|rule| when_rule(rule, problems)).collect();
    if quantity.is_none() && governs.is_empty() && !section.has("quantity") {
        section.missing(problems, keys::QUANTITY);
    }
    section.finish(problems);
    let (table, address) = place?;
    let point = PointSpec {
        quantity,
        table,
        address,
        kind: kind?,
        low_word_first: words.unwrap_or(defaults.low_word_first),
        low_byte_first: bytes.unwrap_or(defaults.low_byte_first),
        scale,
        factor,
        unit,
        side,
        code,
        valid,
        invalid,
        when,
        otherwise,
        governs,
        class: class?,
        group,
        no_merge,
    };
    (problems.len() == before).then_some(point)
}

fn quantity_name(section: &mut Section<'_>, problems: &mut Problems) -> Option<Arc<str>> {
    let at = section.text(problems, keys::QUANTITY)?;
    if quantity::lookup(&at.value).is_some() {
        return Some(at.value.into());
    }
    let known = quantity::QUANTITIES.iter().map(|info| info.name);
    let hint = nearest(&at.value, known).unwrap_or("u_a, p_total, gas_lel, t_1, di_1 …");
    section.report(
        problems,
        &at.span,
        Text::new(
            format!("词表中没有 {} 这个量", at.value),
            format!("the vocabulary has no quantity {}", at.value),
        ),
        Text::new(format!("是否想写 {hint}？"), format!("did you mean {hint}?")),
    );
    None
}

/// Table and 0-based address, from `table` + `reg` or from `ref` alone.
fn place(section: &mut Section<'_>, problems: &mut Problems) -> Option<(Table, u16)> {
    let tables = [Table::Holding, Table::Input, Table::Coil, Table::Discrete];
    let table = choice(section, keys::TABLE, &tables.map(|t| (t.as_str(), t)), problems);
    let reg = section.integer(problems, keys::REG, 0..=65_535);
    let reference = section.integer(problems, keys::REF, 1..=465_536);
    match (table, reg, reference) {
        (Some(table), Some(reg), None) => Some((table.value, u16::try_from(reg.value).ok()?)),
        (table, None, Some(reference)) => {
            let found = referenced(reference.value);
            let fits = found.filter(|(t, _)| table.as_ref().is_none_or(|named| named.value == *t));
            if fits.is_none() {
                section.wrong(problems, keys::REF, &reference.span);
            }
            fits
        }
        (_, Some(_), Some(reference)) => {
            section.report(
                problems,
                &reference.span,
                Text::new("reg 和 ref 只能写一个", "reg and ref are both given"),
                Text::new(
                    "报文地址（从 0 起）用 reg，说明书编号（40001 式）用 ref",
                    "keep reg for the wire address (from 0), or ref for the manual's number (40001)",
                ),
            );
            None
        }
        (Some(_), None, None) if !section.has("reg") && !section.has("ref") => {
            section.missing(problems, keys::REG);
            None
        }
        (None, Some(_), None) if !section.has("table") => {
            section.missing(problems, keys::TABLE);
            None
        }
        (None, None, None) if !section.has("reg") && !section.has("ref") => {
            section.missing(problems, keys::REF);
            None
        }
        _ => None,
    }
}

/// 5- and 6-digit manual numbers: the first digit names the table.
fn referenced(number: i64) -> Option<(Table, u16)> {
    let (table, first) = match number {
        1..=9_999 => (Table::Coil, 1),
        10_001..=19_999 => (Table::Discrete, 10_001),
        30_001..=39_999 => (Table::Input, 30_001),
        40_001..=49_999 => (Table::Holding, 40_001),
        100_001..=165_536 => (Table::Discrete, 100_001),
        300_001..=365_536 => (Table::Input, 300_001),
        400_001..=465_536 => (Table::Holding, 400_001),
        _ => return None,
    };
    Some((table, u16::try_from(number - first).ok()?))
}

fn kind(section: &mut Section<'_>, table: Option<Table>, problems: &mut Problems) -> Option<Kind> {
    let bit = section.integer(problems, keys::BIT, 0..=15);
    if table.is_some_and(Table::is_bits) && !section.has("type") {
        return Some(Kind::Bit(0));
    }
    let bit = bit.and_then(|at| u8::try_from(at.value).ok());
    let kinds = [
        ("u16", Kind::U16),
        ("i16", Kind::I16),
        ("u32", Kind::U32),
        ("i32", Kind::I32),
        ("u64", Kind::U64),
        ("i64", Kind::I64),
        ("f32", Kind::F32),
        ("bits", Kind::Bit(bit.unwrap_or(0))),
    ];
    if !section.has("type") {
        section.missing(problems, keys::TYPE);
    }
    let at = choice(section, keys::TYPE, &kinds, problems)?;
    if matches!(at.value, Kind::Bit(_)) && bit.is_none() && !section.has("bit") {
        section.missing(problems, keys::BIT);
    }
    if table.is_some_and(Table::is_bits) && !matches!(at.value, Kind::Bit(_)) {
        section.wrong(problems, keys::TYPE, &at.span);
        return None;
    }
    Some(at.value)
}

/// Scale, scale × unit conversion, and the vocabulary's unit.
fn scaling(
    section: &mut Section<'_>,
    name: Option<&str>,
    problems: &mut Problems,
) -> (Factor, Factor, Arc<str>) {
    let scale = section.literal(problems, keys::SCALE);
    let unit = section.text(problems, keys::UNIT);
    let known = name.and_then(quantity::lookup);
    let own = known.map_or("", |info| info.unit);
    let scale = match scale {
        None => Factor::ONE,
        Some(at) => Factor::parse(&at.value).unwrap_or_else(|| {
            section.wrong(problems, keys::SCALE, &at.span);
            Factor::ONE
        }),
    };
    let Some(unit) = unit else {
        // A unit may be left out only where there is none to get wrong.
        if !own.is_empty() && own != "1" && !section.has("unit") {
            section.missing(problems, keys::UNIT);
        }
        return (scale, scale, own.into());
    };
    if known.is_none() {
        // The unknown name is a problem of its own; its unit cannot be judged.
        return (scale, scale, own.into());
    }
    let factor = conversion(&unit.value, own).and_then(|factor| scale.times(factor));
    let factor = factor.unwrap_or_else(|| {
        section.report(
            problems,
            &unit.span,
            Text::new(
                format!("单位 {} 不能换算为 {own}", unit.value),
                format!("unit {} does not convert to {own}", unit.value),
            ),
            Text::new(
                format!("写仪表给出的单位；该量的标准单位是 {own}"),
                format!("write the meter's unit; the quantity's own is {own}"),
            ),
        );
        scale
    });
    (scale, factor, own.into())
}

fn side(
    section: &mut Section<'_>,
    unit: &str,
    defaults: &Defaults<'_>,
    problems: &mut Problems,
) -> Side {
    let words = [("primary", Side::Primary), ("secondary", Side::Secondary)];
    let own = choice(section, keys::SIDE, &words, problems).map(|at| at.value);
    match own.or(defaults.side) {
        Some(side) => side,
        None => {
            if is_transformed(unit) && !section.has("side") {
                section.missing(problems, keys::SIDE);
            }
            Side::Primary
        }
    }
}

fn valid(section: &mut Section<'_>, problems: &mut Problems) -> Option<(Decimal, Decimal)> {
    let ends = section.literals(problems, keys::VALID);
    let (first, last) = (ends.first()?, ends.last()?);
    let low = Decimal::parse(&first.value);
    let high = Decimal::parse(&last.value);
    match low.zip(high).filter(|(low, high)| ends.len() == 2 && low.to_f64() < high.to_f64()) {
        Some(ends) => Some(ends),
        None => {
            section.wrong(problems, keys::VALID, &first.span);
            None
        }
    }
}

/// Raw patterns; negative numbers are taken in two's complement of the kind's width.
fn invalid(section: &mut Section<'_>, kind: Option<Kind>, problems: &mut Problems) -> Vec<u64> {
    let bits = kind.map_or(64, Kind::bits);
    let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    let mut patterns = Vec::new();
    for at in section.literals(problems, keys::INVALID) {
        let pattern = at.value.parse::<i128>().ok().and_then(|n| {
            let lowest = -(1_i128 << (bits - 1));
            let two = if n < 0 { n + (1_i128 << bits) } else { n };
            u64::try_from(two).ok().filter(|two| n >= lowest && *two <= mask)
        });
        match pattern {
            Some(pattern) => patterns.push(pattern),
            None => section.wrong(problems, keys::INVALID, &at.span),
        }
    }
    patterns
}

fn class(
    section: &mut Section<'_>,
    defaults: &Defaults<'_>,
    problems: &mut Problems,
) -> Option<Arc<str>> {
    if !section.has("class") && defaults.classes.contains_key("fast") {
        section.text(problems, keys::CLASS);
        return Some("fast".into());
    }
    let at = section.need_text(problems, keys::CLASS)?;
    if !defaults.classes.contains_key(at.value.as_str()) {
        section.wrong(problems, keys::CLASS, &at.span);
        return None;
    }
    Some(at.value.into())
}

fn decimal(
    section: &mut Section<'_>,
    key: crate::config::section::Key,
    problems: &mut Problems,
) -> Option<f64> {
    let at = section.literal(problems, key)?;
    let number = Decimal::parse(&at.value).map(Decimal::to_f64);
    if number.is_none() {
        section.wrong(problems, key, &at.span);
    }
    number
}

fn when_rule(mut section: Section<'_>, problems: &mut Problems) -> Option<When> {
    let mask = section.integer(problems, keys::MASK, 1..=0xFFFF_FFFF);
    let equals = section.integer(problems, keys::EQUALS, 0..=0xFFFF_FFFF);
    let any = section.flag(problems, keys::ANY);
    let value = decimal(&mut section, keys::VALUE, problems);
    let marks = [
        ("warm-up", Effect::Doubt(Mark::uncertain(Reason::WarmUp))),
        ("calibration", Effect::Doubt(Mark::uncertain(Reason::Calibration))),
        ("inhibited", Effect::Doubt(Mark::uncertain(Reason::Inhibited))),
        ("simulated", Effect::Doubt(Mark::uncertain(Reason::Simulated))),
        ("fault", Effect::Void(Mark::bad(Reason::SensorFault))),
        ("void", Effect::Void(Mark::bad(Reason::Sentinel))),
        ("over-range", Effect::OverRange),
    ];
    let effect = choice(&mut section, keys::MARK, &marks, problems).map(|at| at.value);
    if equals.is_none() && !any && !section.has(any_key("equals").name) {
        section.missing(problems, keys::EQUALS);
    }
    section.finish(problems);
    let whole = if any { 0 } else { u64::MAX };
    let mask = mask.map_or(whole, |at| at.value.unsigned_abs());
    let equals = equals.map_or(0, |at| at.value.unsigned_abs());
    Some(When { mask, equals, any, effect, value })
}

/// Problems that only the whole set of a device's points shows: duplicates, torn groups, governing nobody.
pub(crate) fn problems_of_set(points: &[PointSpec]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (index, point) in points.iter().enumerate() {
        if let Some(name) = &point.quantity
            && points[..index].iter().any(|other| other.quantity.as_ref() == Some(name))
        {
            found.push((format!("{name} 写了两次"), format!("{name} is given twice")));
        }
        for governed in &point.governs {
            let together = |other: &PointSpec| {
                other.quantity.as_ref() == Some(governed)
                    && other.group == point.group
                    && other.group.is_some()
            };
            if !points.iter().any(together) {
                found.push((
                    format!("状态字管辖的 {governed} 不在同一 group 中"),
                    format!("{governed} is governed by a status word of another group"),
                ));
            }
        }
        if let Some(group) = &point.group {
            let mates = || points.iter().filter(|other| other.group.as_ref() == Some(group));
            let first = mates().map(|other| u32::from(other.address)).min().unwrap_or(0);
            let last = mates()
                .map(|other| u32::from(other.address) + u32::from(other.kind.words()))
                .max()
                .unwrap_or(0);
            let torn = mates().any(|o| o.table != point.table || o.class != point.class);
            if torn || last - first > u32::from(crate::plan::REGS_MAX) {
                found.push((
                    format!("group {group} 的测点不能由一次请求读取（表、类别须同，跨度 ≤125）"),
                    format!("group {group} cannot be read by one request (same table and class, span ≤ 125)"),
                ));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

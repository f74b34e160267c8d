//! Reads a profile's TOML: every problem with its line, nothing assumed that changes a number.
//!
//! Used for the embedded profiles, for a site's own folder, and (points only) for the site file. It must never accept
//! a quantity that is not in the vocabulary or a unit it cannot convert exactly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;
use wire::GatewayName;

use super::{DecodeTest, LinkSpec, PointSpec, Profile, Side, Standing};
use crate::config::problem::{Problems, Source, Text};
use crate::config::section::{At, Key, Section, key};

mod keys;
mod point;
mod test;

pub(crate) use point::{Defaults, point, problems_of_set};

/// Shortest and longest poll period, ms.
pub(crate) const PERIOD_MS: std::ops::RangeInclusive<i64> = 50..=86_400_000;

/// Points one profile may have.
pub const POINTS_MAX: usize = 1_024;

/// Reads one profile file.
pub fn profile(source: Source<'_>, problems: &mut Problems) -> Option<Profile> {
    let before = problems.len();
    let document = document(source, problems)?;
    let mut root = Section::new(source, source.file, &document, 0..0);
    let mut head = match root.table(problems, keys::PROFILE) {
        Some(head) => head,
        None => {
            root.missing(problems, keys::PROFILE);
            return None;
        }
    };
    let id = identifier(&mut head, keys::ID, problems);
    let version = head.need_text(problems, keys::VERSION).map(|at| at.value);
    let vendor = head.need_text(problems, keys::VENDOR).map(|at| at.value);
    let models = head.literals(problems, keys::MODELS).into_iter().map(|at| at.value).collect();
    let origin = head.need_text(problems, keys::SOURCE).map(|at| at.value);
    let standing = standing(&mut head, problems);
    let note = head.text(problems, keys::NOTE).map(|at| at.value).unwrap_or_default();
    let needs_site_points = head.flag(problems, keys::SITE_POINTS);
    let side = side(&mut head, problems);
    head.finish(problems);
    let (link, low_word_first, low_byte_first) = link(&mut root, problems);
    let classes = classes(&mut root, problems);
    let defaults = Defaults { low_word_first, low_byte_first, side, classes: &classes };
    let mut points = Vec::new();
    for section in root.tables(problems, keys::POINT).into_iter().take(POINTS_MAX) {
        points.extend(point(section, &defaults, problems));
    }
    let mut tests = Vec::new();
    for section in root.tables(problems, keys::TEST) {
        tests.extend(test::test(section, problems));
    }
    root.finish(problems);
    if problems.len() > before {
        return None;
    }
    check_whole(source, &points, &tests, needs_site_points, problems);
    let profile = Profile {
        id: id?.into(),
        version: version?.into(),
        vendor: vendor?,
        models,
        source: origin?,
        standing: standing?,
        note,
        link: link?,
        classes,
        points,
        tests,
        needs_site_points,
    };
    (problems.len() == before).then_some(profile)
}

/// The TOML itself: every syntax error is a problem.
pub(crate) fn document<'a>(source: Source<'a>, problems: &mut Problems) -> Option<DeTable<'a>> {
    let (document, errors) = DeTable::parse_recoverable(source.text);
    for error in &errors {
        problems.add(
            &source,
            error.span().as_ref(),
            Text::new(
                format!("TOML 语法错误：{}", error.message()),
                format!("not valid TOML: {}", error.message()),
            ),
            Text::new(
                "按 TOML 语法改正此行：文字加双引号，小节写成 [名称] 或 [[名称]]",
                "mend the line: text in double quotes, sections as [name] or [[name]]",
            ),
        );
    }
    errors.is_empty().then(|| document.into_inner())
}

/// A text of the grammar of ids: letters, digits, `-` and `_`, 1 to 64.
pub(crate) fn identifier(
    section: &mut Section<'_>,
    key: Key,
    problems: &mut Problems,
) -> Option<String> {
    let at = section.need_text(problems, key)?;
    if GatewayName::new(at.value.as_str()).is_err() {
        section.wrong(problems, key, &at.span);
        return None;
    }
    Some(at.value)
}

/// One of some words.
pub(crate) fn choice<T: Copy>(
    section: &mut Section<'_>,
    key: Key,
    words: &[(&str, T)],
    problems: &mut Problems,
) -> Option<At<T>> {
    let at = section.text(problems, key)?;
    match words.iter().find(|(word, _)| *word == at.value) {
        Some((_, value)) => Some(At { value: *value, span: at.span }),
        None => {
            section.wrong(problems, key, &at.span);
            None
        }
    }
}

fn standing(head: &mut Section<'_>, problems: &mut Problems) -> Option<Standing> {
    let words = [Standing::Official, Standing::FieldChecked, Standing::Unofficial];
    if !head.has(keys::STANDING.name) {
        head.missing(problems, keys::STANDING);
    }
    choice(head, keys::STANDING, &words.map(|word| (word.as_str(), word)), problems)
        .map(|at| at.value)
}

fn side(section: &mut Section<'_>, problems: &mut Problems) -> Option<Side> {
    let words = [("primary", Side::Primary), ("secondary", Side::Secondary)];
    choice(section, keys::SIDE, &words, problems).map(|at| at.value)
}

fn link(root: &mut Section<'_>, problems: &mut Problems) -> (Option<LinkSpec>, bool, bool) {
    let Some(mut section) = root.table(problems, keys::LINK) else {
        root.missing(problems, keys::LINK);
        return (None, false, false);
    };
    if !section.has(keys::MAX_REGS.name) {
        section.missing(problems, keys::MAX_REGS);
    }
    let max_regs = section.integer(problems, keys::MAX_REGS, 1..=125);
    let millis = |at: Option<At<i64>>, default| {
        Duration::from_millis(at.map_or(default, |at| at.value.unsigned_abs()))
    };
    let min_gap = millis(section.integer(problems, keys::MIN_GAP_MS, 0..=1_000), 0);
    let turnaround = millis(section.integer(problems, keys::TURNAROUND_MS, 0..=5_000), 20);
    let mut forbid = Vec::new();
    for pair in section.pairs(problems, keys::FORBID) {
        let (first, last) = (pair.value.0.parse::<u16>(), pair.value.1.parse::<u16>());
        match (first, last) {
            (Ok(first), Ok(last)) if first <= last => forbid.push((first, last)),
            _ => section.wrong(problems, keys::FORBID, &pair.span),
        }
    }
    let order = [("big", false), ("little", true)];
    let words = choice(&mut section, keys::WORD_ORDER, &order, problems);
    let bytes = choice(&mut section, keys::BYTE_ORDER, &order, problems);
    section.finish(problems);
    let link = max_regs.and_then(|at| u16::try_from(at.value).ok()).map(|max_regs| LinkSpec {
        max_regs,
        min_gap,
        turnaround,
        forbid,
    });
    (link, words.is_some_and(|at| at.value), bytes.is_some_and(|at| at.value))
}

fn classes(root: &mut Section<'_>, problems: &mut Problems) -> BTreeMap<Arc<str>, Duration> {
    let Some(mut section) = root.table(problems, keys::PERIOD_MS) else {
        root.missing(problems, keys::PERIOD_MS);
        return BTreeMap::new();
    };
    section.rename("[period_ms]");
    let mut classes = BTreeMap::new();
    for (name, at) in section.entries(problems, keys::PERIOD_MS) {
        match at.value.parse::<i64>() {
            Ok(ms) if PERIOD_MS.contains(&ms) => {
                classes.insert(Arc::from(name), Duration::from_millis(ms.unsigned_abs()));
            }
            _ => section.wrong(problems, keys::PERIOD_MS, &at.span),
        }
    }
    classes
}

/// What can only be said of all points together.
fn check_whole(
    source: Source<'_>,
    points: &[PointSpec],
    tests: &[DecodeTest],
    needs_site_points: bool,
    problems: &mut Problems,
) {
    let mut complain = |zh: String, en: String, mend: Text| {
        problems.add(&source, None, Text::new(zh, en), mend);
    };
    if points.is_empty() && !needs_site_points {
        complain(
            "没有测点".into(),
            "has no point".into(),
            Text::new(
                "加 [[point]]，或写 site_points = true",
                "add [[point]], or site_points = true",
            ),
        );
    }
    if tests.is_empty() && !points.is_empty() {
        complain(
            "没有解码测试".into(),
            "has no decode test".into(),
            Text::new(
                "按仪表说明书的例子加一个 [[test]]",
                "add a [[test]] from the maker's example",
            ),
        );
    }
    for (zh, en) in problems_of_set(points) {
        complain(
            zh,
            en,
            Text::new(
                "改正该测点的 group、governs 或 quantity",
                "mend the point's group, governs or quantity",
            ),
        );
    }
}

pub(crate) const fn any_key(name: &'static str) -> Key {
    key(name, "", "", "")
}

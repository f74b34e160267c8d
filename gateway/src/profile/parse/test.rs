//! One `[[test]]` of a profile: registers and what they must decode to.

use wire::{Mark, Quality, Reason};

use super::{choice, keys};
use crate::config::problem::Problems;
use crate::config::section::{Key, Section};
use crate::decode::decimal::{Decimal, Factor};
use crate::profile::{DecodeTest, Expect, Table};

/// Reads one test; `None` when it has a problem.
pub(super) fn test(mut section: Section<'_>, problems: &mut Problems) -> Option<DecodeTest> {
    let before = problems.len();
    let name = section.need_text(problems, keys::NAME);
    let tables = [Table::Holding, Table::Input, Table::Coil, Table::Discrete];
    let table = choice(&mut section, keys::TABLE, &tables.map(|t| (t.as_str(), t)), problems);
    let address = section.integer(problems, keys::REG, 0..=65_535);
    let words = words(&mut section, problems);
    let ct = ratio(&mut section, keys::CT, problems);
    let pt = ratio(&mut section, keys::PT, problems);
    let expect = section.tables(problems, keys::EXPECT);
    let expect = expect.into_iter().filter_map(|one| expected(one, problems)).collect();
    for (key, there) in [(keys::TABLE, table.is_some()), (keys::REG, address.is_some())] {
        if !there && !section.has(key.name) {
            section.missing(problems, key);
        }
    }
    let line = line_of(&section);
    section.finish(problems);
    let test = DecodeTest {
        name: name?.value,
        table: table?.value,
        address: u16::try_from(address?.value).ok()?,
        words: words?,
        ct,
        pt,
        expect,
        line,
    };
    (problems.len() == before).then_some(test)
}

fn line_of(section: &Section<'_>) -> usize {
    let upto = section.source().text.get(..section.span().start).unwrap_or("");
    upto.matches('\n').count() + 1
}

fn words(section: &mut Section<'_>, problems: &mut Problems) -> Option<Vec<u16>> {
    let at = section.need_text(problems, keys::WORDS)?;
    let words: Result<Vec<u16>, _> =
        at.value.split_whitespace().map(|word| u16::from_str_radix(word, 16)).collect();
    match words {
        Ok(words) if !words.is_empty() => Some(words),
        _ => {
            section.wrong(problems, keys::WORDS, &at.span);
            None
        }
    }
}

/// A CT or PT ratio; 1 where the key is absent.
pub(super) fn ratio(section: &mut Section<'_>, key: Key, problems: &mut Problems) -> Factor {
    let Some(at) = section.literal(problems, key) else { return Factor::ONE };
    Factor::parse(&at.value).unwrap_or_else(|| {
        section.wrong(problems, key, &at.span);
        Factor::ONE
    })
}

fn expected(mut section: Section<'_>, problems: &mut Problems) -> Option<Expect> {
    let quantity = section.need_text(problems, keys::QUANTITY)?;
    let value = section.literal(problems, keys::VALUE);
    let value = match value {
        None => None,
        Some(at) => match Decimal::parse(&at.value) {
            Some(number) => Some(number.to_f64()),
            None => {
                section.wrong(problems, keys::VALUE, &at.span);
                None
            }
        },
    };
    let mark = match section.text(problems, keys::MARK) {
        None => Mark::GOOD,
        Some(at) => match mark(&at.value) {
            Some(mark) => mark,
            None => {
                section.wrong(problems, keys::MARK, &at.span);
                Mark::GOOD
            }
        },
    };
    section.finish(problems);
    Some(Expect { quantity: quantity.value, value, mark })
}

/// `uncertain over_range`, `bad sentinel`: the words of the API.
fn mark(text: &str) -> Option<Mark> {
    let (quality, reason) = text.split_once(' ').unwrap_or((text, ""));
    let quality = (0..=4).filter_map(Quality::from_code).find(|q| q.as_str() == quality)?;
    let reason = (0..=254).map(Reason::from_code).find(|r| r.as_str() == reason)?;
    Some(Mark { quality, reason })
}

//! Marks of a column: nothing at all while every sample is good, one per row otherwise.
//! Runs exist on the wire only; in memory a row's mark is found in O(1).

use super::read::{Reader, put_varint};
use crate::error::DecodeError;
use crate::quality::{Mark, Quality, Reason};

/// Marks of the samples of a column.
#[derive(Debug, Clone, Default)]
pub enum Marks {
    /// Every sample is good, with no reason.
    #[default]
    AllGood,
    /// One mark per row.
    Each(Vec<Mark>),
}

/// By what a reader sees: a list of good marks equals `AllGood`.
impl PartialEq for Marks {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AllGood, Self::AllGood) => true,
            (Self::Each(a), Self::Each(b)) => a == b,
            (Self::Each(a), Self::AllGood) | (Self::AllGood, Self::Each(a)) => {
                a.iter().all(|m| *m == Mark::GOOD)
            }
        }
    }
}

impl Marks {
    /// The mark of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Mark {
        match self {
            Self::AllGood => Mark::GOOD,
            Self::Each(marks) => marks[row],
        }
    }

    /// Whether every sample is good, with no reason.
    #[must_use]
    pub fn all_good(&self) -> bool {
        match self {
            Self::AllGood => true,
            Self::Each(marks) => marks.iter().all(|m| *m == Mark::GOOD),
        }
    }

    pub(super) fn push(&mut self, rows_before: usize, mark: Mark) {
        match self {
            Self::Each(marks) => marks.push(mark),
            Self::AllGood if mark == Mark::GOOD => {}
            Self::AllGood => {
                let mut marks = vec![Mark::GOOD; rows_before];
                marks.push(mark);
                *self = Self::Each(marks);
            }
        }
    }

    /// How many of `rows` samples have a value.
    pub(super) fn present(&self, rows: usize) -> usize {
        match self {
            Self::AllGood => rows,
            Self::Each(marks) => marks.iter().filter(|m| m.quality.has_value()).count(),
        }
    }

    pub(super) fn encode(&self, before: Option<&Self>, out: &mut Vec<u8>) {
        match self {
            Self::Each(marks) if !self.all_good() => {
                if before == Some(self) {
                    out.push(2);
                    return;
                }
                out.push(1);
                for run in marks.chunk_by(|a, b| a == b) {
                    out.extend_from_slice(&[run[0].quality as u8, run[0].reason as u8]);
                    put_varint(run.len() as u64, out);
                }
            }
            _ => out.push(0),
        }
    }

    pub(super) fn decode(
        r: &mut Reader<'_>,
        rows: usize,
        before: Option<&Self>,
    ) -> Result<Self, DecodeError> {
        match (r.u8()?, before) {
            (0, _) => Ok(Self::AllGood),
            (2, Some(before)) => Ok(before.clone()),
            (1, _) => {
                let mut marks = Vec::with_capacity(rows);
                while marks.len() < rows {
                    let quality =
                        Quality::from_code(r.u8()?).ok_or_else(|| r.wrong("an unknown quality"))?;
                    let mark = Mark { quality, reason: Reason::from_code(r.u8()?) };
                    let length =
                        r.count("a run of marks longer than the rows", rows - marks.len())?;
                    if length == 0 {
                        return Err(r.wrong("an empty run of marks"));
                    }
                    marks.resize(marks.len() + length, mark);
                }
                Ok(Self::Each(marks))
            }
            _ => Err(r.wrong("an unknown form of marks")),
        }
    }
}

//! The one conversion from the wire's samples to those of the rules.
//!
//! Called for every block record, at first reading and when a waiting block is read again; it must give the same both
//! times. Masked rows are left out here and nowhere else.

use std::collections::HashMap;

use rules::evaluator::{BlockClock, BlockKey, BlockRecord, Row, SeriesTable, Span};
use rules::{Quality, SeriesKey};
use wire::block::{Body, ClockState};
use wire::{Manifest, ManifestKey, Mark, Reason};

use super::engines::EngineStep;
use crate::log::DecodedBlock;
use crate::log::record::Decided;

/// Manifests whose numbers are kept for one gateway.
const MANIFESTS_MAX: usize = 16;

/// Numbers of a manifest's points: reply, then point; none where the gateway has too many series.
type Numbers = Vec<Vec<Option<u32>>>;

/// Converts the blocks of one gateway.
#[derive(Debug, Default)]
pub(super) struct Converter {
    numbers: HashMap<ManifestKey, Numbers>,
    /// A manifest named series that got no number, and nobody was told yet.
    is_short: bool,
}

impl Converter {
    /// Whether series were left out since this was asked last: the gateway has too many.
    pub(super) fn take_short(&mut self) -> bool {
        std::mem::take(&mut self.is_short)
    }

    /// Gives the record that the evaluator takes.
    pub(super) fn block<S: EngineStep>(
        &mut self,
        decoded: &DecodedBlock,
        decided: &Decided,
        series: &mut SeriesTable<S>,
    ) -> BlockRecord<Quality> {
        let block = &decoded.block;
        let epoch = block.epoch.0;
        let gaps = match &block.body {
            Body::Gap(gap) => gap
                .ranges
                .iter()
                .map(|range| Span { epoch: range.epoch.0, from: range.from, to: range.to })
                .collect(),
            Body::Readings(_) => Vec::new(),
        };
        BlockRecord {
            key: BlockKey { epoch, seq: block.seq },
            follows: block.link.as_ref().map(|link| link.epoch.0),
            clock: clock(&block.clock, decided.offset),
            gaps,
            rows: self.rows(decoded, series),
            ahead: decoded.is_ahead,
            received_at: decoded.received_at,
        }
    }

    fn rows<S: EngineStep>(
        &mut self,
        decoded: &DecodedBlock,
        series: &mut SeriesTable<S>,
    ) -> Vec<Row<Quality>> {
        let readings = &decoded.readings;
        if readings.tables.is_empty() {
            return Vec::new();
        }
        if !self.numbers.contains_key(&readings.manifest) && self.numbers.len() >= MANIFESTS_MAX {
            self.numbers.clear();
        }
        let is_short = &mut self.is_short;
        let numbers = self.numbers.entry(readings.manifest).or_insert_with(|| {
            let numbers = number(&decoded.manifest, series);
            *is_short |= numbers.iter().flatten().any(Option::is_none);
            numbers
        });
        let mut rows = Vec::with_capacity(readings.sample_count());
        let mut masked = decoded.masked_rows.iter().copied().peekable();
        let mut row_number = 0u32;
        for table in &readings.tables {
            for (row, (reply, t)) in table.replies.iter().zip(&table.times).enumerate() {
                let is_masked = masked.next_if_eq(&row_number).is_some();
                row_number = row_number.saturating_add(1);
                let Some(points) = numbers.get(*reply as usize).filter(|_| !is_masked) else {
                    continue;
                };
                for (column, number) in table.columns.iter().zip(points) {
                    let Some(series) = *number else { continue };
                    let (value, quality) = (column.values()[row], quality(column.mark(row)));
                    rows.push(Row { series, t: *t, value, quality });
                }
            }
        }
        rows
    }
}

fn number<S: EngineStep>(manifest: &Manifest, series: &mut SeriesTable<S>) -> Numbers {
    let of = |device: &str, quantity: &str| SeriesKey::new(manifest.site.clone(), device, quantity);
    manifest
        .replies
        .iter()
        .map(|reply| {
            let points = reply.points.iter();
            points.map(|point| series.number(&of(&reply.device, &point.quantity))).collect()
        })
        .collect()
}

fn clock(clock: &wire::block::Clock, offset_at_receive: Option<i64>) -> BlockClock {
    BlockClock {
        unset: clock.state == ClockState::Unset,
        boot: clock.boot.0,
        boot_offset: clock.boot_offset.or(offset_at_receive),
        closed_at: clock.closed_at,
        mono_ms: i64::try_from(clock.mono_ms).unwrap_or(i64::MAX),
        segment: clock.segment,
    }
}

/// What a rule may believe of a sample.
fn quality(mark: Mark) -> Quality {
    match mark.quality {
        wire::Quality::Good => Quality::Good,
        wire::Quality::Uncertain => Quality::Uncertain {
            over: mark.reason == Reason::OverRange,
            under: mark.reason == Reason::UnderRange,
        },
        wire::Quality::Bad => Quality::Bad,
        wire::Quality::Stale => Quality::Stale,
        wire::Quality::Substituted => Quality::Substituted,
    }
}

//! Whether an entry can be given back, which rows at which times; decided when a person asks and again when it is logged.

use std::sync::Arc;

use wire::block::{Body, ClockState};
use wire::{Block, Manifest, ManifestKey};

use super::Entry;
use super::reason::{Shift, Text, reason};
use crate::log::replayed::ReplayMeta;
use crate::receive::AHEAD_MS;
use crate::store::bounds::EARLIEST_MS;

/// Largest difference that may be given, ms (100 years): beyond it a number is a slip.
pub const SHIFT_MAX_MS: i64 = 36_525 * 86_400_000;

/// An entry that can be given back.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The block as it came.
    pub block: Block,
    /// What its rows mean.
    pub manifest: Arc<Manifest>,
    /// What goes into the log with it.
    pub meta: ReplayMeta,
}

/// Why an entry cannot be given back, or not like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReplayable {
    /// Nobody can read it.
    #[error(
        "the block cannot be read ({why}): what cannot be read can never be replayed; export it or discard it"
    )]
    Unreadable {
        /// What the decoder says.
        why: String,
    },
    /// The store would refuse it again.
    #[error(
        "the block names a device or quantity that the store cannot take; mend the gateway's configuration, and discard or export this block"
    )]
    Name,
    /// There is nothing in it to store.
    #[error("the block holds no samples: there is nothing to replay")]
    Empty,
    /// Nobody knows what its columns mean.
    #[error(
        "the gateway's manifest for this block is not in the log: it must be sent before the block can be replayed"
    )]
    NoManifest,
    /// Its times mean nothing.
    #[error("its clock was never set: give shift_ms, what has to be added to its times")]
    ShiftNeeded,
    /// Its times must stand.
    #[error("other rows of this block are stored at its own times: replay it without shift_ms")]
    ShiftRefused,
    /// Nobody's clock is that wrong.
    #[error("shift_ms is beyond a hundred years")]
    ShiftTooLong,
    /// It would lie ahead still.
    #[error(
        "a sample would lie at {at} ms, ahead of the centre's clock: set the clock right first, or give another shift_ms"
    )]
    Ahead {
        /// The latest event time, ms UTC.
        at: i64,
    },
    /// It would lie before any store.
    #[error("a sample would lie at {at} ms, before the year 2000: give another shift_ms")]
    TooEarly {
        /// The earliest event time, ms UTC.
        at: i64,
    },
}

impl NotReplayable {
    /// Stable word.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::Name => "bad_name",
            Self::Empty => "empty",
            Self::NoManifest => "no_manifest",
            Self::ShiftNeeded => "shift_needed",
            Self::ShiftRefused => "shift_refused",
            Self::ShiftTooLong => "shift_too_long",
            Self::Ahead { .. } => "ahead",
            Self::TooEarly { .. } => "too_early",
        }
    }

    /// In both languages.
    #[must_use]
    pub fn text(&self) -> Text {
        let zh = match self {
            Self::Unreadable { .. } => "数据块无法解读，永远不能补录，可导出或丢弃。",
            Self::Name => "数据块中的名称历史库不能接受，请改正网关配置，本块可导出或丢弃。",
            Self::Empty => "数据块中没有样本，无可补录。",
            Self::NoManifest => "中心日志中没有该数据块的测点清单，须先由网关重新发送。",
            Self::ShiftNeeded => "网关时钟从未校准，请填写时间偏差。",
            Self::ShiftRefused => "该块其余样本已按原时间入库，只能原样补录。",
            Self::ShiftTooLong => "时间偏差超过一百年。",
            Self::Ahead { .. } => "补录后样本仍超前于中心时钟，请先校时或改填偏差。",
            Self::TooEarly { .. } => "补录后样本早于 2000 年，请改填偏差。",
        };
        Text::of(zh, &self.to_string())
    }
}

/// Decides about an entry with these bytes. `manifest` looks a manifest up.
///
/// # Errors
/// The lookup's own.
pub fn plan<E>(
    entry: &Entry,
    bytes: &[u8],
    shift: Option<i64>,
    now: i64,
    manifest: impl FnOnce(ManifestKey) -> Result<Option<Arc<Manifest>>, E>,
) -> Result<Result<Planned, NotReplayable>, E> {
    let block = match Block::decode(bytes) {
        Ok(block) => block,
        Err(error) => return Ok(Err(NotReplayable::Unreadable { why: error.to_string() })),
    };
    if block.gateway.as_str() != entry.gateway {
        let why = "it names another gateway".to_owned();
        return Ok(Err(NotReplayable::Unreadable { why }));
    }
    let Body::Readings(readings) = &block.body else { return Ok(Err(NotReplayable::Empty)) };
    if readings.tables.is_empty() {
        return Ok(Err(NotReplayable::Empty));
    }
    let manifest = match manifest(readings.manifest)? {
        Some(manifest) => manifest,
        None => return Ok(Err(NotReplayable::NoManifest)),
    };
    if let Err(error) = readings.check(&manifest) {
        return Ok(Err(NotReplayable::Unreadable { why: error.to_string() }));
    }
    let times = readings.tables.iter().flat_map(|t| t.times.iter().copied());
    let given = |row: &u32| entry.rows.is_empty() || entry.rows.binary_search(row).is_ok();
    let times: Vec<i64> =
        (0_u32..).zip(times).filter(|(row, _)| given(row)).map(|(_, time)| time).collect();
    let is_unset = block.clock.state == ClockState::Unset;
    Ok(shift_of(&entry.code, shift, is_unset).and_then(|shift_ms| {
        check_times(&times, shift_ms, now)?;
        let meta = ReplayMeta { entry: entry.id, rows: entry.rows.clone(), shift_ms };
        Ok(Planned { block, manifest, meta })
    }))
}

/// What a block of a code may be given back with.
#[must_use]
pub fn shift_policy(code: &str, is_unset: bool) -> Shift {
    // Whatever it was set aside for, the times of a clock that was never set are readings of nothing.
    if is_unset { Shift::Needed } else { reason(code).shift }
}

fn shift_of(code: &str, given: Option<i64>, is_unset: bool) -> Result<i64, NotReplayable> {
    if code == "bad_name" {
        return Err(NotReplayable::Name);
    }
    if given.is_some_and(|shift| shift.unsigned_abs() > SHIFT_MAX_MS.unsigned_abs()) {
        return Err(NotReplayable::ShiftTooLong);
    }
    match (shift_policy(code, is_unset), given) {
        (Shift::Needed, None) => Err(NotReplayable::ShiftNeeded),
        (Shift::None, Some(shift)) if shift != 0 => Err(NotReplayable::ShiftRefused),
        (_, given) => Ok(given.unwrap_or(0)),
    }
}

fn check_times(times: &[i64], shift_ms: i64, now: i64) -> Result<(), NotReplayable> {
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
        return Err(NotReplayable::Empty);
    };
    let (first, last) = (first.saturating_add(shift_ms), last.saturating_add(shift_ms));
    if last > now.saturating_add(AHEAD_MS) {
        return Err(NotReplayable::Ahead { at: last });
    }
    if first < EARLIEST_MS {
        return Err(NotReplayable::TooEarly { at: first });
    }
    Ok(())
}

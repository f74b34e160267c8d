//! What lies in an entry, for a person: gateway, clock, times, devices, the first rows with their values.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use wire::block::{Body, ClockState};
use wire::{Block, Manifest, ManifestKey, Readings};

use super::Entry;

/// Rows shown at most.
pub const ROWS_SHOWN_MAX: usize = 50;
/// Devices named at most.
pub const DEVICES_SHOWN_MAX: usize = 200;
/// Ranges of a gap record shown at most.
pub const GAPS_SHOWN_MAX: usize = 50;

/// What an entry's bytes say. Counts and times are of the rows that are set aside.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub struct Content {
    /// `readings`, `gap` or `unreadable`.
    pub kind: String,
    /// Why it cannot be read.
    pub unreadable: Option<String>,
    /// What is known of it means nothing without the gateway's manifest, which the log does not have.
    pub manifest_missing: bool,
    /// State of the gateway's clock: `synced`, `holdover`, `unset`.
    pub clock: Option<String>,
    /// When the gateway closed the block by its own clock, ms UTC.
    pub closed_at: Option<i64>,
    /// Rows set aside.
    pub rows: u64,
    /// Samples in them.
    pub samples: u64,
    /// Earliest event time as the gateway gave it, ms UTC.
    pub from: Option<i64>,
    /// Latest event time as the gateway gave it, ms UTC.
    pub to: Option<i64>,
    /// The site in the manifest.
    pub site: Option<String>,
    /// Devices with their rows.
    pub devices: Vec<DeviceRows>,
    /// The first rows.
    pub first: Vec<RowShown>,
    /// Loss that a gap record declares.
    pub gaps: Vec<GapShown>,
}

/// Rows of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeviceRows {
    /// Device id.
    pub device: String,
    /// Its rows.
    pub rows: u64,
}

/// One reply of a device.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RowShown {
    /// Event time as the gateway gave it, ms UTC.
    pub t: i64,
    /// Device id.
    pub device: String,
    /// Its samples.
    pub values: Vec<ValueShown>,
}

/// One sample.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ValueShown {
    /// Name from the vocabulary.
    pub quantity: String,
    /// Its unit.
    pub unit: String,
    /// None where there is no number.
    pub value: Option<f64>,
    /// good, uncertain, bad, stale, substituted.
    pub quality: String,
}

/// Blocks declared lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct GapShown {
    /// Epoch, 16 hexadecimal digits.
    pub epoch: String,
    /// First seq.
    pub from: u64,
    /// Last seq.
    pub to: u64,
}

/// Reads an entry's bytes. `manifest` looks a manifest up; what it does not know is shown without names.
pub fn content<E>(
    entry: &Entry,
    bytes: &[u8],
    manifest: impl FnOnce(ManifestKey) -> Result<Option<std::sync::Arc<Manifest>>, E>,
) -> Result<Content, E> {
    let block = match Block::decode(bytes) {
        Ok(block) => block,
        Err(error) => {
            let unreadable = Some(error.to_string());
            return Ok(Content { kind: "unreadable".to_owned(), unreadable, ..Content::default() });
        }
    };
    let clock = match block.clock.state {
        ClockState::Unset => "unset",
        ClockState::Synced => "synced",
        ClockState::Holdover => "holdover",
    };
    let mut content = Content {
        kind: "readings".to_owned(),
        clock: Some(clock.to_owned()),
        closed_at: Some(block.clock.closed_at),
        ..Content::default()
    };
    match &block.body {
        Body::Gap(gap) => {
            "gap".clone_into(&mut content.kind);
            let shown = gap.ranges.iter().take(GAPS_SHOWN_MAX);
            content.gaps = shown
                .map(|r| GapShown { epoch: format!("{:016x}", r.epoch.0), from: r.from, to: r.to })
                .collect();
        }
        Body::Readings(readings) => {
            let known = match readings.tables.is_empty() {
                true => None,
                false => manifest(readings.manifest)?,
            };
            content.manifest_missing = known.is_none() && !readings.tables.is_empty();
            content.site = known.as_ref().map(|m| m.site.clone());
            read_rows(&mut content, entry, readings, known.as_deref());
        }
    }
    Ok(content)
}

fn read_rows(content: &mut Content, entry: &Entry, readings: &Readings, known: Option<&Manifest>) {
    let mut devices: BTreeMap<&str, u64> = BTreeMap::new();
    let mut number = 0_u32;
    for table in &readings.tables {
        for (row, (reply, t)) in table.replies.iter().zip(&table.times).enumerate() {
            let is_aside = entry.rows.is_empty() || entry.rows.binary_search(&number).is_ok();
            number = number.saturating_add(1);
            if !is_aside {
                continue;
            }
            content.rows += 1;
            content.samples += table.columns.len() as u64;
            content.from = Some(content.from.map_or(*t, |from| from.min(*t)));
            content.to = Some(content.to.map_or(*t, |to| to.max(*t)));
            let reply = known.and_then(|m| m.replies.get(*reply as usize));
            if let Some(reply) = reply {
                *devices.entry(reply.device.as_str()).or_default() += 1;
            }
            if content.first.len() < ROWS_SHOWN_MAX {
                let values = table.columns.iter().enumerate().map(|(column, samples)| {
                    let point = reply.and_then(|r| r.points.get(column));
                    let value = samples.values()[row];
                    ValueShown {
                        quantity: point.map(|p| p.quantity.clone()).unwrap_or_default(),
                        unit: point.map(|p| p.unit.clone()).unwrap_or_default(),
                        value: value.is_finite().then_some(value),
                        quality: samples.mark(row).quality.as_str().to_owned(),
                    }
                });
                let values = values.collect();
                let device = reply.map(|r| r.device.clone()).unwrap_or_default();
                content.first.push(RowShown { t: *t, device, values });
            }
        }
    }
    let devices = devices.into_iter().take(DEVICES_SHOWN_MAX);
    content.devices =
        devices.map(|(device, rows)| DeviceRows { device: device.to_owned(), rows }).collect();
}

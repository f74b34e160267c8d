//! Line protocol, written straight from columns: the pure part of the InfluxDB store.
//!
//! ```text
//! electric,device=M1,site=91530000X u_a=230.1,i_a=4.5,i_b_q=2i 1700000000000
//! family   tags, sorted             fields: value, or quality  ms
//! ```
//!
//! One line per reading and family. A good, uncertain or substituted sample writes `<quantity>`, always a float;
//! one that is not good writes `<quantity>_q` (1 uncertain, 2 bad, 3 stale, 4 substituted). What a reply's lines
//! look like is worked out once per manifest; after that nothing is allocated per sample. It must never write NaN,
//! an infinity, or a name that could break out of its place.

use std::collections::HashMap;
use std::ops::Range;

use wire::columns::Table;
use wire::quantity::Family;
use wire::{Manifest, ManifestKey, Quality};

use super::bounds::{Bounds, RowFilter, RowVerdict};
use super::names;
use super::{Refusal, RefusalSink};
use crate::log::DecodedBlock;

/// Most manifests whose prefixes are kept; beyond it the cache starts again.
pub const PLANS_MAX: usize = 4_096;

/// Lines ready to be sent, with the ends of each.
#[derive(Debug, Default)]
pub struct Lines {
    /// All lines, each ended by `\n`.
    pub bytes: Vec<u8>,
    /// Byte offset after each line.
    pub ends: Vec<usize>,
    /// First line of each block, its gateway and position: who to name when a line is refused.
    pub origins: Vec<(usize, String, u64)>,
}

impl Lines {
    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Where the bytes of lines `from..to` are.
    pub fn span(&self, from: usize, to: usize) -> Range<usize> {
        let start = if from == 0 { 0 } else { self.ends[from - 1] };
        if to <= from { start..start } else { start..self.ends[to - 1] }
    }

    /// The bytes of lines `from..to`.
    pub fn slice(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[self.span(from, to)]
    }

    /// Gateway and log position of the block that a line came from.
    pub fn origin(&self, line: usize) -> Option<(&str, u64)> {
        let after = self.origins.partition_point(|(first, _, _)| *first <= line);
        let (_, gateway, position) = self.origins.get(after.checked_sub(1)?)?;
        Some((gateway, *position))
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.origins.clear();
    }
}

/// Turns blocks into lines.
#[derive(Debug, Default)]
pub struct LineWriter {
    plans: HashMap<ManifestKey, Plan>,
    /// A backslash in a name is written twice: VictoriaMetrics reads two as one, InfluxDB as two.
    doubles_backslash: bool,
}

/// What the lines of a manifest's replies look like; an `Err` says why a reply cannot be written at all.
#[derive(Debug)]
struct Plan {
    replies: Vec<Result<Vec<FamilyLine>, String>>,
}

/// The line of one family of one reply.
#[derive(Debug)]
struct FamilyLine {
    /// `electric,device=…,site=… ` with the space.
    prefix: Vec<u8>,
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    column: usize,
    /// `u_a=`
    value_key: Vec<u8>,
    /// `u_a_q=`
    quality_key: Vec<u8>,
}

impl LineWriter {
    /// A writer with an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer for a database that reads two backslashes as one.
    pub fn doubling() -> Self {
        Self { doubles_backslash: true, ..Self::default() }
    }

    /// Appends the lines of a block; what can never be stored goes to `sink`. Returns the samples written.
    pub fn append(
        &mut self,
        block: &DecodedBlock,
        bounds: Bounds,
        sink: &dyn RefusalSink,
        out: &mut Lines,
    ) -> u64 {
        if block.readings.tables.is_empty() {
            return 0;
        }
        out.origins.push((out.len(), block.gateway.to_string(), block.position));
        let plan = self.plan(block);
        let mut filter = RowFilter::new(bounds, block.received_at, &block.masked_rows);
        let mut refused = Refused::default();
        let mut samples = 0;
        for table in &block.readings.tables {
            samples += write_table(plan, table, &mut filter, &mut refused, out);
        }
        refused.report(block, sink);
        samples
    }

    fn plan(&mut self, block: &DecodedBlock) -> &Plan {
        if self.plans.len() >= PLANS_MAX && !self.plans.contains_key(&block.readings.manifest) {
            self.plans.clear();
        }
        let doubles = self.doubles_backslash;
        let plan = self.plans.entry(block.readings.manifest);
        plan.or_insert_with(|| Plan::new(&block.manifest, doubles))
    }
}

/// Rows of a block that were not written, by reason.
#[derive(Debug, Default)]
pub(super) struct Refused {
    too_old: u64,
    too_far_ahead: u64,
    bad_name: u64,
    /// Reason and example of the first bad name.
    bad: Option<String>,
    /// An example of the times refused.
    time: Option<i64>,
}

impl Refused {
    pub(super) fn time(&mut self, verdict: RowVerdict, time: i64, samples: u64) {
        match verdict {
            RowVerdict::TooOld => self.too_old += samples,
            RowVerdict::TooFarAhead => self.too_far_ahead += samples,
            RowVerdict::Keep | RowVerdict::Masked => return,
        }
        self.time = Some(time);
    }

    pub(super) fn name(&mut self, reason: &str, samples: u64) {
        self.bad_name += samples;
        if self.bad.is_none() {
            self.bad = Some(reason.to_owned());
        }
    }

    pub(super) fn report(self, block: &DecodedBlock, sink: &dyn RefusalSink) {
        let time = self.time.unwrap_or_default();
        let times = format!("event time {time}, received {}", block.received_at);
        let name = self.bad.unwrap_or_default();
        for (code, samples, reason) in [
            ("too_old", self.too_old, &times),
            ("too_far_ahead", self.too_far_ahead, &times),
            ("bad_name", self.bad_name, &name),
        ] {
            if samples > 0 {
                sink.refused(Refusal {
                    code,
                    gateway: Some(block.gateway.to_string()),
                    position: Some(block.position),
                    what: format!("block {:016x}/{}", block.block.epoch.0, block.block.seq),
                    reason: reason.clone(),
                    samples,
                });
            }
        }
    }
}

impl Plan {
    fn new(manifest: &Manifest, doubles_backslash: bool) -> Self {
        let replies = manifest.replies.iter().map(|reply| {
            names::check_tag(&manifest.site)?;
            names::check_tag(&reply.device)?;
            let mut lines: Vec<(Family, FamilyLine)> = Vec::new();
            for (column, point) in reply.points.iter().enumerate() {
                names::check_quantity(&point.quantity)?;
                let family = names::family(&point.quantity);
                let field = Field {
                    column,
                    value_key: format!("{}=", point.quantity).into_bytes(),
                    quality_key: format!("{}_q=", point.quantity).into_bytes(),
                };
                match lines.iter_mut().find(|(f, _)| *f == family) {
                    Some((_, line)) => line.fields.push(field),
                    None => {
                        let names = (manifest.site.as_str(), reply.device.as_str());
                        let prefix = prefix(family, names, doubles_backslash);
                        lines.push((family, FamilyLine { prefix, fields: vec![field] }));
                    }
                }
            }
            Ok(lines.into_iter().map(|(_, line)| line).collect())
        });
        Self { replies: replies.collect() }
    }
}

/// `family,device=…,site=… `
fn prefix(family: Family, (site, device): (&str, &str), doubles_backslash: bool) -> Vec<u8> {
    let mut out = family.as_str().as_bytes().to_vec();
    for (key, value) in [("device", device), ("site", site)] {
        out.push(b',');
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        escape_tag(value, doubles_backslash, &mut out);
    }
    out.push(b' ');
    out
}

/// Writes a checked tag value so that nothing in it ends it.
fn escape_tag(value: &str, doubles_backslash: bool, out: &mut Vec<u8>) {
    for byte in value.bytes() {
        if matches!(byte, b',' | b'=' | b' ') || (byte == b'\\' && doubles_backslash) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

fn write_table(
    plan: &Plan,
    table: &Table,
    filter: &mut RowFilter<'_>,
    refused: &mut Refused,
    out: &mut Lines,
) -> u64 {
    let width = table.columns.len() as u64;
    let keep_all = filter.keeps_all(&table.times);
    let mut samples = 0;
    for (row, (&time, &reply)) in table.times.iter().zip(&table.replies).enumerate() {
        if !keep_all {
            let verdict = filter.next(time);
            if verdict != RowVerdict::Keep {
                refused.time(verdict, time, width);
                continue;
            }
        }
        match plan.replies.get(reply as usize) {
            Some(Ok(lines)) => {
                samples += width;
                for line in lines {
                    write_line(line, table, row, time, out);
                }
            }
            Some(Err(reason)) => refused.name(reason, width),
            None => refused.name("row names a reply that the manifest lacks", width),
        }
    }
    samples
}

fn write_line(line: &FamilyLine, table: &Table, row: usize, time: i64, out: &mut Lines) {
    let bytes = &mut out.bytes;
    bytes.extend_from_slice(&line.prefix);
    let mut float = zmij::Buffer::new();
    let mut any = false;
    for field in &line.fields {
        let Some(column) = table.columns.get(field.column) else { continue };
        let quality = column.mark(row).quality;
        let value = column.values()[row];
        let numeric = quality.has_value() && value.is_finite();
        if numeric {
            separate(bytes, &mut any);
            bytes.extend_from_slice(&field.value_key);
            bytes.extend_from_slice(float.format_finite(value).as_bytes());
        }
        if quality != Quality::Good || !numeric {
            separate(bytes, &mut any);
            bytes.extend_from_slice(&field.quality_key);
            let code = if numeric || quality == Quality::Stale { quality } else { Quality::Bad };
            bytes.extend_from_slice(&[b'0' + code as u8, b'i']);
        }
    }
    bytes.push(b' ');
    bytes.extend_from_slice(itoa::Buffer::new().format(time).as_bytes());
    bytes.push(b'\n');
    out.ends.push(bytes.len());
}

fn separate(bytes: &mut Vec<u8>, any: &mut bool) {
    if *any {
        bytes.push(b',');
    }
    *any = true;
}

#[cfg(test)]
mod tests;

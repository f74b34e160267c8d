//! What the durable log hands to its two cursors, the store writer and the evaluator.
//!
//! A block is decoded once and shared; nobody downstream changes it.

pub mod decode;
pub mod record;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use wire::{Block, GatewayName, Manifest, Readings};

/// One block record of the log, decoded.
#[derive(Debug, Clone)]
pub struct DecodedBlock {
    /// Its place in the log; positions grow for ever.
    pub position: u64,
    /// The gateway that sealed it.
    pub gateway: GatewayName,
    /// Enterprise code of the site, from the manifest.
    pub site: String,
    /// What the rows mean.
    pub manifest: Arc<Manifest>,
    /// The block's header; the rows are in `readings`, so `block.body` holds none.
    pub block: Block,
    /// The rows; no table at all for a gap record or an empty block.
    pub readings: Arc<Readings>,
    /// The centre's time when it arrived, ms UTC.
    pub received_at: i64,
    /// Rows ahead of the centre's clock, decided at receive, ascending, numbered through all tables in order: they are in quarantine
    /// and neither stored nor evaluated.
    pub masked_rows: Vec<u32>,
    /// A row or the closing time was ahead of the centre's clock: the closing time is not believed.
    pub is_ahead: bool,
}

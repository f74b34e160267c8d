//! What follows from a committed transaction: records for the cursors, blocks for quarantine, notices for people.

use std::sync::Arc;

use wire::GatewayName;

use crate::log::LogRecord;

/// What follows from a transaction, handed out once it is durable.
#[derive(Debug, Default)]
pub struct Effects {
    /// Records that were logged, in order.
    pub records: Vec<Arc<LogRecord>>,
    /// What was set aside. It is made durable *before* the log's commit: a block must never be acked as rejected and
    /// lie nowhere.
    pub quarantined: Vec<Quarantined>,
    /// What people should know.
    pub notices: Vec<Notice>,
}

/// A block, or rows of one, set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The gateway.
    pub gateway: GatewayName,
    /// Epoch of the block; 0 where it could not be read.
    pub epoch: u64,
    /// Its seq; 0 where it could not be read.
    pub seq: u64,
    /// Stable word: `key_reuse`, `future`, `time_unknown`, or what the decoder says.
    pub code: &'static str,
    /// More, for a person.
    pub detail: String,
    /// Rows that are set aside; empty = the whole block.
    pub rows: Vec<u32>,
    /// The block as it came.
    pub bytes: Vec<u8>,
    /// When it arrived, ms UTC.
    pub at: i64,
}

/// Something that people should know about the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Stable word.
    pub code: &'static str,
    /// The gateway, if it is about one.
    pub gateway: Option<GatewayName>,
    /// What is wrong and how to mend it.
    pub text: String,
}

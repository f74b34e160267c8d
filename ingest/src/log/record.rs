//! The kinds of records in the durable log, and how each lies in it.
//!
//! The receiver writes them through [`spool::Txn`], the two cursors read them. Kinds and fields are never reused: a
//! log outlives the program that wrote it.
//!
//! ```text
//! kind  record      gateway  epoch, seq      meta                 bytes
//!    1  block       its      its key         BlockMeta, postcard  the block as it came
//!    2  chain       its      the epoch, 0    empty                ChainBody, postcard
//!    3  gone        its      0, 0            empty                GoneBody, postcard
//!    4  fact        ""       0, revision     empty                rules::Fact, JSON
//!    5  tick        ""       0, 0            empty                empty; its time is received_at
//!    6  start       ""       log_id, 0       empty                empty; its time is received_at
//!    7  presence    its      its epoch, 0    empty                PresenceBody, postcard
//!    8  step        ""       0, 0            empty                StepBody, postcard; the time after it is received_at
//!    9  replay      its      its key         ReplayMeta, postcard the block as it came, given back from quarantine
//! ```

use serde::{Deserialize, Serialize};
use spool::NewRecord;

/// Record kinds, as in the table above.
pub mod kind {
    /// A block of a gateway.
    pub const BLOCK: u8 = 1;
    /// An epoch was joined to the chain.
    pub const CHAIN: u8 = 2;
    /// Holes were closed.
    pub const GONE: u8 = 3;
    /// A fact was recorded.
    pub const FACT: u8 = 4;
    /// A second passed.
    pub const TICK: u8 = 5;
    /// The centre started.
    pub const START: u8 = 6;
    /// A gateway came or went.
    pub const PRESENCE: u8 = 7;
    /// The centre's clock was set while it ran.
    pub const STEP: u8 = 8;
    /// A block, or rows of one, given back from quarantine: history for the store, never evaluated.
    pub const REPLAY: u8 = 9;
}

/// What was decided about a block at receive, once and for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockMeta {
    /// Rows ahead of the centre's clock, ascending, numbered through all tables in order.
    pub masked_rows: Vec<u32>,
    /// A row or the closing time was ahead: the closing time is not believed.
    pub is_ahead: bool,
    /// What else was decided; behind the fields above, and not there at all where there is nothing to say.
    #[serde(skip)]
    pub decided: Decided,
}

/// What was decided about a block at receive beside [`BlockMeta::masked_rows`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Its gateway has been replaced by another one: stored, never evaluated.
    pub is_superseded: bool,
    /// For a block of an unset clock whose boot's offset was known at receive: that offset (wall − mono, ms).
    /// `None` in a block of an unset clock means that the store takes it when another record releases it.
    pub offset: Option<i64>,
    /// Positions of held blocks of the same boot that this record releases: the store takes them now, timed by this
    /// block's boot offset.
    pub releases: Vec<u64>,
}

impl BlockMeta {
    /// As it lies in the log: nothing at all where there is nothing to say.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        if *self == Self::default() {
            return Vec::new();
        }
        let mut bytes = to_bytes(self);
        if self.decided != Decided::default() {
            bytes.extend(to_bytes(&self.decided));
        }
        bytes
    }

    /// Reads it back.
    ///
    /// # Errors
    /// When the bytes are not what [`BlockMeta::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const WHAT: &str = "a block's meta";
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let wrong = |e: postcard::Error| RecordError::Body { what: WHAT, why: e.to_string() };
        let (mut meta, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(wrong)?;
        if !rest.is_empty() {
            meta.decided = from_bytes(WHAT, rest)?;
        }
        Ok(meta)
    }
}

/// Blocks `from..=to` of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneSpan {
    /// The epoch.
    pub epoch: u64,
    /// First seq.
    pub from: u64,
    /// Last seq.
    pub to: u64,
}

/// What a record says that is not a block.
#[derive(Debug, Clone, PartialEq)]
pub enum CentreRecord {
    /// An epoch follows the present tail of its gateway's chain, which ends at `last`.
    Chain {
        /// The epoch that is joined.
        epoch: u64,
        /// The tail it follows; none where it is the first.
        after: Option<u64>,
        /// Last seq of the tail that counts; 0 where there is none.
        last: u64,
    },
    /// Holes that the gateway no longer holds.
    Gone(Vec<GoneSpan>),
    /// A fact, or a revision of a site's model.
    Fact(Box<rules::Fact>),
    /// The centre's second.
    Tick,
    /// A start of the centre.
    Start {
        /// Drawn at this start.
        log_id: u64,
    },
    /// A gateway said that it is there, or its last will said that it is gone.
    Presence {
        /// The start of the gateway that says so.
        epoch: u64,
        /// Whether it is there.
        online: bool,
        /// Mains of the gateway is gone.
        on_battery: bool,
    },
    /// The centre's clock was set while it ran: times before this record and after it are `by` ms further apart than
    /// they were in truth.
    Step {
        /// Ms; negative where the clock went back.
        by: i64,
    },
}

#[derive(Serialize, Deserialize)]
struct StepBody {
    by: i64,
}

#[derive(Serialize, Deserialize)]
struct ChainBody {
    after: Option<u64>,
    last: u64,
}

#[derive(Serialize, Deserialize)]
struct PresenceBody {
    online: bool,
    on_battery: bool,
}

/// A record ready to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    kind: u8,
    epoch: u64,
    seq: u64,
    bytes: Vec<u8>,
}

impl Encoded {
    /// As the log takes it. `gateway` is empty for facts, ticks and starts; `at` is the centre's time, ms UTC.
    #[must_use]
    pub fn as_new<'a>(&'a self, gateway: &'a str, at: i64) -> NewRecord<'a> {
        NewRecord {
            kind: self.kind,
            gateway,
            epoch: self.epoch,
            seq: self.seq,
            received_at: at,
            meta: &[],
            bytes: &self.bytes,
        }
    }
}

/// Why a record of the log cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A newer program wrote it.
    #[error(
        "the log has a record of kind {kind}, which this version does not know: run the version that wrote it"
    )]
    Kind {
        /// The kind.
        kind: u8,
    },
    /// The body is not what this version writes.
    #[error("{what} in the log is not readable: {why}")]
    Body {
        /// What it should be.
        what: &'static str,
        /// What the parser said.
        why: String,
    },
}

impl CentreRecord {
    /// As it lies in the log.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let encoded = |kind, epoch, seq, bytes| Encoded { kind, epoch, seq, bytes };
        match self {
            Self::Chain { epoch, after, last } => {
                encoded(kind::CHAIN, *epoch, 0, to_bytes(&ChainBody { after: *after, last: *last }))
            }
            Self::Gone(spans) => encoded(kind::GONE, 0, 0, to_bytes(spans)),
            Self::Fact(fact) => {
                let bytes =
                    serde_json::to_vec(fact).expect("facts have string keys and finite numbers");
                encoded(kind::FACT, 0, fact.revision, bytes)
            }
            Self::Tick => encoded(kind::TICK, 0, 0, Vec::new()),
            Self::Start { log_id } => encoded(kind::START, *log_id, 0, Vec::new()),
            Self::Presence { epoch, online, on_battery } => {
                let body = PresenceBody { online: *online, on_battery: *on_battery };
                encoded(kind::PRESENCE, *epoch, 0, to_bytes(&body))
            }
            Self::Step { by } => encoded(kind::STEP, 0, 0, to_bytes(&StepBody { by: *by })),
        }
    }

    /// Reads a record that is not a block.
    ///
    /// # Errors
    /// [`RecordError`]; a block is of no kind known here.
    pub fn decode(record: &spool::Record) -> Result<Self, RecordError> {
        match record.kind {
            kind::CHAIN => {
                let body: ChainBody = from_bytes("a chain record", &record.bytes)?;
                Ok(Self::Chain { epoch: record.epoch, after: body.after, last: body.last })
            }
            kind::GONE => from_bytes("a closure", &record.bytes).map(Self::Gone),
            kind::FACT => serde_json::from_slice(&record.bytes)
                .map(|fact| Self::Fact(Box::new(fact)))
                .map_err(|e| RecordError::Body { what: "a fact", why: e.to_string() }),
            kind::TICK => Ok(Self::Tick),
            kind::START => Ok(Self::Start { log_id: record.epoch }),
            kind::PRESENCE => {
                let body: PresenceBody = from_bytes("a presence record", &record.bytes)?;
                let PresenceBody { online, on_battery } = body;
                Ok(Self::Presence { epoch: record.epoch, online, on_battery })
            }
            kind::STEP => {
                let StepBody { by } = from_bytes("a step of the clock", &record.bytes)?;
                Ok(Self::Step { by })
            }
            kind => Err(RecordError::Kind { kind }),
        }
    }
}

pub(super) fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("our own record types always serialize")
}

pub(super) fn from_bytes<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, RecordError> {
    postcard::from_bytes(bytes).map_err(|e| RecordError::Body { what, why: e.to_string() })
}

//! Block records of the log, decoded once for both cursors.
//!
//! Each cursor owns a [`Decoder`], which remembers the manifests it has met; the receiver may put in what it has
//! decoded already. It must never change what a block says.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use spool::LogReader;
use wire::block::Body;
use wire::{Block, Manifest, ManifestKey, Readings};

use super::DecodedBlock;
use super::record::{BlockMeta, RecordError};
use super::replayed::ReplayMeta;

/// Manifests that a decoder remembers, over all gateways.
pub const MANIFESTS_MAX: usize = 4_096;

/// Why a block record cannot be handed over.
#[derive(Debug, thiserror::Error)]
pub enum DecodeBlockError {
    /// The bytes are no block; the receiver would not have logged it.
    #[error("block record {position} cannot be decoded")]
    Block {
        /// Its place.
        position: u64,
        /// What the decoder said.
        #[source]
        source: wire::DecodeError,
    },
    /// What was decided at receive is not readable.
    #[error("block record {position} has no readable decision of its receive")]
    Meta {
        /// Its place.
        position: u64,
        /// What the parser said.
        #[source]
        source: RecordError,
    },
    /// Its manifest is not in the log.
    #[error("the manifest of block record {position} is not in the log")]
    Manifest {
        /// Its place.
        position: u64,
    },
    /// The log could not be read.
    #[error("the manifest of block record {position} could not be read")]
    Log {
        /// Its place.
        position: u64,
        /// What the log said.
        #[source]
        source: spool::Error,
    },
}

impl DecodeBlockError {
    /// Whether the same record may be readable at another try.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Log { .. })
    }
}

type Named = (String, ManifestKey);

/// Decodes block records; see the module.
#[derive(Debug, Default)]
pub struct Decoder {
    manifests: HashMap<Named, Arc<Manifest>>,
    order: VecDeque<Named>,
}

impl Decoder {
    /// Decodes a record of kind [`BLOCK`](super::record::kind::BLOCK).
    ///
    /// # Errors
    /// [`DecodeBlockError`].
    pub fn decode(
        &mut self,
        record: &spool::Record,
        log: &LogReader,
    ) -> Result<DecodedBlock, DecodeBlockError> {
        let position = record.position;
        let meta = BlockMeta::decode(&record.meta)
            .map_err(|source| DecodeBlockError::Meta { position, source })?;
        self.decode_as(record, meta, log)
    }

    /// Decodes a record of kind [`REPLAY`](super::record::kind::REPLAY): the rows that a person gave back, timed as they
    /// said.
    ///
    /// # Errors
    /// [`DecodeBlockError`].
    pub fn replayed(
        &mut self,
        record: &spool::Record,
        log: &LogReader,
    ) -> Result<DecodedBlock, DecodeBlockError> {
        let position = record.position;
        let meta = ReplayMeta::decode(&record.meta)
            .map_err(|source| DecodeBlockError::Meta { position, source })?;
        Ok(meta.apply(self.decode_as(record, BlockMeta::default(), log)?))
    }

    fn decode_as(
        &mut self,
        record: &spool::Record,
        meta: BlockMeta,
        log: &LogReader,
    ) -> Result<DecodedBlock, DecodeBlockError> {
        let position = record.position;
        let mut block = Block::decode(&record.bytes)
            .map_err(|source| DecodeBlockError::Block { position, source })?;
        let readings = match &mut block.body {
            Body::Readings(readings) => std::mem::take(readings),
            Body::Gap(_) => Readings::default(),
        };
        let manifest = if readings.tables.is_empty() {
            Arc::new(nothing(&block))
        } else {
            self.manifest(&record.gateway, readings.manifest, position, log)?
        };
        Ok(DecodedBlock {
            position,
            gateway: block.gateway.clone(),
            site: manifest.site.clone(),
            manifest,
            block,
            readings: Arc::new(readings),
            received_at: record.received_at,
            masked_rows: meta.masked_rows,
            is_ahead: meta.is_ahead,
        })
    }

    fn manifest(
        &mut self,
        gateway: &str,
        key: ManifestKey,
        position: u64,
        log: &LogReader,
    ) -> Result<Arc<Manifest>, DecodeBlockError> {
        let named = (gateway.to_owned(), key);
        if let Some(known) = self.manifests.get(&named) {
            return Ok(Arc::clone(known));
        }
        let bytes = log
            .manifest(gateway, &key.0)
            .map_err(|source| DecodeBlockError::Log { position, source })?
            .ok_or(DecodeBlockError::Manifest { position })?;
        let manifest = Manifest::decode(&bytes)
            .map_err(|source| DecodeBlockError::Block { position, source })?;
        let manifest = Arc::new(manifest);
        if self.order.len() >= MANIFESTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.manifests.remove(&oldest);
        }
        self.order.push_back(named.clone());
        self.manifests.insert(named, Arc::clone(&manifest));
        Ok(manifest)
    }
}

/// The manifest of a block without rows: it needs none.
fn nothing(block: &Block) -> Manifest {
    Manifest {
        gateway: block.gateway.clone(),
        site: String::new(),
        replies: Vec::new(),
        replaces: None,
    }
}

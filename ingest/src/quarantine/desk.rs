//! The quarantine as people see and change it: by the API beside the receiver, by a command beside the service.
//!
//! Calls block. Each says who may do what ([`reason`](super::reason)) and refuses entry by entry, with a word and a
//! sentence; nothing is replayed here, the receiver does that.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use spool::LogReader;
use utoipa::ToSchema;
use wire::{Block, Manifest, ManifestKey};

use super::content::{Content, content};
use super::plan::{NotReplayable, plan, shift_policy};
use super::reason::{Reason, Shift, Text, may_discard, may_replay, reason};
use super::{By, Entry, EntryState, Filter, Quarantine, QuarantineError};
use crate::account::Role;
use crate::journal;
use crate::state::{State, StateError};

/// Why the desk cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// Its file.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// The durable log, which has the manifests.
    #[error("the durable log cannot be read")]
    Log(#[from] spool::Error),
    /// The audit journal.
    #[error("the audit journal cannot be written")]
    State(#[from] StateError),
}

/// An entry with all that can be said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The entry.
    pub entry: Entry,
    /// What its code means and what to do.
    pub reason: Reason,
    /// What lies in it; none where it is closed.
    pub content: Option<Content>,
    /// What can be done with it.
    pub can: Can,
}

/// What can be done with an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Can {
    /// Why it cannot be given back as it is; none where it can.
    pub refused: Option<Text>,
    /// Stable word of `refused`.
    pub refused_code: Option<String>,
    /// What may be said about its times.
    pub shift: Shift,
    /// Roles that may give it back.
    pub replay: Vec<Role>,
    /// Roles that may throw it away.
    pub discard: Vec<Role>,
}

/// What became of one entry of an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Outcome {
    /// The entry.
    pub id: i64,
    /// How far it is now; none where there is no such entry.
    pub state: Option<EntryState>,
    /// Stable word where nothing was done: `not_found`, `not_open`, `role`, `unreadable`, `shift_needed` …
    pub refused: Option<String>,
    /// The sentence to it.
    pub text: Option<Text>,
}

/// See the module.
#[derive(Debug)]
pub struct Desk {
    quarantine: Arc<Quarantine>,
    log: Mutex<Option<LogReader>>,
    auditing: tokio::sync::Mutex<()>,
}

impl Desk {
    /// A desk; without a log nothing has a name and nothing can be given back.
    #[must_use]
    pub fn new(quarantine: Arc<Quarantine>, log: Option<LogReader>) -> Self {
        Self { quarantine, log: Mutex::new(log), auditing: tokio::sync::Mutex::default() }
    }

    /// Entries, newest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self, filter: &Filter, most: u32) -> Result<Vec<Entry>, DeskError> {
        Ok(self.quarantine.list(filter, most)?)
    }

    /// An entry's bytes as they came; none where it is closed or there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bytes(&self, id: i64) -> Result<Option<Vec<u8>>, DeskError> {
        Ok(self.quarantine.get(id)?.map(|(_, bytes)| bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// All about an entry.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn show(&self, id: i64, now: i64) -> Result<Option<Shown>, DeskError> {
        let Some((entry, bytes)) = self.quarantine.get(id)? else { return Ok(None) };
        let is_held = !bytes.is_empty();
        let block = Block::decode(&bytes).ok();
        let is_unset =
            block.as_ref().is_some_and(|b| b.clock.state == wire::block::ClockState::Unset);
        let planned = match is_held {
            true => plan(&entry, &bytes, None, now, |key| self.manifest(&entry.gateway, key))?,
            false => Err(NotReplayable::Empty),
        };
        // How far its times are wrong is for a person to say; without that word it is not yet refused.
        let refused =
            planned.err().filter(|why| !matches!(why, NotReplayable::ShiftNeeded) && is_held);
        let content = match is_held {
            true => Some(content(&entry, &bytes, |key| self.manifest(&entry.gateway, key))?),
            false => None,
        };
        let can = Can {
            refused_code: refused.as_ref().map(|why| why.code().to_owned()),
            refused: refused.as_ref().map(NotReplayable::text),
            shift: shift_policy(&entry.code, is_unset),
            replay: may_replay(&entry.code).to_vec(),
            discard: may_discard(block.is_some()).to_vec(),
        };
        Ok(Some(Shown { reason: reason(&entry.code), entry, content, can }))
    }

    /// Asks for entries to be given back.
    ///
    /// # Errors
    /// When a file cannot be used; nothing is asked then.
    pub fn replay(
        &self,
        ids: &[i64],
        shift: Option<i64>,
        role: Role,
        by: By<'_>,
    ) -> Result<Vec<Outcome>, DeskError> {
        self.act(
            ids,
            |entry, bytes| {
                if !may_replay(&entry.code).contains(&role) {
                    return Ok(Some(role_refused()));
                }
                let planned =
                    plan(entry, bytes, shift, by.at, |key| self.manifest(&entry.gateway, key))?;
                Ok(planned.err().map(|why| (why.code().to_owned(), why.text())))
            },
            |ids| self.quarantine.request(ids, shift, by),
        )
    }

    /// Throws entries away.
    ///
    /// # Errors
    /// When a file cannot be used; nothing is discarded then.
    pub fn discard(&self, ids: &[i64], role: Role, by: By<'_>) -> Result<Vec<Outcome>, DeskError> {
        self.act(
            ids,
            |_, bytes| {
                let allowed = may_discard(Block::decode(bytes).is_ok()).contains(&role);
                Ok((!allowed).then(role_refused))
            },
            |ids| self.quarantine.discard(ids, by),
        )
    }

    fn act(
        &self,
        ids: &[i64],
        refuse: impl Fn(&Entry, &[u8]) -> Result<Option<(String, Text)>, DeskError>,
        carry_out: impl FnOnce(&[i64]) -> Result<Vec<i64>, QuarantineError>,
    ) -> Result<Vec<Outcome>, DeskError> {
        let mut refused: HashMap<i64, (String, Text)> = HashMap::new();
        let (mut right, mut seen) = (Vec::new(), HashSet::new());
        for id in ids.iter().filter(|id| seen.insert(**id)) {
            let why = match self.quarantine.get(*id)? {
                None => Some((
                    "not_found".to_owned(),
                    Text::of("没有该条目。", "there is no such entry"),
                )),
                Some((entry, _)) if entry.state != EntryState::Open => Some(not_open()),
                Some((entry, bytes)) => refuse(&entry, &bytes)?,
            };
            match why {
                Some(why) => drop(refused.insert(*id, why)),
                None => right.push(*id),
            }
        }
        let done: HashSet<i64> = match right.is_empty() {
            true => HashSet::new(),
            false => carry_out(&right)?.into_iter().collect(),
        };
        let mut outcomes = Vec::with_capacity(ids.len());
        let mut told = HashSet::new();
        for id in ids.iter().filter(|id| told.insert(**id)) {
            // Somebody else was faster.
            let why = refused.remove(id).or_else(|| (!done.contains(id)).then(not_open));
            let state = self.quarantine.get(*id)?.map(|(entry, _)| entry.state);
            let (refused, text) = why.unzip();
            outcomes.push(Outcome { id: *id, state, refused, text });
        }
        Ok(outcomes)
    }

    /// Appends to the audit journal what it does not have yet.
    ///
    /// # Errors
    /// When a file cannot be used; it is tried again at the next act and at the next start.
    pub async fn audit(&self, state: &State) -> Result<(), DeskError> {
        let _one = self.auditing.lock().await;
        for act in self.quarantine.unaudited()? {
            let action = match act.what.as_str() {
                "replay" => "quarantine.replay",
                _ => "quarantine.discard",
            };
            let done = journal::Act { at: act.at, actor: &act.who, action, subject: "quarantine" };
            state.audit(done, &act).await?;
            self.quarantine.audited(act.id)?;
        }
        Ok(())
    }

    fn manifest(
        &self,
        gateway: &str,
        key: ManifestKey,
    ) -> Result<Option<Arc<Manifest>>, DeskError> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = &*log else { return Ok(None) };
        let bytes = log.manifest(gateway, &key.0)?;
        Ok(bytes.and_then(|bytes| Manifest::decode(&bytes).ok()).map(Arc::new))
    }
}

fn not_open() -> (String, Text) {
    let text = Text::of(
        "该条目已有人处理。",
        "somebody has decided about this entry already; look at it again",
    );
    ("not_open".to_owned(), text)
}

fn role_refused() -> (String, Text) {
    let text = Text::of("该角色无权处理此类条目。", "this role may not decide about such an entry");
    ("role".to_owned(), text)
}

//! `davy-ingest quarantine`: what was set aside, looked through and decided about at the terminal, beside the service.
//!
//! A replay is asked for here and done by the service, at once where it runs, else at its next start. Whoever decides is
//! named (`--by`) and needs the role for it, as in the console; the audit journal has it.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::CliError;
use crate::account::Role;
use crate::quarantine::act::ENTRIES_PER_ACT_MAX;
use crate::quarantine::content::Content;
use crate::quarantine::desk::{DeskError, Outcome, Shown};
use crate::quarantine::reason::Shift;
use crate::quarantine::{By, Desk, Entry, EntryState, Filter};
use crate::state::State;

/// Rows of a page.
const ROWS: u32 = 100;

/// What to do with the quarantine.
#[derive(Debug, Subcommand)]
pub enum QuarantineOrder {
    /// List entries, newest first
    List {
        /// Of one gateway
        #[arg(long)]
        gateway: Option<String>,
        /// Under one code: future, time_unknown, key_reuse, too_old, …
        #[arg(long)]
        code: Option<String>,
        /// In one state: open, requested, logged, replayed, discarded; or all
        #[arg(long, default_value = "open")]
        state: String,
        /// With a smaller number: the next page
        #[arg(long)]
        before: Option<i64>,
    },
    /// Show an entry: what it is, what lies in it, what to do
    Show {
        /// Its number
        id: i64,
    },
    /// Ask for entries to be given back to history; no rule judges them and nothing pages
    Replay {
        /// Added to every event time, ms
        #[arg(long, allow_negative_numbers = true)]
        shift_ms: Option<i64>,
        #[command(flatten)]
        act: ActArguments,
    },
    /// Throw entries away for ever
    Discard {
        #[command(flatten)]
        act: ActArguments,
    },
    /// Write an entry's bytes and what is known of it to quarantine-ID.block and quarantine-ID.json
    Export {
        /// Its number
        id: i64,
        /// Folder
        #[arg(long, default_value = ".")]
        to: PathBuf,
    },
}

/// Which entries, who, why.
#[derive(Debug, Args)]
pub struct ActArguments {
    /// Their numbers
    #[arg(required = true)]
    ids: Vec<i64>,
    /// Account of whoever decides; needs the role officer, or administrator where that is enough
    #[arg(long)]
    by: String,
    /// Why; goes into the audit journal
    #[arg(long)]
    reason: String,
}

/// Carries it out.
///
/// # Errors
/// [`CliError`]; nothing was changed then.
pub async fn run(
    order: QuarantineOrder,
    desk: &Desk,
    state: &State,
    now_ms: i64,
    output: &mut impl Write,
) -> Result<(), CliError> {
    match order {
        QuarantineOrder::List { gateway, code, state, before } => {
            let state = state_of(&state)?;
            let filter = Filter { gateway, code, state, before, ..Filter::default() };
            let entries = desk.list(&filter, ROWS)?;
            let mut text = String::new();
            for entry in &entries {
                text.push_str(&line(entry));
            }
            match entries.last() {
                None => text.push_str("nothing\n"),
                Some(last) if entries.len() == ROWS as usize => {
                    text.push_str(&format!("more: --before {}\n", last.id));
                }
                Some(_) => {}
            }
            print(output, &text)
        }
        QuarantineOrder::Show { id } => {
            let shown = desk.show(id, now_ms)?.ok_or(CliError::NoEntry(id))?;
            print(output, &told(&shown))
        }
        QuarantineOrder::Replay { shift_ms, act } => {
            let role = decider(state, &act).await?;
            let by = By { who: &act.by, at: now_ms, reason: &act.reason };
            let outcomes = desk.replay(&act.ids, shift_ms, role, by)?;
            desk.audit(state).await?;
            let done = "asked for; the service gives it back within a second, or at its next start";
            said(output, &outcomes, done)
        }
        QuarantineOrder::Discard { act } => {
            let role = decider(state, &act).await?;
            let by = By { who: &act.by, at: now_ms, reason: &act.reason };
            let outcomes = desk.discard(&act.ids, role, by)?;
            desk.audit(state).await?;
            said(output, &outcomes, "discarded")
        }
        QuarantineOrder::Export { id, to } => {
            let shown = desk.show(id, now_ms)?.ok_or(CliError::NoEntry(id))?;
            let bytes = desk.bytes(id)?.ok_or(CliError::NoBytes(id))?;
            let block = to.join(format!("quarantine-{id}.block"));
            write(&block, &bytes)?;
            let json = to.join(format!("quarantine-{id}.json"));
            let known = serde_json::json!({
                "entry": shown.entry, "explained": shown.reason, "content": shown.content,
            });
            write(&json, &serde_json::to_vec_pretty(&known).unwrap_or_default())?;
            print(output, &format!("{}\n{}\n", block.display(), json.display()))
        }
    }
}

impl From<DeskError> for CliError {
    fn from(error: DeskError) -> Self {
        Self::Quarantine(error)
    }
}

/// The role of whoever decides: a user that may sign in.
async fn decider(state: &State, act: &ActArguments) -> Result<Role, CliError> {
    if act.reason.trim().is_empty() || act.ids.len() > ENTRIES_PER_ACT_MAX {
        return Err(CliError::Act);
    }
    let users = state.users().await?;
    let user = users.into_iter().find(|user| user.name == act.by && user.disabled_at.is_none());
    user.map(|user| user.role).ok_or_else(|| CliError::NoUser(act.by.clone()))
}

fn state_of(word: &str) -> Result<Option<EntryState>, CliError> {
    let all = [
        EntryState::Open,
        EntryState::Requested,
        EntryState::Logged,
        EntryState::Replayed,
        EntryState::Discarded,
    ];
    match all.into_iter().find(|state| state.as_str() == word) {
        None if word == "all" => Ok(None),
        None => Err(CliError::EntryState(word.to_owned())),
        found => Ok(found),
    }
}

fn print(output: &mut impl Write, text: &str) -> Result<(), CliError> {
    output.write_all(text.as_bytes()).map_err(CliError::Print)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |source| CliError::Export { path: path.to_owned(), source };
    std::fs::write(path, bytes).map_err(failed)
}

/// Says what became of each; fails where nothing at all was done.
fn said(output: &mut impl Write, outcomes: &[Outcome], done: &str) -> Result<(), CliError> {
    let mut text = String::new();
    for outcome in outcomes {
        let id = outcome.id;
        match &outcome.text {
            None => text.push_str(&format!("{id}  {done}\n")),
            Some(why) => text.push_str(&format!("{id}  refused: {}\n    {}\n", why.en, why.zh)),
        }
    }
    print(output, &text)?;
    let refused = outcomes.iter().filter(|outcome| outcome.refused.is_some()).count();
    if refused > 0 { Err(CliError::Refused { refused, of: outcomes.len() }) } else { Ok(()) }
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |t| t.to_string())
}

fn line(entry: &Entry) -> String {
    let gateway = if entry.gateway.is_empty() { "-" } else { &entry.gateway };
    let rows = match entry.rows.len() {
        0 => "whole".to_owned(),
        rows => format!("{rows} rows"),
    };
    format!(
        "{}  {}  {}  {gateway}  {}/{}  {rows}  {} B  {}  {}\n",
        entry.id,
        entry.state.as_str(),
        time(entry.at),
        entry.epoch,
        entry.seq,
        entry.bytes,
        entry.code,
        entry.detail
    )
}

fn told(shown: &Shown) -> String {
    let mut text = line(&shown.entry);
    let pairs = [("what", &shown.reason.what), ("mend", &shown.reason.mend)];
    for (word, said) in pairs {
        text.push_str(&format!("{word}    {}\n        {}\n", said.zh, said.en));
    }
    if let Some(done) = &shown.entry.done {
        text.push_str(&format!(
            "done    {} by {} at {}: {}\n",
            done.what,
            done.by,
            time(done.at),
            done.reason
        ));
    }
    if let Some(content) = &shown.content {
        text.push_str(&lying(content));
    }
    let shift = match shown.can.shift {
        Shift::None => "at its own times",
        Shift::Optional => "at its own times, or with --shift-ms",
        Shift::Needed => "only with --shift-ms",
    };
    match &shown.can.refused {
        Some(why) => {
            text.push_str(&format!("replay  not possible: {}\n        {}\n", why.en, why.zh))
        }
        None if shown.entry.state == EntryState::Open => {
            text.push_str(&format!("replay  {shift}\n"));
        }
        None => {}
    }
    text
}

/// What lies in an entry.
fn lying(content: &Content) -> String {
    if let Some(why) = &content.unreadable {
        return format!("holds   nothing that can be read: {why}\n");
    }
    let mut text = format!(
        "holds   {}: {} rows, {} samples, clock {}\n",
        content.kind,
        content.rows,
        content.samples,
        content.clock.as_deref().unwrap_or("-")
    );
    if let (Some(from), Some(to)) = (content.from, content.to) {
        text.push_str(&format!("times   {} to {}, by the gateway's clock\n", time(from), time(to)));
    }
    if content.manifest_missing {
        text.push_str(
            "        the gateway's manifest for it is not in the log: nothing has a name\n",
        );
    }
    for device in &content.devices {
        text.push_str(&format!("device  {}  {} rows\n", device.device, device.rows));
    }
    for row in &content.first {
        let values = row.values.iter().map(|v| match v.value {
            Some(value) => format!("{}={value} {}", v.quantity, v.unit),
            None => format!("{}: {}", v.quantity, v.quality),
        });
        let values: Vec<_> = values.collect();
        text.push_str(&format!("row     {}  {}  {}\n", time(row.t), row.device, values.join(", ")));
    }
    for gap in &content.gaps {
        text.push_str(&format!("lost    {}/{}..{}\n", gap.epoch, gap.from, gap.to));
    }
    text
}

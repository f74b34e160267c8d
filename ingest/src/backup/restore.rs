//! Putting a backup back, while the service stands still.
//!
//! ```text
//! check the hashes ─► copy beside ─► mark `restore.unfinished` ─► old log aside ─► state goes back ─► new log in place ─► unmark
//! ```
//!
//! Nothing is deleted: what was there is renamed. A restore that is interrupted is repeated by the same command; until
//! then the service refuses to start.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use super::{BackupError, FORMAT, LOG, MANIFEST, Manifest, QUARANTINE, STATE, UNFINISHED, copy};
use crate::run::Paths;
use crate::state::{Snapshot, State};

/// What stands behind the folder in the mark of a restore that brings the state database: the mark is the command that is
/// to be repeated.
const WITH_STATE: &str = " --with-state";

/// What the person said beside the folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// A log that is there is set aside.
    pub replace: bool,
    /// The state database that is there is set aside: registry, alarms, journals and accounts are those of the backup.
    pub with_state: bool,
}

/// Puts the backup in `source` back into what `paths` names, and tells what it did.
///
/// # Errors
/// [`BackupError`]; where something was changed already, the same command goes on.
pub async fn restore(
    paths: &Paths,
    source: &Path,
    wishes: Wishes,
    now_ms: i64,
    out: &mut impl Write,
) -> Result<(), BackupError> {
    let manifest = read(source)?;
    for part in &manifest.files {
        let found = copy::part(source, &part.name, out)?;
        if found != *part {
            let path = source.join(&part.name);
            let why = "it is not what the manifest says; use another backup".to_owned();
            return Err(BackupError::Damaged { path, why });
        }
    }
    let unfinished = paths.root.join(UNFINISHED);
    let again = unfinished.exists();
    if paths.log.join(LOG).exists() && !wishes.replace && !again {
        return Err(BackupError::InTheWay { path: paths.log.clone() });
    }
    // An interrupted one is finished as it was begun.
    let with_state = wishes.with_state || again && is_with_state(&unfinished);
    let new = New::of(&paths.root);
    new.copy(source)?;
    let brings_state = with_state || !paths.state.exists();
    if !brings_state && !continues(&paths.state, &new.state).await? {
        new.remove();
        return Err(BackupError::OtherState);
    }
    let flags = if brings_state { WITH_STATE } else { "" };
    std::fs::write(&unfinished, format!("{}{flags}", source.display()))
        .map_err(copy::file("write", &unfinished))?;
    copy::sync(&unfinished)?;
    let log = paths.log.join(LOG);
    set_aside(&log, now_ms, out)?;
    if brings_state {
        set_aside(&paths.state, now_ms, out)?;
        rename(&new.state, &paths.state)?;
        say(
            out,
            "the state database is the backup's: what people did since, and what was told since, is not in it; what is younger than 15 minutes may be told again",
        )?;
    } else {
        go_back(&paths.state, &new.state, now_ms).await?;
        remove(&new.state)?;
        say(
            out,
            "the state database stays: registry, alarms, what people did; the verdict journal went back to the backup's snapshots",
        )?;
    }
    let quarantine = paths.root.join(QUARANTINE);
    if source.join(QUARANTINE).exists() && (brings_state || !quarantine.exists()) {
        set_aside(&quarantine, now_ms, out)?;
        let beside = paths.root.join("quarantine.restoring.db");
        std::fs::copy(source.join(QUARANTINE), &beside).map_err(copy::file("copy", &beside))?;
        copy::sync(&beside)?;
        rename(&beside, &quarantine)?;
    }
    rename(&new.log, &log)?;
    give_to_owner(paths, [&log, &paths.state, &quarantine])?;
    remove(&unfinished)?;
    copy::sync(&paths.root)?;
    let last = manifest.log.last;
    say(
        out,
        &format!(
            "the log ends at position {last}; start davy-ingest: the store goes on from what both logs share, and the gateways send again what they hold and this log lacks"
        ),
    )
}

fn say(out: &mut impl Write, text: &str) -> Result<(), BackupError> {
    writeln!(out, "{text}").map_err(BackupError::Print)
}

/// The manifest of a backup.
fn read(source: &Path) -> Result<Manifest, BackupError> {
    let no = |why: String| BackupError::NoBackup { path: source.to_owned(), why };
    let text = std::fs::read_to_string(source.join(MANIFEST))
        .map_err(|error| no(format!("{MANIFEST} cannot be read: {error}")))?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| no(format!("{MANIFEST}: {error}")))?;
    if manifest.format != FORMAT {
        return Err(no(format!(
            "its format is {}, this version knows {FORMAT}: run the version {} that made it",
            manifest.format, manifest.program
        )));
    }
    let has = |name: &str| manifest.files.iter().any(|part| part.name == name);
    if !has(LOG) || !has(STATE) {
        return Err(no(format!("{MANIFEST} names no {LOG} or no {STATE}")));
    }
    if manifest.files.iter().any(|part| ![LOG, STATE, QUARANTINE].contains(&&*part.name)) {
        return Err(no(format!("{MANIFEST} names files that are none of a backup")));
    }
    Ok(manifest)
}

/// Copies of the backup's files beside their places.
struct New {
    log: PathBuf,
    state: PathBuf,
}

impl New {
    fn of(root: &Path) -> Self {
        Self { log: root.join("log.restoring.db"), state: root.join("state.restoring.db") }
    }

    fn copy(&self, source: &Path) -> Result<(), BackupError> {
        for (name, to) in [(LOG, &self.log), (STATE, &self.state)] {
            for path in with_journal(to) {
                remove(&path)?;
            }
            std::fs::copy(source.join(name), to).map_err(copy::file("copy", to))?;
            copy::sync(to)?;
        }
        Ok(())
    }

    /// The copies help nobody; where they cannot be removed the next restore does.
    fn remove(&self) {
        drop(std::fs::remove_file(&self.log));
        drop(std::fs::remove_file(&self.state));
    }
}

/// Whether the state database that is there went on from the one that was backed up.
async fn continues(now: &Path, backup: &Path) -> Result<bool, BackupError> {
    let then = State::open(backup).await.map_err(BackupError::State)?;
    let mark = then.mark().await.map_err(BackupError::State)?;
    then.close().await.map_err(BackupError::State)?;
    let now = State::open(now).await.map_err(BackupError::State)?;
    let continues = now.continues(&mark).await.map_err(BackupError::State)?;
    now.close().await.map_err(BackupError::State)?;
    Ok(continues)
}

/// Takes the evaluators and the verdict journal back to the backup's snapshots.
async fn go_back(now: &Path, backup: &Path, now_ms: i64) -> Result<(), BackupError> {
    let then = State::open(backup).await.map_err(BackupError::State)?;
    let mut snapshots: Vec<(String, Snapshot)> = Vec::new();
    for evaluator in then.evaluators().await.map_err(BackupError::State)? {
        let newest = then.snapshots(&evaluator).await.map_err(BackupError::State)?;
        snapshots.extend(newest.into_iter().next().map(|snapshot| (evaluator, snapshot)));
    }
    then.close().await.map_err(BackupError::State)?;
    let now = State::open(now).await.map_err(BackupError::State)?;
    now.go_back(&snapshots, now_ms).await.map_err(BackupError::State)?;
    now.close().await.map_err(BackupError::State)
}

fn is_with_state(unfinished: &Path) -> bool {
    std::fs::read_to_string(unfinished).is_ok_and(|text| text.ends_with(WITH_STATE))
}

/// Gives what was put in place to whom the folder belongs: a service that runs under a name of its own could not write what
/// root has put there.
fn give_to_owner(paths: &Paths, databases: [&PathBuf; 3]) -> Result<(), BackupError> {
    let owner = |path: &Path| -> std::io::Result<(u32, u32)> {
        std::fs::metadata(path).map(|of| (of.uid(), of.gid()))
    };
    let wanted = owner(&paths.root).map_err(copy::file("look at", &paths.root))?;
    let files = databases.into_iter().flat_map(|path| with_journal(path));
    for path in files.chain([paths.log.clone()]).filter(|path| path.exists()) {
        if owner(&path).map_err(copy::file("look at", &path))? != wanted {
            chown(&path, Some(wanted.0), Some(wanted.1))
                .map_err(copy::file("change the owner of", &path))?;
        }
    }
    Ok(())
}

/// A database with the files that SQLite keeps beside it.
fn with_journal(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// Renames a database that is there, with its journal; nothing is deleted.
fn set_aside(path: &Path, now_ms: i64, out: &mut impl Write) -> Result<(), BackupError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".before-restore-{now_ms}"));
    let aside = PathBuf::from(name);
    for (from, to) in with_journal(path).into_iter().zip(with_journal(&aside)) {
        if from.symlink_metadata().is_ok() {
            rename(&from, &to)?;
        }
    }
    if aside.exists() { say(out, &format!("set aside {}", aside.display())) } else { Ok(()) }
}

fn rename(from: &Path, to: &Path) -> Result<(), BackupError> {
    std::fs::rename(from, to).map_err(copy::file("rename", from))?;
    copy::sync(to)
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(copy::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

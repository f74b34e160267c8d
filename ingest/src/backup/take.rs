//! Making a backup beside the running service.
//!
//! The state database is copied first, then the log as it is at one later instant: what the snapshots in the copy need is
//! in it, because the log evicts nothing younger than the second-newest snapshot, and that is looked at once the log holds
//! still. A backup that is interrupted leaves a folder `….partial` and nothing under its own name.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::copy::{self, Still, Teller};
use super::{
    BackupError, FORMAT, LOG, LogPart, MANIFEST, Manifest, Part, QUARANTINE, STATE, Stand,
};
use crate::journal::ChainCheck;
use crate::run::Paths;
use crate::state::State;

/// Times that the state database is copied anew because the log has moved on.
const TRIES: u32 = 5;

/// Makes a backup of what `paths` names in the new folder `target`, telling its progress.
///
/// # Errors
/// [`BackupError`]; there is no folder `target` then.
pub async fn take(
    paths: &Paths,
    target: &Path,
    now_ms: i64,
    out: &mut impl Write,
) -> Result<Manifest, BackupError> {
    if target.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path: target.to_owned() });
    }
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    make(&partial)?;
    let made = fill(paths, &partial, now_ms, out).await;
    match made {
        Ok(manifest) => {
            std::fs::rename(&partial, target).map_err(copy::file("name", target))?;
            copy::sync(target)?;
            Ok(manifest)
        }
        Err(error) => {
            // What is left of it helps nobody; where it cannot be removed the next backup says so.
            drop(std::fs::remove_dir_all(&partial));
            Err(error)
        }
    }
}

fn make(folder: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    made.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => BackupError::Exists { path: folder.to_owned() },
        _ => copy::file("make", folder)(source),
    })
}

async fn fill(
    paths: &Paths,
    folder: &Path,
    now_ms: i64,
    out: &mut impl Write,
) -> Result<Manifest, BackupError> {
    let (log, evaluators) = together(paths, folder, out).await?;
    log.copy_to(&folder.join(LOG), Teller::new(out, "copying the log"))?;
    let mut names = vec![STATE, LOG];
    let quarantine = paths.root.join(QUARANTINE);
    if quarantine.exists() {
        let teller = Teller::new(out, "copying the quarantine");
        Still::hold(&quarantine)?.copy_to(&folder.join(QUARANTINE), teller)?;
        names.push(QUARANTINE);
    }
    for name in &names {
        copy::check(&folder.join(name))?;
    }
    let log = log_part(&folder.join(LOG), &evaluators)?;
    let files: Vec<Part> =
        names.iter().map(|name| copy::part(folder, name, out)).collect::<Result<_, _>>()?;
    let program = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest { format: FORMAT, made_at: now_ms, program, log, evaluators, files };
    let path = folder.join(MANIFEST);
    let text = serde_json::to_string_pretty(&manifest).expect("it has string keys only");
    std::fs::write(&path, text).map_err(copy::file("write", &path))?;
    copy::sync(&path)?;
    Ok(manifest)
}

/// Copies the state database, and holds the log still where it has everything that the copy's snapshots need.
async fn together(
    paths: &Paths,
    folder: &Path,
    out: &mut impl Write,
) -> Result<(Still, Vec<Stand>), BackupError> {
    let (file, copied) = (paths.log.join(LOG), folder.join(STATE));
    for _ in 0..TRIES {
        if copied.exists() {
            std::fs::remove_file(&copied).map_err(copy::file("remove", &copied))?;
        }
        let teller = Teller::new(out, "copying the state database");
        Still::hold(&paths.state)?.copy_to(&copied, teller)?;
        let evaluators = stands(&copied).await?;
        let log = Still::hold(&file)?;
        if are_kept(&paths.state, &evaluators).await? {
            return Ok((log, evaluators));
        }
    }
    Err(BackupError::Overtaken { tries: TRIES })
}

/// Where the evaluators stand in a copy of the state database, which is checked as well.
async fn stands(path: &Path) -> Result<Vec<Stand>, BackupError> {
    let state = State::open(path).await.map_err(BackupError::State)?;
    let mut stands = Vec::new();
    for evaluator in state.evaluators().await.map_err(BackupError::State)? {
        let newest = state.snapshots(&evaluator).await.map_err(BackupError::State)?;
        let newest = newest.first().map(|snapshot| snapshot.at);
        stands.extend(newest.map(|at| Stand { evaluator, at }));
    }
    let audit = state.check_audit_chain().await.map_err(BackupError::State)?;
    state.close().await.map_err(BackupError::State)?;
    match audit {
        ChainCheck::Whole { .. } => Ok(stands),
        ChainCheck::Broken { seq } => {
            let why = format!("its audit journal is broken at row {seq}");
            Err(BackupError::Damaged { path: path.to_owned(), why })
        }
    }
}

/// Whether each of the copied snapshots is still one of the two newest: then the log has kept what it needs.
async fn are_kept(path: &Path, stands: &[Stand]) -> Result<bool, BackupError> {
    let state = State::open(path).await.map_err(BackupError::State)?;
    let mut are_kept = true;
    for stand in stands {
        let newest = state.snapshots(&stand.evaluator).await.map_err(BackupError::State)?;
        are_kept &= newest.iter().take(2).any(|snapshot| snapshot.at == stand.at);
    }
    state.close().await.map_err(BackupError::State)?;
    Ok(are_kept)
}

/// Reads the whole copy of the log, record by record, and holds the evaluators' places against it.
fn log_part(path: &Path, evaluators: &[Stand]) -> Result<LogPart, BackupError> {
    let reader = spool::LogReader::open(path).map_err(BackupError::Log)?;
    let found = reader.check().map_err(BackupError::Log)?;
    for stand in evaluators {
        let next = stand.at.position + 1;
        let follows =
            found.last < next || !reader.at(&[next]).map_err(BackupError::Log)?.is_empty();
        if found.last < stand.at.position || !follows {
            let why = format!(
                "it does not go on behind the snapshot of {} at {}",
                stand.evaluator, stand.at.position
            );
            return Err(BackupError::Damaged { path: path.to_owned(), why });
        }
    }
    Ok(LogPart {
        first: found.first,
        last: found.last,
        records: found.records,
        damaged: found.damaged,
    })
}

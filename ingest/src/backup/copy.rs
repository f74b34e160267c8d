//! Copying one database file whole while another process writes it, hashing files, telling how far it is.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};

use super::{BackupError, Part};

/// Pages copied at once.
const STEP_PAGES: i32 = 1_024;
/// Bytes hashed at once.
const HASH_BYTES: usize = 1 << 20;
/// Pause where another process has the file locked for a moment.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a statement waits for another process.
const BUSY: Duration = Duration::from_secs(10);
/// Steps of the progress that are printed, percent.
const TOLD_PERCENT: u64 = 10;

/// Where progress is told; silent below [`STEP_PAGES`].
pub(super) struct Teller<'a, W: Write> {
    out: &'a mut W,
    what: String,
    told: u64,
}

impl<'a, W: Write> Teller<'a, W> {
    pub(super) fn new(out: &'a mut W, what: &str) -> Self {
        Self { out, what: what.to_owned(), told: 0 }
    }

    fn tell(&mut self, done: u64, all: u64) -> Result<(), BackupError> {
        let percent = (done * 100).checked_div(all).unwrap_or(100);
        if percent >= self.told + TOLD_PERCENT {
            self.told = percent / TOLD_PERCENT * TOLD_PERCENT;
            writeln!(self.out, "{}: {} %", self.what, self.told).map_err(BackupError::Print)?;
        }
        Ok(())
    }
}

/// A database as it is at one instant, however much is written to it meanwhile.
pub(super) struct Still {
    conn: Connection,
    path: std::path::PathBuf,
}

impl Still {
    /// Holds the file as it is now.
    pub(super) fn hold(path: &Path) -> Result<Self, BackupError> {
        if !path.exists() {
            return Err(BackupError::Nothing { path: path.to_owned() });
        }
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let conn = Connection::open_with_flags(path, flags)?;
            conn.busy_timeout(BUSY)?;
            // The first read of the transaction fixes what it sees.
            conn.execute_batch("PRAGMA query_only=ON; BEGIN; SELECT count(*) FROM sqlite_schema;")?;
            Ok(conn)
        };
        let conn = open().map_err(failed("read", path))?;
        Ok(Self { conn, path: path.to_owned() })
    }

    /// Copies it to a new file, synced.
    pub(super) fn copy_to(
        self,
        target: &Path,
        mut teller: Teller<'_, impl Write>,
    ) -> Result<(), BackupError> {
        let fail = || failed("copy", &self.path);
        let mut copy = Connection::open(target).map_err(failed("make", target))?;
        copy.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
            .map_err(failed("make", target))?;
        let backup = Backup::new(&self.conn, &mut copy).map_err(fail())?;
        loop {
            match backup.step(STEP_PAGES).map_err(fail())? {
                StepResult::Done => break,
                StepResult::Busy | StepResult::Locked => std::thread::park_timeout(PAUSE),
                _ => {}
            }
            let progress = backup.progress();
            let count = |n: i32| u64::from(n.max(0).unsigned_abs());
            let all = count(progress.pagecount);
            teller.tell(all.saturating_sub(count(progress.remaining)), all)?;
        }
        drop(backup);
        copy.close().map_err(|(_, source)| failed("finish", target)(source))?;
        sync(target)
    }
}

/// Whether SQLite finds a file whole.
pub(super) fn check(path: &Path) -> Result<(), BackupError> {
    let look = || {
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let word: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        conn.close().map_err(|(_, source)| source)?;
        Ok::<_, rusqlite::Error>(word)
    };
    match look().map_err(failed("check", path))?.as_str() {
        "ok" => Ok(()),
        why => Err(BackupError::Damaged { path: path.to_owned(), why: why.to_owned() }),
    }
}

/// A file's size and digest.
pub(super) fn part(folder: &Path, name: &str, out: &mut impl Write) -> Result<Part, BackupError> {
    let path = folder.join(name);
    let fail = |source| file("read", &path)(source);
    let mut file = File::open(&path).map_err(fail)?;
    let all = file.metadata().map_err(fail)?.len();
    let mut teller = Teller::new(out, &format!("checking {name}"));
    let (mut digest, mut buffer, mut bytes) = (Sha256::new(), vec![0; HASH_BYTES], 0_u64);
    loop {
        let read = file.read(&mut buffer).map_err(fail)?;
        if read == 0 {
            break;
        }
        digest.update(&buffer[..read]);
        bytes += read as u64;
        if all > HASH_BYTES as u64 {
            teller.tell(bytes, all)?;
        }
    }
    Ok(Part { name: name.to_owned(), bytes, sha256: hex::encode(digest.finalize()) })
}

/// Makes a file or folder durable under its name.
pub(super) fn sync(path: &Path) -> Result<(), BackupError> {
    let fail = |source| file("make durable", path)(source);
    File::open(path).and_then(|f| f.sync_all()).map_err(fail)?;
    match path.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(folder) => File::open(folder).and_then(|f| f.sync_all()).map_err(fail),
        None => Ok(()),
    }
}

pub(super) fn failed(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(rusqlite::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Copy { doing, path, source }
}

pub(super) fn file(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::File { doing, path, source }
}

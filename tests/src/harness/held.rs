//! One thread of a running program, held still while all others go on: a part of a pipeline that stands.
//!
//! By ptrace, which binds to the thread that asks: a thread of ours holds it until it is let go.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Tries to find the thread at rest.
const TRIES: usize = 200;
/// Pause between two.
const PAUSE: Duration = Duration::from_millis(20);

/// A held thread; it goes on when this is dropped.
#[derive(Debug)]
pub struct Held {
    release: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Held {
    /// Holds the thread called `name` of a process, at a moment when it waits for work and so holds no lock.
    ///
    /// # Errors
    /// When there is no such thread, or it is never at rest, or this machine allows no ptrace.
    pub fn thread(process: u32, name: &str) -> Result<Held> {
        let thread = thread_of(process, name)?;
        let (release, released) = channel();
        let (told, outcome) = channel();
        let keeper = std::thread::spawn(move || keep(process, thread, &told, &released));
        outcome.recv().context("the keeper ended")??;
        Ok(Held { release: Some(release), keeper: Some(keeper) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release = None;
        if let Some(keeper) = self.keeper.take() {
            keeper.join().ok();
        }
    }
}

fn thread_of(process: u32, name: &str) -> Result<u32> {
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?;
        if std::fs::read_to_string(task.path().join("comm"))?.trim() == name {
            let id = task.file_name();
            return id.to_string_lossy().parse().context("a task's id");
        }
    }
    bail!("process {process} has no thread {name}")
}

/// Runs in a thread of its own: takes hold, says so, lets go when the other end is dropped.
fn keep(process: u32, thread: u32, told: &Sender<Result<()>>, released: &Receiver<()>) {
    let taken = take_hold(process, thread);
    let is_held = taken.is_ok();
    told.send(taken).ok();
    if is_held {
        released.recv().ok();
        ptrace::detach(Pid::from_raw(thread.cast_signed()), None).ok();
    }
}

fn take_hold(process: u32, thread: u32) -> Result<()> {
    let id = Pid::from_raw(thread.cast_signed());
    for _ in 0..TRIES {
        let rests = rests(Path::new(&format!("/proc/{process}/task/{thread}/wchan")))?;
        ptrace::seize(id, ptrace::Options::empty()).context("ptrace is not allowed here")?;
        ptrace::interrupt(id)?;
        waitpid(id, Some(WaitPidFlag::__WALL))?;
        if rests {
            return Ok(());
        }
        ptrace::detach(id, None)?;
        std::thread::sleep(PAUSE);
    }
    Err(anyhow!("thread {thread} is never at rest"))
}

/// Whether a thread waits on a futex, as all of ours do for work.
fn rests(wchan: &Path) -> Result<bool> {
    Ok(std::fs::read_to_string(wchan)?.starts_with("futex"))
}

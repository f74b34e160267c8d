//! A child process whose output goes to a file and who never outlives the test.

use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::wait::wait_for;

/// How long a child may take from SIGTERM to its end before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; stdout and stderr are appended to `<folder>/<name>.log`.
    ///
    /// # Errors
    /// When the program cannot be started; the message names it.
    pub fn start<I, S>(name: &str, program: &Path, args: I, folder: &Path) -> Result<Process>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(program);
        command.args(args);
        Process::start_command(name, command, folder)
    }

    /// Like [`Process::start`], for a command that needs an environment or a folder of its own.
    ///
    /// # Errors
    /// When the program cannot be started; the message names it.
    pub fn start_command(name: &str, mut command: Command, folder: &Path) -> Result<Process> {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Process { child, name: name.to_owned(), log })
    }

    /// Process id, for `/proc`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that the child has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read(&self.log)
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until `words` stand in the child's output.
    ///
    /// # Panics
    /// After `limit`, or when the child ended first: with its output.
    pub async fn wait_for_output(&mut self, words: &str, limit: Duration) {
        let what = format!("{:?} from {}", words, self.name);
        wait_for(&what, limit, || {
            let output = self.output();
            let ended = !self.is_running();
            async move {
                if output.contains(words) {
                    return Ok(());
                }
                assert!(!ended, "it ended first. Its output:\n{output}");
                Err(format!("its output so far:\n{output}"))
            }
        })
        .await;
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        // An error means that it has ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Sends a signal by its name, as `kill -NAME` does.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status()?;
        ensure!(status.success(), "kill -{name} {}", self.name);
        Ok(())
    }

    /// SIGTERM, then waits for an orderly end.
    ///
    /// # Errors
    /// When it does not end within 20 s; it is killed then.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        let started = tokio::time::Instant::now();
        while started.elapsed() < STOP_GRACE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let output = self.output();
        self.kill();
        anyhow::bail!("{} did not end within {STOP_GRACE:?} of SIGTERM:\n{output}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a program of this workspace ended, with all that it printed.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output, then standard error.
    pub text: String,
}

/// Runs a program of this workspace to its end.
///
/// # Errors
/// When it cannot be started.
pub fn run_to_end(name: &str, args: &[&str], folder: &Path) -> Result<Ended> {
    let out = Command::new(workspace_binary(name)?).args(args).current_dir(folder).output()?;
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Ended { code: out.status.code(), text: text.concat() })
}

/// A port of the loopback address that was free a moment ago.
///
/// # Errors
/// When none is left.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Path of a server's binary from the variable that `make` sets.
///
/// # Errors
/// When the variable is unset and the binary is not in PATH: with the ways to get it.
pub fn server_binary(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(PathBuf::from(path));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/get.sh");
    let out = Command::new(&root).arg(name).stderr(Stdio::inherit()).output()?;
    ensure!(
        out.status.success(),
        "{name} was not found; `{} {name}` says the three ways to get it",
        root.display()
    );
    let line = String::from_utf8(out.stdout)?;
    let path = line.trim().split_once('=').context("get.sh prints NAME=PATH")?.1;
    Ok(PathBuf::from(path))
}

/// Folder of the profile that the running test was built with.
fn profile_folder() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let mut folder = own.parent().context("a binary lies in a folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("deps lies in a profile's folder")?;
    }
    Ok(folder.to_owned())
}

/// A binary of this workspace that was built with fail points, in a folder of their own beside the others.
///
/// # Errors
/// When it has not been built, or the sources are newer: with the command that builds it.
pub fn failpoint_binary(name: &str) -> Result<PathBuf> {
    // Programs with a fault put in on purpose: see tests/faults.
    if let Some(folder) = std::env::var_os("DAVY_FAILPOINT_DIR") {
        return Ok(PathBuf::from(folder).join(name));
    }
    let path = profile_folder()?.join("failpoints").join(name);
    let built = path.metadata().and_then(|m| m.modified());
    let built = built.with_context(|| {
        format!("{} is not built; run `make failpoints` (make test does)", path.display())
    })?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for krate in ["spool", "wire", "rules", "ingest", "gateway"] {
        let newest = newest_in(&root.join(krate).join("src"))?;
        ensure!(
            newest <= built,
            "{} is older than the sources of {krate}; run `make failpoints`",
            path.display()
        );
    }
    Ok(path)
}

fn newest_in(folder: &Path) -> Result<std::time::SystemTime> {
    let mut newest = std::time::SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        newest = newest.max(if kind.is_dir() {
            newest_in(&entry.path())?
        } else {
            entry.metadata()?.modified()?
        });
    }
    Ok(newest)
}

/// A binary of this workspace, beside the running test's own.
///
/// # Errors
/// When it has not been built: with the command that builds it.
pub fn workspace_binary(name: &str) -> Result<PathBuf> {
    let path = profile_folder()?.join(name);
    ensure!(
        path.is_file(),
        "{} is not built; run `cargo build --workspace --bins` (make test does)",
        path.display()
    );
    Ok(path)
}

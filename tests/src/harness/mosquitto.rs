//! A real mosquitto with the settings that the README asks for.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::process::{Process, free_port, server_binary};
use super::wait::wait_for;

/// A broker of the test's own.
#[derive(Debug)]
pub struct Mosquitto {
    process: Option<Process>,
    folder: TempDir,
    program: PathBuf,
    /// Port on 127.0.0.1.
    pub port: u16,
}

impl Mosquitto {
    /// Starts one and waits until it takes connections.
    ///
    /// # Errors
    /// When mosquitto is not installed: with the ways to get it.
    pub async fn start() -> Result<Mosquitto> {
        let limits =
            "max_inflight_messages 1000\nmax_queued_messages 0\nmax_queued_bytes 268435456\n";
        Mosquitto::start_with(limits).await
    }

    /// Starts one with other limits than the README asks for.
    ///
    /// # Errors
    /// When mosquitto is not installed: with the ways to get it.
    pub async fn start_with(limits: &str) -> Result<Mosquitto> {
        let folder = TempDir::new()?;
        let port = free_port()?;
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
             {limits}log_dest stderr\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("mosquitto.conf"), config)?;
        // Run as root it drops to a user who cannot read the folder unless it is opened up.
        let mut open = std::fs::metadata(folder.path())?.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut open, 0o777);
        std::fs::set_permissions(folder.path(), open)?;
        let program = server_binary("MOSQUITTO", "mosquitto")?;
        let mut broker = Mosquitto { process: None, folder, program, port };
        broker.resume().await?;
        Ok(broker)
    }

    /// Sends its process a signal by name without SIG; stopped, it keeps its connections and does nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.as_ref().context("it does not run")?.signal(name)
    }

    /// SIGKILL: what it held in memory is gone, as on a power cut.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same port with what its folder holds.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn resume(&mut self) -> Result<()> {
        let config = self.folder.path().join("mosquitto.conf");
        let process = Process::start(
            "mosquitto",
            &self.program,
            ["-c".as_ref(), config.as_os_str()],
            self.folder.path(),
        )?;
        self.process = Some(process);
        wait_for_port(self.port, "mosquitto").await;
        Ok(())
    }

    /// Forgets every session and queued message. Only while it is killed.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn wipe(&self) -> Result<()> {
        assert!(self.process.is_none(), "a running broker would write its file again");
        match std::fs::remove_file(self.folder.path().join("mosquitto.db")) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}

/// Waits until something on the loopback address takes connections.
pub async fn wait_for_port(port: u16, who: &str) {
    wait_for(&format!("{who} on port {port}"), Duration::from_secs(30), || async move {
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .map(drop)
            .map_err(|e| e.to_string())
    })
    .await;
}

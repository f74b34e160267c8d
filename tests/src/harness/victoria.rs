//! A real single-node VictoriaMetrics with the settings that the centre asks for.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use super::process::{Process, free_port, server_binary};
use super::wait::wait_for;

/// A database of the test's own.
#[derive(Debug)]
pub struct Victoria {
    process: Option<Process>,
    folder: TempDir,
    program: PathBuf,
    port: u16,
}

impl Victoria {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When victoria-metrics is not to be had: with the ways to get it.
    pub async fn start() -> Result<Victoria> {
        let program = server_binary("VICTORIA_METRICS", "victoria-metrics")?;
        let (folder, port) = (TempDir::new()?, free_port()?);
        let mut victoria = Victoria { process: None, folder, program, port };
        victoria.resume().await?;
        Ok(victoria)
    }

    /// Base address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: what it has not written to its disk yet is gone, though it was acknowledged.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same files and port.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn resume(&mut self) -> Result<()> {
        let args = [
            format!("-storageDataPath={}", self.folder.path().join("data").display()),
            format!("-httpListenAddr=127.0.0.1:{}", self.port),
            "-dedup.minScrapeInterval=1ms".to_owned(),
            "-retentionPeriod=100y".to_owned(),
            "-search.disableCache".to_owned(),
        ];
        self.process =
            Some(Process::start("victoria-metrics", &self.program, args, self.folder.path())?);
        let health = format!("{}/health", self.url());
        wait_for("VictoriaMetrics to be healthy", Duration::from_secs(60), || {
            let health = health.clone();
            async move {
                let answer = reqwest011::get(&health).await.map_err(|e| e.to_string())?;
                if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
            }
        })
        .await;
        Ok(())
    }

    /// Lines that it has taken since it was started.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn taken(&self) -> Result<f64> {
        let page = reqwest011::get(format!("{}/metrics", self.url())).await?.text().await?;
        let count = page
            .lines()
            .find_map(|line| line.strip_prefix("vm_rows_inserted_total{type=\"influx\"} "));
        Ok(count.map_or(Ok(0.0), |text| text.trim().parse())?)
    }
}

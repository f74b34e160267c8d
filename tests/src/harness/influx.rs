//! A real InfluxDB 2 with one organisation, one bucket and a known token.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::process::{Process, free_port, server_binary};
use super::wait::wait_for;

/// Organisation of the test's database.
pub const ORG: &str = "davy";
/// Bucket of the test's database.
pub const BUCKET: &str = "readings";
/// Token with all rights on the test's database.
pub const TOKEN: &str = "test-token-of-a-database-that-lives-for-one-test";

/// An InfluxDB of the test's own.
#[derive(Debug)]
pub struct Influx {
    process: Option<Process>,
    folder: TempDir,
    program: PathBuf,
    /// Port on 127.0.0.1.
    pub port: u16,
}

impl Influx {
    /// Starts one, sets it up and waits until it is ready.
    ///
    /// # Errors
    /// When influxd is not to be had: with the ways to get it.
    pub async fn start() -> Result<Influx> {
        let program = server_binary("INFLUXD", "influxd")?;
        let mut influx =
            Influx { process: None, folder: TempDir::new()?, program, port: free_port()? };
        influx.resume().await?;
        let answer = reqwest011::Client::new()
            .post(format!("{}/api/v2/setup", influx.url()))
            .json(&json!({
                "username": "davy", "password": "a-password-of-one-test", "org": ORG, "bucket": BUCKET,
                "token": TOKEN, "retentionPeriodSeconds": 0
            }))
            .send()
            .await?;
        ensure!(answer.status().is_success(), "influxd setup: {}", answer.text().await?);
        Ok(influx)
    }

    /// Base address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Sends its process a signal by name.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.as_ref().context("it does not run")?.signal(name)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same files and port.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn resume(&mut self) -> Result<()> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let args = [
            "--bolt-path".to_owned(),
            at("bolt"),
            "--engine-path".to_owned(),
            at("engine"),
            "--sqlite-path".to_owned(),
            at("sqlite"),
            "--http-bind-address".to_owned(),
            format!("127.0.0.1:{}", self.port),
            "--reporting-disabled".to_owned(),
        ];
        self.process = Some(Process::start("influxd", &self.program, args, self.folder.path())?);
        let health = format!("{}/health", self.url());
        wait_for("influxd to be healthy", Duration::from_secs(60), || {
            let health = health.clone();
            async move {
                let answer = reqwest011::get(&health).await.map_err(|e| e.to_string())?;
                if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
            }
        })
        .await;
        Ok(())
    }

    /// Runs a Flux query and gives the rows of its CSV answer as maps of column to text.
    ///
    /// # Errors
    /// When the query is refused: with InfluxDB's words.
    pub async fn query(
        &self,
        flux: &str,
    ) -> Result<Vec<std::collections::BTreeMap<String, String>>> {
        let answer = reqwest011::Client::new()
            .post(format!("{}/api/v2/query?org={ORG}", self.url()))
            .header("Authorization", format!("Token {TOKEN}"))
            .header("Content-Type", "application/vnd.flux")
            .header("Accept", "application/csv")
            .body(flux.to_owned())
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "flux: {text}");
        rows_of(&text)
    }
}

/// Each table of the answer repeats its header after a blank line.
fn rows_of(text: &str) -> Result<Vec<std::collections::BTreeMap<String, String>>> {
    let mut rows = Vec::new();
    for part in text.split("\r\n\r\n").filter(|p| !p.trim().is_empty()) {
        let mut reader = csv::Reader::from_reader(part.trim_start().as_bytes());
        let header = reader.headers().context("header of a Flux table")?.clone();
        for record in reader.records() {
            let record = record?;
            let row = header.iter().zip(record.iter()).map(|(k, v)| (k.to_owned(), v.to_owned()));
            rows.push(row.collect());
        }
    }
    Ok(rows)
}

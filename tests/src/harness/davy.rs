//! The product's own programs as children: the centre with its registry and accounts, and gateways.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::influx::{BUCKET, Influx, ORG, TOKEN};
use super::process::{Process, failpoint_binary, free_port, workspace_binary};
use super::wait::wait_for;

/// Password of the accounts that a test makes.
const PASSWORD: &str = "correct-horse-battery-staple-7";

/// Where the centre keeps its readings.
#[derive(Debug, Clone)]
pub enum Store {
    /// The embedded one, the default.
    Embedded,
    /// InfluxDB 2 at this address.
    Influx(String),
    /// Anything that answers like InfluxDB's write call, at this address.
    Sink(String),
}

impl From<&Influx> for Store {
    fn from(influx: &Influx) -> Store {
        Store::Influx(influx.url())
    }
}

/// How a program is dressed where a test wants it otherwise than a user has it.
#[derive(Debug, Clone, Default)]
pub struct Dress {
    /// Take the build with fail points.
    pub failpoints: bool,
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
}

impl Dress {
    fn command(&self, name: &str) -> Result<Command> {
        let program =
            if self.failpoints { failpoint_binary(name)? } else { workspace_binary(name)? };
        let mut command = Command::new(program);
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        Ok(command)
    }
}

/// A centre: its folder, its configuration and, while it runs, its process.
#[derive(Debug)]
pub struct Centre {
    process: Option<Process>,
    /// Folder of everything it keeps.
    pub folder: PathBuf,
    /// Port of the API and the console.
    pub port: u16,
    /// How it is started.
    pub dress: Dress,
    client: reqwest011::Client,
    session: Option<String>,
}

impl Centre {
    /// Writes its configuration and applies a registry; does not start it.
    ///
    /// # Errors
    /// When the configuration or the registry is refused: with the program's words.
    pub fn prepare(folder: &Path, broker: &str, store: &Store, registry: &str) -> Result<Centre> {
        let centre = Centre::prepare_without_users(folder, broker, store, registry)?;
        std::fs::write(centre.folder.join("password"), PASSWORD)?;
        centre.call(&[
            "user",
            "add",
            "duty",
            "--display",
            "王值班",
            "--role",
            "duty",
            "--password-file",
            "password",
        ])?;
        Ok(centre)
    }

    /// Like [`Centre::prepare`], without the duty account: its first start asks for set-up.
    ///
    /// # Errors
    /// When the configuration or the registry is refused: with the program's words.
    pub fn prepare_without_users(
        folder: &Path,
        broker: &str,
        store: &Store,
        registry: &str,
    ) -> Result<Centre> {
        let folder = folder.join("centre");
        std::fs::create_dir_all(&folder)?;
        let port = free_port()?;
        std::fs::write(folder.join("ingest.toml"), config(&folder, broker, port, store)?)?;
        std::fs::write(folder.join("registry.toml"), registry)?;
        let client = reqwest011::Client::builder().timeout(Duration::from_secs(20)).build()?;
        let dress = Dress::default();
        let centre = Centre { process: None, folder, port, dress, client, session: None };
        if !registry.is_empty() {
            centre.call(&["seed", "registry.toml"])?;
        }
        Ok(centre)
    }

    /// Runs one of its commands to the end and gives what it printed.
    ///
    /// # Errors
    /// When it fails: with its words.
    pub fn call(&self, args: &[&str]) -> Result<String> {
        let out = Command::new(workspace_binary("davy-ingest")?)
            .args(args)
            .args(["--config", "ingest.toml"])
            .current_dir(&self.folder)
            .output()?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let words = String::from_utf8_lossy(&out.stderr);
        ensure!(
            out.status.success(),
            "davy-ingest {}: {}\n{text}{words}",
            args.join(" "),
            out.status
        );
        Ok(text)
    }

    /// Provisions a gateway and gives its key.
    ///
    /// # Errors
    /// When it is refused.
    pub fn add_gateway(&self, name: &str, site: &str) -> Result<String> {
        let snippet = self.call(&["gateway", "add", name, "--site", site])?;
        let key =
            snippet.lines().find_map(|l| l.trim().strip_prefix("key = \"")?.strip_suffix('"'));
        key.map(str::to_owned).with_context(|| format!("no key in the snippet:\n{snippet}"))
    }

    /// Starts it and waits until its API answers.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.up().await;
        Ok(())
    }

    /// Starts it and does not wait: it may be meant to die.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        let mut command = self.dress.command("davy-ingest")?;
        command.args(["run", "--config", "ingest.toml"]).current_dir(&self.folder);
        self.process = Some(Process::start_command("davy-ingest", command, &self.folder)?);
        Ok(())
    }

    /// Whether its process lives.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Sends its process a signal by name.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.as_ref().context("it does not run")?.signal(name)
    }

    /// Waits until its API answers and it has started.
    pub async fn up(&self) {
        wait_for("davy-ingest to answer", Duration::from_secs(30), || async {
            let (_, health) = self.health("/healthz").await.map_err(|e| format!("{e:#}"))?;
            if health["status"] == "starting" { Err(health.to_string()) } else { Ok(()) }
        })
        .await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM, and waits for an orderly end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop().await?;
        }
        Ok(())
    }

    /// Process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// What it has written to its log.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.folder.join("davy-ingest.log")).unwrap_or_default()
    }

    /// Address of a path of the API or the console.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Name and password of the duty account.
    #[must_use]
    pub fn account(&self) -> (&'static str, &'static str) {
        ("duty", PASSWORD)
    }

    /// Signs in as duty staff; later calls carry the session.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn sign_in(&mut self) -> Result<()> {
        let answer = self
            .client
            .post(self.url("/api/v1/session"))
            .header("Origin", self.url(""))
            .json(&json!({ "name": "duty", "password": PASSWORD }))
            .send()
            .await?;
        let cookie =
            answer.headers().get("set-cookie").and_then(|c| c.to_str().ok()).map(str::to_owned);
        ensure!(answer.status().is_success(), "sign in: {}", answer.text().await?);
        let cookie = cookie.context("a session's cookie")?;
        self.session = cookie.split(';').next().map(str::to_owned);
        Ok(())
    }

    /// GET of an API path below `/api/v1`.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let cookie = self.session.clone().unwrap_or_default();
        let answer = self
            .client
            .get(self.url(&format!("/api/v1{path}")))
            .header("Cookie", cookie)
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "GET {path}: {status} {text}");
        serde_json::from_str(&text).with_context(|| text)
    }

    /// Its metrics page as name → value; labelled series keep their labels in the name.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        Ok(series_of(&self.client.get(self.url("/metrics")).send().await?.text().await?))
    }

    /// Status and JSON of a page that needs no session: `/healthz`, `/readyz`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn health(&self, path: &str) -> Result<(u16, Value)> {
        let answer = self.client.get(self.url(path)).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_str(&answer.text().await?)?))
    }

    /// What its administrator must know now, as code → English words.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn notices(&self) -> Result<BTreeMap<String, String>> {
        let system = self.get("/system").await?;
        let notices = system["notices"].as_array().context("notices")?;
        let text = |n: &Value, key: &str| n[key].as_str().unwrap_or_default().to_owned();
        Ok(notices.iter().map(|n| (text(n, "code"), text(n, "en"))).collect())
    }

    /// The live stream of events, as the browser gets it.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn stream(&self) -> Result<reqwest011::Response> {
        // A client of its own: a stream outlives the time-out of a request.
        let answer = reqwest011::Client::new()
            .get(self.url("/api/v1/stream"))
            .header("Cookie", self.session.clone().unwrap_or_default())
            .send()
            .await?;
        Ok(answer.error_for_status()?)
    }

    /// The alarms, active or not, newest first.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn alarms(&self) -> Result<Vec<Value>> {
        let answer = self.get("/alarms?state=all&limit=500").await?;
        Ok(answer["alarms"].as_array().cloned().unwrap_or_default())
    }

    /// Stored samples of a series, raw, from the product's own history query.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn samples(
        &self,
        site: &str,
        device: &str,
        quantity: &str,
    ) -> Result<Vec<(i64, f64)>> {
        let path = format!(
            "/series?site={site}&device={device}&quantity={quantity}&from=0&to={}&raw=1",
            4_000_000_000_000i64
        );
        let answer = self.get(&path).await?;
        let times = answer["t"].as_array().context("t")?;
        let values = answer["value"].as_array().context("value")?;
        Ok(times.iter().zip(values).filter_map(|(t, v)| Some((t.as_i64()?, v.as_f64()?))).collect())
    }
}

impl Centre {
    /// Stored samples of a series from `from` (ms) on, raw and all of them.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn samples_from(
        &self,
        site: &str,
        device: &str,
        quantity: &str,
        from: i64,
    ) -> Result<Vec<(i64, f64)>> {
        let (mut all, mut from) = (Vec::new(), from);
        loop {
            let path = format!(
                "/series?site={site}&device={device}&quantity={quantity}&from={from}&to={}&raw=1",
                4_000_000_000_000i64
            );
            let answer = self.get(&path).await?;
            let times = answer["t"].as_array().context("t")?;
            let values = answer["value"].as_array().context("value")?;
            all.extend(
                times.iter().zip(values).filter_map(|(t, v)| Some((t.as_i64()?, v.as_f64()?))),
            );
            match (answer["truncated"].as_bool(), times.last().and_then(serde_json::Value::as_i64))
            {
                (Some(true), Some(last)) => from = last + 1,
                _ => return Ok(all),
            }
        }
    }
}

fn config(folder: &Path, broker: &str, port: u16, store: &Store) -> Result<String> {
    let store = match store {
        Store::Embedded => "kind = \"embedded\"\n".to_owned(),
        Store::Influx(url) | Store::Sink(url) => {
            std::fs::write(folder.join("influx.token"), TOKEN)?;
            format!(
                "kind = \"influx\"\nurl = {url:?}\norg = {ORG:?}\nbucket = {BUCKET:?}\ntoken_file = \"influx.token\"\n"
            )
        }
    };
    Ok(format!(
        "[ingest]\nstate_dir = \"data\"\n\n[broker]\nurl = \"mqtt://{broker}\"\nclient_id = \"centre-{port}\"\n\n[http]\nlisten = \"127.0.0.1:{port}\"\n\n\
         [store]\n{store}"
    ))
}

/// A gateway: its folder and, while it runs, its process.
#[derive(Debug)]
pub struct Gateway {
    process: Option<Process>,
    /// Folder of its configuration, spool and output.
    pub folder: PathBuf,
    /// Port of its status page and metrics.
    pub status_port: u16,
    /// How it is started.
    pub dress: Dress,
}

impl Gateway {
    /// Writes its configuration into a folder of its own; does not start it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn prepare(folder: &Path, name: &str, status_port: u16, config: &str) -> Result<Gateway> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("gateway.toml"), config)?;
        Ok(Gateway { process: None, folder, status_port, dress: Dress::default() })
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> Result<()> {
        let mut command = self.dress.command("davy-gateway")?;
        command.args(["run", "--config", "gateway.toml"]).current_dir(&self.folder);
        self.process = Some(Process::start_command("davy-gateway", command, &self.folder)?);
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM, and waits for an orderly end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop().await?;
        }
        Ok(())
    }

    /// Process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// What it has written to its log.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.folder.join("davy-gateway.log")).unwrap_or_default()
    }

    /// Whether its process lives.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Sends its process a signal by name.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.as_ref().context("it does not run")?.signal(name)
    }

    /// Its metrics page as name → value; labelled series keep their labels in the name.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        Ok(series_of(&self.page("/metrics").await?))
    }

    /// A page of its own: `/` for people, `/status.json`, `/metrics`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn page(&self, path: &str) -> Result<String> {
        let answer =
            reqwest011::get(format!("http://127.0.0.1:{}{path}", self.status_port)).await?;
        Ok(answer.error_for_status()?.text().await?)
    }
}

fn series_of(page: &str) -> BTreeMap<String, f64> {
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

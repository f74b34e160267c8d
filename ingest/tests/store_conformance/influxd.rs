//! A real InfluxDB 2 for one test: started on a free port in a temporary folder, killed at the end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ingest::secret::Secret;
use ingest::store::influx::InfluxOptions;

pub(crate) const ORG: &str = "davy";
pub(crate) const TOKEN: &str = "token-of-one-test";
/// Longest wait for it to answer, in attempts of 20 ms.
const ATTEMPTS: u32 = 3_000;

#[derive(Debug)]
pub(crate) struct Influxd {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Influxd {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut influxd = Self { child: spawn(folder.path(), port), folder, port };
        influxd.wait();
        let setup = format!(
            "{{\"username\":\"davy\",\"password\":\"password-of-one-test\",\"org\":\"{ORG}\",\
             \"bucket\":\"first\",\"token\":\"{TOKEN}\",\"retentionPeriodSeconds\":0}}"
        );
        let answer = influxd.request("POST", "/api/v2/setup", "application/json", &setup).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        influxd
    }

    /// Options for a bucket of its own, created on request.
    pub(crate) fn options(&self, bucket: &str) -> InfluxOptions {
        let url = format!("http://127.0.0.1:{}", self.port);
        let cursor = self.folder.path().join(format!("{bucket}.cursor"));
        let token = Secret::new(TOKEN.to_owned());
        let options = InfluxOptions::new(&url, ORG, bucket, token, cursor);
        InfluxOptions { create_bucket: true, ..options }
    }

    /// SIGKILL and a new start on the same files.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = spawn(self.folder.path(), self.port);
        self.wait();
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Writes lines past our store, ms.
    pub(crate) fn write_line(&self, bucket: &str, line: &str) {
        let path = format!("/api/v2/write?org={ORG}&bucket={bucket}&precision=ms");
        let answer = self.request("POST", &path, "text/plain", line).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }

    fn wait(&mut self) {
        for _ in 0..ATTEMPTS {
            if let Some(status) = self.child.try_wait().unwrap() {
                let log = std::fs::read_to_string(self.folder.path().join("log"));
                panic!("influxd ended at once, {status}: {}", log.unwrap_or_default());
            }
            let answer = self.request("GET", "/health", "text/plain", "");
            if answer.is_ok_and(|a| a.starts_with("HTTP/1.1 200")) {
                return;
            }
            // Nothing signals readiness but the port itself.
            std::sync::mpsc::sync_channel::<()>(0).1.recv_timeout(Duration::from_millis(20)).ok();
        }
        panic!("influxd did not answer within a minute");
    }

    fn request(&self, method: &str, path: &str, kind: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Authorization: Token {TOKEN}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Influxd {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(folder: &Path, port: u16) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new(binary())
        .arg("--bolt-path")
        .arg(folder.join("bolt"))
        .arg("--engine-path")
        .arg(folder.join("engine"))
        .arg("--sqlite-path")
        .arg(folder.join("sqlite"))
        .args(["--http-bind-address", &format!("127.0.0.1:{port}"), "--reporting-disabled"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// `INFLUXD`, or what `tests/servers/get.sh` finds: `PATH` with its version checked, a cache, a build of its own.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("INFLUXD") {
        return PathBuf::from(path);
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let built = repository.join("target/servers/influxd");
    if built.is_file() {
        return built;
    }
    let script = repository.join("tests/servers/get.sh");
    let found = Command::new(&script).arg("influxd").stderr(Stdio::inherit()).output().unwrap();
    assert!(
        found.status.success(),
        "influxd was not found. Three ways to get it: point INFLUXD at a binary; install InfluxDB 2 so that influxd is in \
         PATH; or let `{} influxd` build it from its Go module",
        script.display()
    );
    let line = String::from_utf8(found.stdout).unwrap();
    PathBuf::from(line.trim().split_once('=').unwrap().1)
}

//! A real database server for one test: started on a free port in a temporary folder, killed at the end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for it to answer, in attempts of 20 ms.
const ATTEMPTS: u32 = 3_000;

/// Which program, and how it is started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Its name for `tests/servers/get.sh`.
    pub(crate) name: &'static str,
    /// The variable that names a binary.
    pub(crate) variable: &'static str,
    /// Answers 200 or 204 once it is ready.
    pub(crate) ready: &'static str,
    /// Arguments for a folder and a port.
    pub(crate) arguments: fn(&Path, u16) -> Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    child: Child,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut server = Self { kind, child: spawn(kind, folder.path(), port), folder, port };
        server.wait();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL and a new start on the same files.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = spawn(self.kind, self.folder.path(), self.port);
        self.wait();
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn wait(&mut self) {
        for _ in 0..ATTEMPTS {
            if let Some(status) = self.child.try_wait().unwrap() {
                let log = std::fs::read_to_string(self.folder.path().join("log"));
                panic!("{} ended at once, {status}: {}", self.kind.name, log.unwrap_or_default());
            }
            let answer = self.request("GET", self.kind.ready, &[], "");
            if answer.is_ok_and(|a| a.starts_with("HTTP/1.1 20")) {
                return;
            }
            // Nothing signals readiness but the port itself.
            std::sync::mpsc::sync_channel::<()>(0).1.recv_timeout(Duration::from_millis(20)).ok();
        }
        panic!("{} did not answer within a minute", self.kind.name);
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn spawn(kind: Kind, folder: &Path, port: u16) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new(binary(kind))
        .args((kind.arguments)(folder, port))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The variable's, or what `tests/servers/get.sh` finds: `PATH` with its version checked, a cache, what it gets itself.
fn binary(kind: Kind) -> PathBuf {
    let Kind { name, variable, .. } = kind;
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let script = repository.join("tests/servers/get.sh");
    let found = Command::new(&script).arg(name).stderr(Stdio::inherit()).output().unwrap();
    assert!(
        found.status.success(),
        "{name} was not found. Three ways to get it: point {variable} at a binary; install it so that it is in PATH; or let \
         `{} {name}` get it",
        script.display()
    );
    let line = String::from_utf8(found.stdout).unwrap();
    PathBuf::from(line.trim().split_once('=').unwrap().1)
}

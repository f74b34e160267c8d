//! A mosquitto of the test's own: own configuration, free port, killed without mercy.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub(crate) struct Broker {
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    child: Child,
}

fn program() -> PathBuf {
    let named = std::env::var_os("MOSQUITTO").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    named
        .or_else(|| places.find_map(|dir| Some(dir.join("mosquitto")).filter(|p| p.is_file())))
        .expect("install mosquitto, or name it in MOSQUITTO")
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let mut file = std::fs::File::create(dir.path().join("mosquitto.conf")).unwrap();
        write!(
            file,
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 1000\n\
             max_queued_messages 0\nmax_queued_bytes 67108864\npersistence false\nlog_dest stderr\n"
        )
        .unwrap();
        let child = Self::spawn(&dir);
        Self { port, dir, child }
    }

    fn spawn(dir: &tempfile::TempDir) -> Child {
        let mut child = Command::new(program())
            .arg("-c")
            .arg(dir.path().join("mosquitto.conf"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("running") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "mosquitto ended");
        }
        // A pipe that nobody reads would stop it one day.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        child
    }

    /// SIGKILL: everything it confirmed and had not passed on is lost.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = Self::spawn(&self.dir);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

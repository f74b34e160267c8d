//! The buses against a meter on libmodbus, the reference implementation, over a real socket.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gateway::bus::link::Tcp;
use gateway::bus::{Southbound, start};
use gateway::commission::read;
use gateway::config::Config;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{Mark, Reason};

/// Longest wait for something that should happen within a second or two.
const PATIENCE: Duration = Duration::from_secs(40);

/// The C program, compiled into the test's own folder.
fn compiled(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libmodbus_server.c");
    let program = folder.join("libmodbus-server");
    let output = Command::new("cc")
        .args(["-O1", "-I/usr/include/modbus", "-o"])
        .arg(&program)
        .arg(source)
        .arg("-lmodbus")
        .output();
    let output = output.expect("cc is missing: apt-get install -y gcc libmodbus-dev");
    assert!(
        output.status.success(),
        "libmodbus is missing? apt-get install -y libmodbus-dev\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    program
}

/// A running server; dropping it kills it.
struct Meter {
    child: Child,
    port: u16,
}

impl Meter {
    fn start(program: &Path, port: u16) -> Self {
        let mut child = Command::new(program)
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("a port");
        Self { child, port: line.trim().parse().expect("a port") }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn config(port: u16, devices: &str) -> Config {
    let text = format!(
        "[gateway]\nname = \"gw\"\nsite = \"s\"\nspool_dir = \"spool\"\nkey = \
         \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"\n\
         [broker]\nurl = \"mqtt://localhost\"\n\
         [[bus]]\nname = \"line\"\nkind = \"modbus-tcp\"\naddress = \"127.0.0.1:{port}\"\n{devices}"
    );
    match Config::parse(Path::new("test.toml"), &text) {
        Ok(config) => config,
        Err(problems) => panic!("{problems:#?}"),
    }
}

const DEVICES: &str = "[[bus.device]]\nid = \"sdm\"\nunit = 1\nprofile = \"eastron-sdm630\"\n\
    period_ms = { fast = 200, slow = 400 }\n\
    [[bus.device]]\nid = \"adw\"\nunit = 2\nprofile = \"acrel-adw300\"\nct = \"400/5\"\npt = 1\n\
    [[bus.device]]\nid = \"io\"\nunit = 3\nprofile = \"generic\"\n\
    [[bus.device.point]]\nquantity = \"di_1\"\ntable = \"coil\"\nreg = 3\n\
    [[bus.device.point]]\nquantity = \"di_2\"\nref = 10006\n\
    [[bus.device.point]]\nquantity = \"di_3\"\nref = 10005\n";

type Latest = BTreeMap<(String, String), (f64, Mark)>;

/// Takes readings until `enough` of the latest values.
async fn until(south: &mut Southbound, latest: &mut Latest, enough: impl Fn(&Latest) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !enough(latest) {
        let reading = timeout_at(end, south.readings.recv()).await;
        let reading = reading.unwrap_or_else(|_| panic!("not in time; so far {latest:#?}"));
        let reading = reading.expect("the buses run");
        let reply = south.replies.get(reading.reply).expect("named before it is used");
        for (point, value) in reply.points.iter().zip(&reading.values) {
            let key = (reply.device_id.to_string(), point.quantity.to_string());
            latest.insert(key, (value.value, value.mark));
        }
    }
}

fn is(latest: &Latest, device: &str, quantity: &str, value: f64) -> bool {
    let found = latest.get(&(device.to_owned(), quantity.to_owned()));
    found.is_some_and(|(v, mark)| v.to_bits() == value.to_bits() && *mark == Mark::GOOD)
}

fn marked(latest: &Latest, device: &str, quantity: &str, wanted: Mark) -> bool {
    let found = latest.get(&(device.to_owned(), quantity.to_owned()));
    found.is_some_and(|(_, mark)| *mark == wanted)
}

#[tokio::test]
async fn what_libmodbus_serves_is_read_exactly_and_found_again_after_its_death() {
    // Goal: our codec, planner and decoder agree with an implementation that is not ours, through a kill.
    // Method: a C server with libmodbus; the profiles' harmonics do not exist in it and must cost only themselves.
    let folder = tempfile::tempdir().expect("a folder");
    let program = compiled(folder.path());
    let meter = Meter::start(&program, 0);
    let port = meter.port;
    let stop = CancellationToken::new();
    let tracker = TaskTracker::new();
    let mut south = start(&config(port, DEVICES), Arc::new(Tcp), &tracker, &stop);
    let mut latest = Latest::new();
    let all = |latest: &Latest| {
        is(latest, "sdm", "u_a", 230.2)
            && is(latest, "sdm", "i_b", 12.25)
            && is(latest, "sdm", "p_total", 5.6938)
            && is(latest, "sdm", "q_total", -0.3264)
            && is(latest, "sdm", "pf_total", 0.9985)
            && is(latest, "sdm", "freq", 49.98)
            && is(latest, "sdm", "ep_imp", 1234.56)
            && marked(latest, "sdm", "thd_u_a", Mark::bad(Reason::DeviceException))
            && is(latest, "adw", "u_a", 230.1)
            && is(latest, "adw", "p_total", -120.0)
            && is(latest, "io", "di_1", 1.0)
            && is(latest, "io", "di_2", 1.0)
            && is(latest, "io", "di_3", 0.0)
    };
    until(&mut south, &mut latest, all).await;

    drop(meter);
    let gone = |l: &Latest| marked(l, "sdm", "u_a", Mark::stale(Reason::LinkDown));
    until(&mut south, &mut latest, gone).await;
    let _meter = Meter::start(&program, port);
    until(&mut south, &mut latest, all).await;
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}

#[tokio::test]
async fn one_sweep_is_printed_with_units_and_what_the_meter_lacks() {
    let folder = tempfile::tempdir().expect("a folder");
    let meter = Meter::start(&compiled(folder.path()), 0);
    let mut out = Vec::new();
    let config = config(meter.port, DEVICES);
    let code = read::read(&config, Some("sdm"), &Tcp, &mut out).await.expect("written");
    let text = String::from_utf8(out).expect("text");
    assert_eq!(code, 0, "{text}");
    let row =
        |name: &str| text.lines().find(|line| line.contains(&format!(" {name} "))).unwrap_or("");
    assert!(row("p_total").contains("5.6938") && row("p_total").contains("kW"), "{text}");
    assert!(row("u_a").contains("good") && row("u_a").contains(" ms"), "{text}");
    assert!(row("thd_u_a").contains("no such register"), "{text}");
    assert!(!text.contains("adw"), "only the one device: {text}");

    drop(meter);
    let mut out = Vec::new();
    let code = read::read(&config, None, &Tcp, &mut out).await.expect("written");
    assert_eq!(code, read::EXIT_SILENT);
    let text = String::from_utf8(out).expect("text");
    assert!(text.contains("no answer") && text.contains("adw"), "{text}");
}

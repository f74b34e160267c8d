//! The program as a person meets it: exit codes, and what is printed for a good and for a broken file.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

const EXAMPLE: &str = include_str!("../gateway.example.toml");

fn run(arguments: &[&str], text: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("gateway.toml"), text).expect("written");
    Command::new(env!("CARGO_BIN_EXE_davy-gateway"))
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .expect("the program starts")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn check_prints_the_plan_and_the_load_of_a_good_file() {
    let output = run(&["check"], EXAMPLE);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in
        ["switchroom", "tank-farm", " %", "eastron-sdm630", "u_a", "decode tests", "unofficial"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn check_lists_all_problems_of_a_broken_file_and_exits_64() {
    let broken = EXAMPLE.replace("unit = 1 ", "unit = 1000 ").replace("flush_ms", "flash_ms");
    let output = run(&["check"], &broken);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("did you mean flush_ms?"), "{text}");
    assert!(text.contains("2 problem(s)"), "{text}");
}

#[test]
fn check_refuses_a_bus_that_cannot_keep_its_periods() {
    let slow = EXAMPLE.replace("# line_baud = 9600  ", "line_baud = 1200 ");
    let output = run(&["check"], &slow);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("overloaded"), "{text}");
}

#[test]
fn check_refuses_more_points_than_a_manifest_holds() {
    // 40 buses of 8 devices with 60 points: more than one gateway can name to the centre in one frame.
    let mut text = EXAMPLE.split("# One [[bus]]").next().expect("a head").to_owned();
    for bus in 0..40 {
        text += &format!(
            "[[bus]]\nname = \"b{bus}\"\nkind = \"modbus-tcp\"\naddress = \"10.0.0.{bus}:502\"\n"
        );
        for unit in 1..=8 {
            text += &format!(
                "[[bus.device]]\nid = \"d{bus}-{unit}\"\nunit = {unit}\nprofile = \"generic\"\n"
            );
            for point in 0..60 {
                text += &format!(
                    "[[bus.device.point]]\nquantity = \"t_{point}\"\ntable = \"holding\"\nreg = {point}\n\
                     type = \"u16\"\nunit = \"°C\"\n"
                );
            }
        }
    }
    let output = run(&["check"], &text);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(64), "{text}");
    for part in ["19200 points", "over 2 gateways", "9600 points each", "分到 2 台网关"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn a_missing_file_is_said_plainly() {
    let output = run(&["check", "--config", "nowhere.toml"], EXAMPLE);
    assert_eq!(output.status.code(), Some(64));
    assert!(printed(&output).contains("nowhere.toml"));
}

#[test]
fn help_teaches_the_first_steps() {
    let text = printed(&run(&["--help"], EXAMPLE));
    for part in ["check", "read", "run", "davy-ingest gateway add", "gateway.example.toml"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn run_starts_with_nothing_reachable_and_stops_in_order() {
    // Goal: broker and devices missing are states, not failures. Method: nothing listens on any address of the file;
    // the program begins its epoch, says that it is started, and ends with 0 on SIGTERM.
    let folder = tempfile::tempdir().expect("a folder");
    let text = EXAMPLE
        .replace("/var/lib/davy/spool", "spool")
        .replace("192.168.1.", "127.0.0.")
        .replace("mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:9")
        .replace("listen = \"127.0.0.1:9464\"", "listen = \"127.0.0.1:0\"")
        .replace("shutdown_grace_ms = 5000", "shutdown_grace_ms = 100");
    std::fs::write(folder.path().join("gateway.toml"), text).expect("written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_davy-gateway"))
        .arg("run")
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let mut seen = String::new();
    while !seen.contains("\"started\"") {
        let before = seen.len();
        log.read_line(&mut seen).expect("a line");
        assert!(seen.len() > before, "it ended early:\n{seen}");
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
    log.read_to_string(&mut seen).expect("the rest");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0), "{seen}");
    assert!(!seen.contains("1b1c1d1e"), "the key is in no log line");
}

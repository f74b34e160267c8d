//! Starts a real broker, centre, gateway and a simulated plant, then runs the browser tests (`tests/browser/*.test.mjs`)
//! against them in real Chromium. Ends with their exit code.
//!
//! What the tests get by environment: `DAVY_URL`, `DAVY_NAME`, `DAVY_PASSWORD` (a duty account), `DAVY_SITE` (a gas
//! plant whose devices answer), `DAVY_CONTROL` (the door of [`tests::harness::control`]), `DAVY_SETUP_URL` and
//! `DAVY_SETUP_TOKEN` (a second centre that nobody has set up), `DAVY_OFFICER` (another account, with the same password),
//! `CHROMIUM`. In the quarantine lie two things: samples ahead of their time and a block under a key that was used before.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tests::harness::control::{self, CentreOrder};
use tests::harness::davy::{Centre, Gateway, Store};
use tests::harness::hand::{Hand, now_ms};
use tests::harness::mosquitto::Mosquitto;
use tests::harness::peer::Peer;
use tests::harness::process::{free_port, server_binary};
use tests::harness::site::{GatewayFile, Unit};
use tests::harness::wait::wait_for;
use tests::plant::Plants;
use tests::prefecture::{GAS_STORY, PLANTS};
use tokio::sync::Mutex;
use wire::manifest::Point;

/// A gateway of the plant whose messages are made here.
const COPY: &str = "spare-gw";
/// A section officer.
const OFFICER: &str = "zhao";
/// How far the sample lies ahead of the centre, ms.
const AHEAD_MS: i64 = 300_000;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<ExitCode> {
    let folder = TempDir::new()?;
    let broker = Mosquitto::start().await?;
    let address = format!("127.0.0.1:{}", broker.port);
    let plant = PLANTS.iter().find(|p| p.id == GAS_STORY).context("the gas plant")?;
    let plants = Plants::start(vec![plant.simulate(7)]).await?;

    let mut centre = Centre::prepare(folder.path(), &address, &Store::Embedded, &plant.registry())?;
    let name = plant.gateway();
    let key = centre.add_gateway(&name, plant.id)?;
    let copy = centre.add_gateway(COPY, plant.id)?;
    let officer = ["user", "add", OFFICER, "--display", "赵科长", "--role", "officer"];
    centre.call(&[&officer[..], &["--password-file", "password"]].concat())?;
    let file = GatewayFile {
        name: &name,
        site: plant.id,
        key: &key,
        spool_dir: folder.path().join("spool"),
        broker: address.clone(),
        status_port: free_port()?,
        period_ms: 500,
        timeout_ms: 1000,
    };
    let devices = plant.kind.devices();
    let units = devices.iter().map(|d| Unit { id: d.id, unit: d.unit, model: d.model }).collect();
    let text = file.text(&[(plants.address(0).to_string(), units)])?;
    let mut gateway = Gateway::prepare(folder.path(), &name, file.status_port, &text)?;
    centre.start().await?;
    gateway.start()?;
    centre.sign_in().await?;
    set_aside(&centre, broker.port, Hand::new(COPY, plant.id, &copy)?).await?;
    let (blank, token) = blank_centre(folder.path(), &address).await?;

    let (user, password) = centre.account();
    let variables = [
        ("DAVY_URL", centre.url("")),
        ("DAVY_NAME", user.to_owned()),
        ("DAVY_PASSWORD", password.to_owned()),
        ("DAVY_SITE", plant.id.to_owned()),
        ("DAVY_OFFICER", OFFICER.to_owned()),
        ("DAVY_SETUP_URL", blank.url("")),
        ("DAVY_SETUP_TOKEN", token),
        ("CHROMIUM", server_binary("CHROMIUM", "chromium")?.display().to_string()),
    ];
    let (door, at) = control::bind().await?;
    let centre = Arc::new(Mutex::new(centre));
    let order = |order| {
        let centre = Arc::clone(&centre);
        async move {
            let mut centre = centre.lock().await;
            match order {
                CentreOrder::Kill => centre.kill(),
                CentreOrder::Start if centre.id().is_none() => centre.start().await?,
                CentreOrder::Start => {}
            }
            Ok(())
        }
    };
    let tests = tokio::task::spawn_blocking(move || node(&variables, &at.to_string()));
    let code = tokio::select! {
        code = tests => code??,
        ended = control::serve(door, &plants.sites[0], order) => { ended?; anyhow::bail!("the door closed") }
    };
    gateway.stop().await?;
    Ok(ExitCode::from(code))
}

/// Fills the quarantine: a sample well ahead of the centre's clock, and another block under the key of the one before it.
async fn set_aside(centre: &Centre, port: u16, mut hand: Hand) -> Result<()> {
    let mut peer = Peer::connect(port, "copy", "nothing/of/this").await?;
    let point = Point { quantity: "u_a".to_owned(), unit: "V".to_owned() };
    let manifest = hand.manifest(std::iter::once("spare-1".to_owned()), &[point]);
    let row = |ahead_ms: i64, value: f64| [(0, now_ms() + ahead_ms, vec![value])];
    let blocks = [
        hand.sealed_manifest(&manifest),
        hand.next(&manifest, &row(AHEAD_MS, 231.5))?,
        hand.next(&manifest, &row(0, 230.0))?,
        hand.again(&manifest, &row(0, 77.0))?,
    ];
    peer.publish_all(blocks.map(|frame| (hand.topic(), frame))).await?;
    wait_for("two entries of the quarantine", Duration::from_secs(30), || async {
        let listed = centre.get("/quarantine?state=open").await.map_err(|e| format!("{e:#}"))?;
        let count = listed["rows"].as_array().map_or(0, Vec::len);
        if count == 2 { Ok(()) } else { Err(listed.to_string()) }
    })
    .await;
    Ok(())
}

/// A centre that nobody has set up yet, with the token that it printed.
async fn blank_centre(folder: &Path, broker: &str) -> Result<(Centre, String)> {
    let folder = folder.join("blank");
    let mut centre = Centre::prepare_without_users(&folder, broker, &Store::Embedded, "")?;
    centre.start().await?;
    let token = wait_for("the setup token", Duration::from_secs(10), || {
        let output = centre.output();
        async move { setup_token(&output).ok_or(output) }
    })
    .await;
    Ok((centre, token))
}

/// The token stands alone behind the words "setup token".
fn setup_token(output: &str) -> Option<String> {
    let rest = output.split_once("setup token")?.1;
    rest.split_whitespace().next().filter(|word| word.len() >= 16).map(str::to_owned)
}

fn node(variables: &[(&str, String)], control: &str) -> Result<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let mut files: Vec<_> = std::fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    ensure!(!files.is_empty(), "no browser test in {}", folder.display());
    let status = Command::new("node")
        .args(["--test", "--test-concurrency=1"])
        .args(&files)
        .envs(variables.iter().map(|(name, value)| (*name, value.as_str())))
        .env("DAVY_CONTROL", format!("http://{control}"))
        .current_dir(&folder)
        .status()
        .context("node is needed for the browser tests: install Node 20 or newer")?;
    Ok(u8::from(!status.success()))
}

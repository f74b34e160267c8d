//! Starts a real broker, centre, gateway and a simulated plant, then runs the browser tests (`tests/browser/*.test.mjs`)
//! against them in real Chromium. Ends with their exit code.
//!
//! What the tests get by environment: `DAVY_URL`, `DAVY_NAME`, `DAVY_PASSWORD` (a duty account), `DAVY_SITE` (a gas
//! plant whose devices answer), `DAVY_CONTROL` (the door of [`tests::harness::control`]), `DAVY_SETUP_URL` and
//! `DAVY_SETUP_TOKEN` (a second centre that nobody has set up), `CHROMIUM`.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tests::harness::control::{self, CentreOrder};
use tests::harness::davy::{Centre, Gateway, Store};
use tests::harness::mosquitto::Mosquitto;
use tests::harness::process::{free_port, server_binary};
use tests::harness::site::{GatewayFile, Unit};
use tests::harness::wait::wait_for;
use tests::plant::Plants;
use tests::prefecture::{GAS_STORY, PLANTS};
use tokio::sync::Mutex;

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
    let (blank, token) = blank_centre(folder.path(), &address).await?;

    let (user, password) = centre.account();
    let variables = [
        ("DAVY_URL", centre.url("")),
        ("DAVY_NAME", user.to_owned()),
        ("DAVY_PASSWORD", password.to_owned()),
        ("DAVY_SITE", plant.id.to_owned()),
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

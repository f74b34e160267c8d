//! The smallest whole: one works with one gateway that reads played recordings, a broker, and the centre.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::davy::{Centre, Gateway, Store};
use super::modbus::Server;
use super::mosquitto::Mosquitto;
use super::process::free_port;
use super::site::{GatewayFile, Unit};
use super::wait::wait_for;
use crate::meters;
use crate::replay::{Given, Recording, Replay};

/// Id of the site.
pub const SITE: &str = "works";
/// Name of its gateway.
pub const GATEWAY: &str = "works-gw1";
/// Event time and the device's own note of its answer may differ by this, ms; the values tell neighbours apart.
const TOLERANCE_MS: i64 = 1000;
/// Poll period of every point, ms.
const PERIOD_MS: u32 = 200;

/// A device of the works.
#[derive(Debug)]
pub struct Played {
    /// Id in the site.
    pub id: &'static str,
    /// Role in the registry.
    pub role: &'static str,
    /// What it says.
    pub recording: Recording,
}

/// A household's meter whose voltage and current change with each row, in steps that its floats hold exactly.
#[must_use]
pub fn house(rows: u16) -> Played {
    let row =
        |n: u16| [230.0 + f64::from(n) / 4.0, 5.0 + f64::from(n) / 8.0].map(|v| v.to_string());
    let rows = (0..rows).map(|n| row(n).to_vec()).collect();
    let recording = Recording { model: &meters::SDM630, columns: vec!["u_a", "i_a"], rows };
    Played { id: "house-1", role: "other", recording }
}

/// The works, all running unless a test has stopped a part.
#[derive(Debug)]
pub struct Works<B = Mosquitto> {
    /// The broker.
    pub broker: B,
    /// The centre.
    pub centre: Centre,
    /// The gateway.
    pub gateway: Gateway,
    /// The gateway's key, in hex.
    pub key: String,
    /// What the devices gave.
    pub replay: Arc<Replay>,
    ids: Vec<&'static str>,
    _devices: Vec<Server>,
    _folder: TempDir,
}

impl Works<Mosquitto> {
    /// Prepares everything; only the broker and the devices run.
    ///
    /// # Errors
    /// When a part cannot be prepared.
    pub async fn prepare(store: &Store, played: Vec<Played>) -> Result<Works> {
        let broker = Mosquitto::start().await?;
        let port = broker.port;
        Works::prepare_on(broker, port, store, played).await
    }

    /// Prepares and starts everything, and signs in.
    ///
    /// # Errors
    /// When a part cannot be started.
    pub async fn start(store: &Store, played: Vec<Played>) -> Result<Works> {
        let mut works = Works::prepare(store, played).await?;
        works.start_all().await?;
        Ok(works)
    }
}

impl<B> Works<B> {
    /// Prepares everything on a broker that runs at `port`.
    ///
    /// # Errors
    /// When a part cannot be prepared.
    pub async fn prepare_on(
        broker: B,
        port: u16,
        store: &Store,
        played: Vec<Played>,
    ) -> Result<Works<B>> {
        let folder = TempDir::new()?;
        let address = format!("127.0.0.1:{port}");
        let registry = registry(&played);
        let ids: Vec<_> = played.iter().map(|p| p.id).collect();
        let models: Vec<_> = played.iter().map(|p| p.recording.model).collect();
        let recordings = played.into_iter().map(|p| p.recording).collect();
        let replay = Arc::new(Replay::new(recordings)?);
        let (mut devices, mut buses) = (Vec::new(), Vec::new());
        for ((id, model), unit) in ids.iter().zip(models).zip(1u8..) {
            let units = Arc::clone(&replay) as _;
            let device = Server::start(([127, 0, 0, 1], 0).into(), units).await?;
            buses.push((device.address.to_string(), vec![Unit { id, unit, model }]));
            devices.push(device);
        }
        let centre = Centre::prepare(folder.path(), &address, store, &registry)?;
        let key = centre.add_gateway(GATEWAY, SITE)?;
        let file = GatewayFile {
            name: GATEWAY,
            site: SITE,
            key: &key,
            spool_dir: folder.path().join("spool"),
            broker: address,
            status_port: free_port()?,
            period_ms: PERIOD_MS,
            timeout_ms: 1000,
        };
        let text = file.text(&buses)?;
        let gateway = Gateway::prepare(folder.path(), GATEWAY, file.status_port, &text)?;
        Ok(Works { broker, centre, gateway, key, replay, ids, _devices: devices, _folder: folder })
    }

    /// Gives both programs a name and a password at the broker on `port`: the gateway's name there is its own.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn sign_in_at_broker(&self, port: u16, centre: (&str, &str), gateway: &str) -> Result<()> {
        let url = format!("url = \"mqtt://127.0.0.1:{port}\"");
        let (user, password) = centre;
        std::fs::write(self.centre.folder.join("broker.password"), password)?;
        let signed = format!("{url}\nuser = {user:?}\npassword_file = \"broker.password\"");
        edit(&self.centre.folder.join("ingest.toml"), &url, &signed)?;
        let secret = self.gateway.folder.join("broker.password");
        std::fs::write(&secret, gateway)?;
        let signed = format!("{url}\nuser = {GATEWAY:?}\npassword_file = {secret:?}");
        edit(&self.gateway.folder.join("gateway.toml"), &url, &signed)
    }

    /// Waits until the centre's own test alarm has passed through everything.
    pub async fn until_ready(&self) {
        wait_for("a ready centre", Duration::from_secs(60), || async {
            let ready = self.centre.health("/readyz").await.map_err(|e| format!("{e:#}"))?;
            let is_ready = ready.0 == 200;
            if is_ready { Ok(()) } else { Err(format!("{ready:?}; {}", self.centre.output())) }
        })
        .await;
    }

    /// Starts centre and gateway, and signs in.
    ///
    /// # Errors
    /// When one cannot be started.
    pub async fn start_all(&mut self) -> Result<()> {
        self.centre.start().await?;
        self.centre.sign_in().await?;
        self.gateway.start()
    }

    /// Waits until `look` of the gateway's own account is as wished.
    pub async fn until_gateway(&self, what: &str, look: impl Fn(&dyn Fn(&str) -> f64) -> bool) {
        wait_for(what, Duration::from_secs(30), || async {
            let metrics = self.gateway.metrics().await.map_err(|e| e.to_string())?;
            let value = |name: &str| metrics.get(name).copied().unwrap_or(f64::NAN);
            if look(&value) {
                Ok(())
            } else {
                Err(format!("{metrics:#?}\n{}", self.gateway.output()))
            }
        })
        .await;
    }

    /// Waits until the gateway's page for people says `words`.
    pub async fn until_page(&self, words: &str) {
        wait_for(words, Duration::from_secs(30), || async {
            let page = self.gateway.page("/").await.map_err(|e| e.to_string())?;
            if page.contains(words) { Ok(()) } else { Err(page) }
        })
        .await;
    }

    /// Waits until the centre shows a notice of this code whose English words hold `words`.
    pub async fn until_notice(&self, code: &str, words: &str) {
        wait_for(&format!("notice {code}"), Duration::from_secs(40), || async {
            let notices = self.centre.notices().await.map_err(|e| e.to_string())?;
            let said = notices.get(code).is_some_and(|text| text.contains(words));
            if said { Ok(()) } else { Err(format!("{notices:#?}")) }
        })
        .await;
    }

    /// Waits until the recordings are played to their end, and checks that every answer that a device gave is stored
    /// exactly once, unchanged, and nothing else.
    pub async fn everything_is_stored_once(&self) {
        self.everything_is_stored_once_after(0).await;
    }

    /// The same, of all answers but the first ones.
    pub async fn everything_is_stored_once_after(&self, answers: usize) {
        wait_for("the recordings to be read whole", Duration::from_secs(60), || async {
            match self.replay.left() {
                0 => Ok(()),
                left => Err(format!("{left} rows are left; {}", self.gateway.output())),
            }
        })
        .await;
        let given = self.replay.given().split_off(answers);
        for (id, unit) in self.ids.iter().zip(1u8..) {
            let of_unit: Vec<_> = given.iter().filter(|g| g.unit == unit).collect();
            let mut quantities: Vec<_> = of_unit.iter().map(|g| g.quantity).collect();
            quantities.sort_unstable();
            quantities.dedup();
            assert!(!quantities.is_empty(), "{id} was never read");
            for quantity in quantities {
                let wanted: Vec<_> =
                    of_unit.iter().copied().filter(|g| g.quantity == quantity).collect();
                self.series_is(id, quantity, &wanted).await;
            }
        }
    }

    async fn series_is(&self, id: &str, quantity: &str, wanted: &[&Given]) {
        let what = format!("{} samples of {id}.{quantity}", wanted.len());
        let stored = wait_for(&what, Duration::from_secs(40), || async {
            let stored = self.centre.samples(SITE, id, quantity).await;
            let stored = stored.map_err(|e| format!("{e:#}"))?;
            if stored.len() < wanted.len() {
                return Err(format!("{}; centre: {}", stored.len(), self.centre.output()));
            }
            Ok(stored)
        })
        .await;
        assert_eq!(stored.len(), wanted.len(), "{id}.{quantity}: stored against given");
        for (given, (t, value)) in wanted.iter().zip(&stored) {
            let text: f64 = given.text.parse().expect("a number in the recording");
            let same = value.to_bits() == text.to_bits() && (t - given.at_ms).abs() < TOLERANCE_MS;
            assert!(same, "{id}.{quantity}: stored {value} at {t}, given {given:?}");
        }
    }
}

/// Changes a text of a configuration file.
///
/// # Errors
/// When the file does not hold it.
pub fn edit(file: &Path, from: &str, to: &str) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    ensure!(text.contains(from), "{} has no {from}", file.display());
    Ok(std::fs::write(file, text.replace(from, to))?)
}

fn registry(played: &[Played]) -> String {
    let mut text = format!(
        "[[site]]\nid = {SITE:?}\nname = \"示例厂\"\nuscc = \"91533401MA6N801A0Q\"\ncounty = \"533401\"\n\
         sectors = [\"危化\"]\nzone = \"Asia/Shanghai\"\n\n[[site.gateway]]\nname = {GATEWAY:?}\n\n"
    );
    for device in played {
        let points = device.recording.columns.iter();
        let points: Vec<_> =
            points.map(|q| format!("{{ quantity = {q:?}, period_ms = 1000 }}")).collect();
        text.push_str(&format!(
            "[[site.device]]\nid = {:?}\nname = {:?}\nrole = {:?}\ngateway = {GATEWAY:?}\npoints = [{}]\n\n",
            device.id,
            device.id,
            device.role,
            points.join(", ")
        ));
    }
    text
}

//! The works of the fault tests: devices, a gateway with fail points, a broker, the centre with fail points, its store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ingest::log::record::kind;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tempfile::TempDir;

use super::clock::Wall;
use super::disk::Disk;
use super::door::DoorWay;
use super::field::{FIRST_TANK, Field, METERS, TANKS, now_ms};
use super::mirror::Mirror;
use super::stranger::{self, Stranger};
use crate::harness::davy::{Centre, Gateway, Store};
use crate::harness::influx::Influx;
use crate::harness::modbus::Server;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::free_port;
use crate::harness::proxy::Proxy;
use crate::harness::site::{GatewayFile, Unit};
use crate::harness::wait::wait_for;
use crate::harness::works::edit;
use crate::meters::{LEVEL, SDM630};

/// The site.
pub const SITE: &str = "works";
/// Its gateway.
pub const GATEWAY: &str = "works-gw1";
/// Poll period of every point, ms.
const PERIOD_MS: u32 = 200;
/// Time-out of a request, ms.
const TIMEOUT_MS: u32 = 500;
/// Hand-overs after which the embedded store seals, so that a round sees some.
const SEAL_SEGMENTS: &str = "30";
/// The centre's disk, MiB: its log keeps 256 MiB free.
const CENTRE_DISK_MIB: u32 = 400;
/// The gateway's disk, MiB.
const SPOOL_DISK_MIB: u32 = 12;
/// How long ago the stranger's history begins, ms: yesterday, and nothing of it may page.
const YESTERDAY_MS: i64 = 26 * 3_600_000;

/// What a world has beyond the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// InfluxDB behind a door in place of the embedded store.
    pub influx: bool,
    /// Small disks under the centre and the spool.
    pub disks: bool,
    /// Clocks that can be set.
    pub clocks: bool,
}

/// The database with the door before it.
#[derive(Debug)]
pub struct Database {
    /// The server.
    pub influx: Influx,
    /// The way to it.
    pub door: DoorWay,
}

/// Everything, running unless a test has stopped a part.
#[derive(Debug)]
pub struct World {
    /// What it has.
    pub needs: Needs,
    /// The broker.
    pub broker: Mosquitto,
    /// The centre.
    pub centre: Centre,
    /// The gateway.
    pub gateway: Gateway,
    /// Folder of its spool.
    pub spool_dir: PathBuf,
    /// Between gateway and broker.
    pub link: Proxy,
    /// Who repeats frames.
    pub mirror: Mirror,
    /// Who sends history.
    pub stranger: Stranger,
    /// InfluxDB, where it is the store.
    pub database: Option<Database>,
    /// The devices.
    pub field: Arc<Field>,
    /// When the gateway was killed, ms: what it had not committed then is lost.
    pub kills: Vec<i64>,
    /// The small disks, centre and spool.
    pub disks: Option<(Disk, Disk)>,
    /// The clocks, centre and gateway.
    pub clocks: Option<(Wall, Wall)>,
    /// True once a clock was set: order by time says nothing any more.
    pub clock_was_set: bool,
    _devices: Server,
    /// Folder of everything.
    pub folder: TempDir,
}

impl World {
    /// Prepares and starts everything.
    ///
    /// # Errors
    /// When a part cannot be started.
    pub async fn start(needs: Needs) -> Result<World> {
        let folder = TempDir::new()?;
        let disks = if needs.disks {
            let centre = Disk::mount(&folder.path().join("centre/data"), CENTRE_DISK_MIB)?;
            Some((centre, Disk::mount(&folder.path().join("spool"), SPOOL_DISK_MIB)?))
        } else {
            None
        };
        let broker = Mosquitto::start().await?;
        let database = if needs.influx {
            let influx = Influx::start().await?;
            let door = DoorWay::start(([127, 0, 0, 1], influx.port).into()).await?;
            Some(Database { influx, door })
        } else {
            None
        };
        let store = database
            .as_ref()
            .map_or(Store::Embedded, |d| Store::Influx(format!("http://{}", d.door.address)));
        let link = Proxy::start(([127, 0, 0, 1], broker.port).into()).await?;
        let field = Arc::new(Field::default());
        let units = Arc::clone(&field) as _;
        let devices = Server::start(([127, 0, 0, 1], 0).into(), units).await?;
        let address = format!("127.0.0.1:{}", broker.port);
        let mut centre = Centre::prepare(folder.path(), &address, &store, &registry())?;
        let key = centre.add_gateway(GATEWAY, SITE)?;
        let strangers = centre.add_gateway(stranger::NAME, SITE)?;
        let spool_dir = folder.path().join("spool");
        let file = GatewayFile {
            name: GATEWAY,
            site: SITE,
            key: &key,
            spool_dir: spool_dir.clone(),
            broker: link.address.to_string(),
            status_port: free_port()?,
            period_ms: PERIOD_MS,
            timeout_ms: TIMEOUT_MS,
        };
        let meters = METERS.iter().zip(1u8..).map(|(id, unit)| Unit { id, unit, model: &SDM630 });
        let tanks =
            TANKS.iter().zip(FIRST_TANK..).map(|(id, unit)| Unit { id, unit, model: &LEVEL });
        let text = file.text(&[(devices.address.to_string(), meters.chain(tanks).collect())])?;
        let mut gateway = Gateway::prepare(folder.path(), GATEWAY, file.status_port, &text)?;
        if needs.disks {
            edit(&gateway.folder.join("gateway.toml"), "keep_free_mb = 0", "keep_free_mb = 1")?;
        }
        centre.dress.failpoints = true;
        gateway.dress.failpoints = true;
        centre.dress.env.push(("DAVY_SEAL_SEGMENTS".to_owned(), SEAL_SEGMENTS.to_owned()));
        for (dress, name) in [(&mut centre.dress, "centre"), (&mut gateway.dress, "gateway")] {
            let at =
                |kind: &str| folder.path().join(format!("{name}.{kind}")).display().to_string();
            dress.env.push(("DAVY_FAIL_FILE".to_owned(), at("orders")));
            dress.env.push(("DAVY_FAIL_HITS".to_owned(), at("hits")));
            dress.env.push(("DAVY_FAIL_SEEN".to_owned(), at("seen")));
        }
        let clocks = if needs.clocks {
            let (of_centre, env) = Wall::new(folder.path(), "centre")?;
            centre.dress.env.extend(env);
            let (of_gateway, env) = Wall::new(folder.path(), "gateway")?;
            gateway.dress.env.extend(env);
            Some((of_centre, of_gateway))
        } else {
            None
        };
        let mut random = SmallRng::seed_from_u64(now_ms().unsigned_abs());
        let stranger = Stranger::new(&strangers, now_ms() - YESTERDAY_MS, &mut random)?;
        let mirror = Mirror::start(broker.port);
        let mut world = World {
            needs,
            broker,
            centre,
            gateway,
            spool_dir,
            link,
            mirror,
            stranger,
            database,
            field,
            kills: Vec::new(),
            disks,
            clocks,
            clock_was_set: false,
            _devices: devices,
            folder,
        };
        world.centre.start().await?;
        world.centre.sign_in().await?;
        world.gateway.start()?;
        Ok(world)
    }

    /// Gives orders to a program's fail points: `""` takes them back.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn order(&self, who: &str, orders: &str) -> Result<()> {
        let path = self.folder.path().join(format!("{who}.orders"));
        let new = path.with_extension("new");
        std::fs::write(&new, orders)?;
        Ok(std::fs::rename(new, path)?)
    }

    /// Orders that were carried out so far.
    #[must_use]
    pub fn hits(&self, who: &str) -> usize {
        let text = std::fs::read_to_string(self.folder.path().join(format!("{who}.hits")));
        text.map_or(0, |t| t.lines().count())
    }

    /// SIGKILL to the gateway, noted for the account.
    pub fn kill_gateway(&mut self) {
        self.gateway.kill();
        self.kills.push(now_ms());
    }

    /// Waits until the newest number given out by now is stored.
    pub async fn flows(&self) {
        let now = now_ms();
        wait_for("the newest number to be stored", Duration::from_secs(60), || async {
            let Some(wanted) = self.field.newest(0).filter(|g| g.at_ms >= now) else {
                return Err(format!(
                    "no answer since {now}; gateway: {}",
                    tail(&self.gateway.output())
                ));
            };
            let stored = self.stored(METERS[0], "ep_imp", wanted.at_ms - 10_000).await?;
            let newest = stored.iter().map(|(_, n)| *n).fold(0.0, f64::max);
            if newest >= f64::from(wanted.n) {
                Ok(())
            } else {
                Err(format!(
                    "newest {newest}, wanted {}; centre: {}",
                    wanted.n,
                    tail(&self.centre.output())
                ))
            }
        })
        .await;
    }

    /// Stored samples of a series from `from` (ms) on.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn stored(
        &self,
        device: &str,
        quantity: &str,
        from: i64,
    ) -> Result<Vec<(i64, f64)>, String> {
        self.centre.samples_from(SITE, device, quantity, from).await.map_err(|e| format!("{e:#}"))
    }

    /// Starts of gateways that the log holds blocks of and no place in the order; 0 where it had to evict, which takes the
    /// places too.
    fn undecided(&self) -> Result<i64> {
        let log = read_only(&self.centre.folder.join("data/log/log.db"))?;
        if has_evicted(&log)? {
            return Ok(0);
        }
        let sql = "SELECT count(*) FROM (SELECT gateway, epoch FROM record WHERE kind = ?1 \
                   EXCEPT SELECT gateway, epoch FROM record WHERE kind = ?2)";
        Ok(log.query_row(sql, [kind::BLOCK, kind::CHAIN], |r| r.get(0))?)
    }

    /// The state database's file.
    #[must_use]
    pub fn state_file(&self) -> PathBuf {
        self.centre.folder.join("data/state.db")
    }

    /// Waits until both cursors have taken what the log holds, and every start of a gateway has its place in the order
    /// that is judged.
    pub async fn caught_up(&self) {
        wait_for("both cursors to reach the log's end", Duration::from_secs(60), || async {
            let undecided = self.undecided().map_err(|e| format!("{e:#}"))?;
            if undecided > 0 {
                return Err(format!(
                    "{undecided} start(s) of gateways without a place in the order"
                ));
            }
            let system = self.centre.get("/system").await.map_err(|e| format!("{e:#}"))?;
            let lag = |name: &str| system["log"][name].as_u64().unwrap_or(u64::MAX);
            let (evaluator, store) = (lag("evaluator_lag"), lag("store_lag"));
            if evaluator <= 1 && store <= 1 {
                Ok(())
            } else {
                Err(format!(
                    "evaluator {evaluator}, store {store} behind; {}",
                    tail(&self.centre.output())
                ))
            }
        })
        .await;
    }
}

/// The last lines of an output.
#[must_use]
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn registry() -> String {
    let mut text = format!(
        "[[site]]\nid = {SITE:?}\nname = \"示例厂\"\nuscc = \"91533401MA6N801A0Q\"\ncounty = \"533401\"\n\
         sectors = [\"危化\"]\nzone = \"Asia/Shanghai\"\n\n[[site.gateway]]\nname = {GATEWAY:?}\n\n\
         [[site.gateway]]\nname = {:?}\n\n",
        stranger::NAME
    );
    let meter = "points = [{ quantity = \"ep_imp\", period_ms = 1000 }]";
    let tank = "ratings = { L = \"1 %\", LL = \"5 %\", span = \"100 %\" }\npoints = [{ quantity = \"level_pct\", period_ms = 1000 }]";
    let own = METERS.iter().map(|id| (*id, "other", GATEWAY, meter));
    let tanks = TANKS.iter().map(|id| (*id, "tank", GATEWAY, tank));
    let others = [(stranger::DEVICE, "tank", stranger::NAME, tank)];
    for (id, role, gateway, rest) in own.chain(tanks).chain(others) {
        text.push_str(&format!(
            "[[site.device]]\nid = {id:?}\nname = {id:?}\nrole = {role:?}\ngateway = {gateway:?}\n{rest}\n\n"
        ));
    }
    // Every dip is an episode of its own, seen at its first sample.
    for parameter in ["on", "off"] {
        text.push_str(&format!(
            "[[site.override]]\nrule = \"R24l\"\nparameter = {parameter:?}\nvalue = 0\n\n"
        ));
    }
    text
}

/// Opens a database of a stopped program for reading.
///
/// # Errors
/// When it cannot be opened.
pub fn read_only(path: &std::path::Path) -> Result<rusqlite::Connection> {
    rusqlite::Connection::open(path).with_context(|| path.display().to_string())
}

/// Whether a log had to let go of records. Starts of the centre are kept for ever, so the first record alone says nothing.
///
/// # Errors
/// When it cannot be read.
pub fn has_evicted(log: &rusqlite::Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT coalesce(max(position), 0) > count(*) FROM record";
    log.query_row(sql, [], |r| r.get(0))
}

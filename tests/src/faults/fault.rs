//! What can go wrong, how it is drawn from a seed, and how it is put in. After each the parts run again.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rusqlite::Connection;

use super::door::Door;
use super::field::now_ms;
use super::points::{Of, POINTS, Point, Way};
use super::world::{Needs, World, tail};
use crate::harness::process::failpoint_binary;
use crate::harness::wait::wait_for;

/// How long a point that data passes by itself may take to be passed.
const PASSED_WITHIN: Duration = Duration::from_secs(20);
/// Points that data passes by itself, but not each second.
const SELDOM: [&str; 3] = ["house.before", "state.duty", "state.page"];
/// Statuses that the door answers for the database.
const STATUSES: [u16; 9] = [400, 413, 422, 429, 500, 503, 502, 401, 404];

/// One fault.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// SIGKILL of a program at the nth passage of a point.
    Point(Point, u64),
    /// SIGKILL of the centre at any moment.
    KillCentre,
    /// SIGKILL of the gateway at any moment.
    KillGateway,
    /// The broker is killed, perhaps with all that it had written, and away for some ms.
    Broker {
        /// Its files go too.
        wiped: bool,
        /// How long it is away, ms.
        away_ms: u64,
    },
    /// The broker stands still for some ms.
    BrokerFrozen(u64),
    /// The gateway's link is cut for some ms.
    Link(u64),
    /// influxd is killed and away for some ms.
    InfluxAway(u64),
    /// influxd stands still for some ms.
    InfluxFrozen(u64),
    /// Every write takes this long, ms, for a while.
    InfluxSlow(u64),
    /// Something answers in place of influxd for some ms.
    InfluxAnswers {
        /// Status.
        status: u16,
        /// `Retry-After`, s.
        retry_after: Option<u32>,
        /// For how long, ms.
        for_ms: u64,
    },
    /// influxd takes what is written, its answers are lost, for some ms.
    InfluxSwallows(u64),
    /// The log refuses to be written for some ms.
    LogFails(u64),
    /// The centre's disk has so many bytes left, for some ms.
    CentreDisk {
        /// Bytes left.
        left: u64,
        /// For how long, ms.
        for_ms: u64,
    },
    /// The gateway's disk has so many bytes left, for some ms.
    SpoolDisk {
        /// Bytes left.
        left: u64,
        /// For how long, ms.
        for_ms: u64,
    },
    /// Every frame goes out twice for some ms.
    Twice(u64),
    /// Frames of the last minutes come again in any order.
    Again,
    /// A gateway sends yesterday, shuffled and twice.
    Yesterday(u64),
    /// A gateway sends a block from the future and one that contradicts its manifest.
    Nonsense,
    /// A clock is set by so many s, and back after some ms.
    Clock {
        /// The centre's, else the gateway's.
        centre: bool,
        /// By how much, s.
        by_s: i64,
        /// For how long, ms.
        for_ms: u64,
    },
    /// A second centre is started on the same data.
    SecondProcess,
    /// A second centre with data of its own takes the same partition for some ms.
    SecondCentre(u64),
}

impl Fault {
    /// The row of the report that it counts in.
    #[must_use]
    pub fn row(&self) -> String {
        match self {
            Fault::Point(point, _) => format!("kill at {}", point.name),
            Fault::KillCentre => "kill centre".to_owned(),
            Fault::KillGateway => "kill gateway".to_owned(),
            Fault::Broker { wiped: true, .. } => "broker killed and wiped".to_owned(),
            Fault::Broker { .. } => "broker killed".to_owned(),
            Fault::BrokerFrozen(_) => "broker frozen".to_owned(),
            Fault::Link(_) => "link cut".to_owned(),
            Fault::InfluxAway(_) => "influxd killed".to_owned(),
            Fault::InfluxFrozen(_) => "influxd frozen".to_owned(),
            Fault::InfluxSlow(_) => "influxd slow".to_owned(),
            Fault::InfluxAnswers { status, .. } => format!("influxd answers {status}"),
            Fault::InfluxSwallows(_) => "influxd's answer lost after it applied".to_owned(),
            Fault::LogFails(_) => "log refuses writes".to_owned(),
            Fault::CentreDisk { .. } => "centre's disk full".to_owned(),
            Fault::SpoolDisk { .. } => "gateway's disk full".to_owned(),
            Fault::Twice(_) => "every frame twice".to_owned(),
            Fault::Again => "old frames again, shuffled".to_owned(),
            Fault::Yesterday(_) => "yesterday, shuffled, twice".to_owned(),
            Fault::Nonsense => "blocks from the future, and wrong ones".to_owned(),
            Fault::Clock { centre: true, .. } => "centre's clock set".to_owned(),
            Fault::Clock { .. } => "gateway's clock set".to_owned(),
            Fault::SecondProcess => "second centre, same data".to_owned(),
            Fault::SecondCentre(_) => "second centre, same partition".to_owned(),
        }
    }

    /// Draws one that a world with these needs can suffer.
    pub fn draw(needs: Needs, random: &mut SmallRng) -> Fault {
        let ms = random.random_range(200..1_500);
        if needs.clocks && random.random_bool(0.4) {
            let by_s = [-3_600, 3_600, -90, 90][random.random_range(0..4)];
            return Fault::Clock { centre: random.random(), by_s, for_ms: 2_000 + ms };
        }
        if needs.disks && random.random_bool(0.4) {
            // Above the reserve of the centre (256 MiB) and of the gateway (1 MiB) nothing happens; at 0 SQLite fails.
            return if random.random() {
                let left = [0, 16 << 10, 255 << 20][random.random_range(0..3)];
                Fault::CentreDisk { left, for_ms: ms }
            } else {
                let left = [0, 16 << 10, 900 << 10][random.random_range(0..3)];
                Fault::SpoolDisk { left, for_ms: ms }
            };
        }
        if needs.influx && random.random_bool(0.35) {
            return match random.random_range(0..6) {
                0 => Fault::InfluxAway(ms),
                1 => Fault::InfluxFrozen(ms),
                2 => Fault::InfluxSlow(300 + ms / 2),
                3 => Fault::InfluxSwallows(ms),
                _ => Fault::InfluxAnswers {
                    status: *STATUSES.choose(random).unwrap_or(&503),
                    retry_after: random.random_bool(0.5).then_some(1),
                    for_ms: ms,
                },
            };
        }
        match random.random_range(0..100) {
            0..45 => {
                let point = draw_point(needs, random);
                let is_often = point.way == Way::Flow && !SELDOM.contains(&point.name);
                let nth = if is_often { random.random_range(1..=4) } else { 1 };
                Fault::Point(point, nth)
            }
            45..53 => Fault::KillCentre,
            53..61 => Fault::KillGateway,
            61..66 => Fault::Broker { wiped: false, away_ms: ms },
            66..71 => Fault::Broker { wiped: true, away_ms: ms },
            71..74 => Fault::BrokerFrozen(ms),
            74..79 => Fault::Link(ms),
            79..83 => Fault::LogFails(ms),
            83..87 => Fault::Twice(ms),
            87..91 => Fault::Again,
            91..95 => Fault::Yesterday(random.random_range(4..20)),
            95..97 => Fault::Nonsense,
            97..98 => Fault::SecondProcess,
            _ => Fault::SecondCentre(1_000 + ms),
        }
    }

    /// Puts it in; when this returns everything is started again, though perhaps not caught up.
    ///
    /// # Errors
    /// Where it could not be put in, or a program did not do what it must.
    pub async fn put_in(&self, world: &mut World, random: &mut SmallRng) -> Result<()> {
        match self {
            Fault::Point(point, nth) => at_point(world, *point, *nth, random).await,
            Fault::KillCentre => {
                world.centre.kill();
                world.centre.start().await
            }
            Fault::KillGateway => {
                world.kill_gateway();
                world.gateway.start()
            }
            Fault::Broker { wiped, away_ms } => {
                world.broker.kill();
                if *wiped {
                    world.broker.wipe()?;
                }
                pass(*away_ms).await;
                world.broker.resume().await
            }
            Fault::BrokerFrozen(ms) => {
                world.broker.signal("STOP")?;
                pass(*ms).await;
                world.broker.signal("CONT")
            }
            Fault::Link(ms) => {
                world.link.cut();
                pass(*ms).await;
                world.link.mend();
                Ok(())
            }
            Fault::LogFails(ms) => {
                let hits = world.hits("centre");
                world.order("centre", "log.commit.in:1+:error")?;
                pass(*ms).await;
                world.order("centre", "")?;
                ensure!(world.hits("centre") > hits, "the log was never written");
                Ok(())
            }
            Fault::Twice(ms) => {
                world.mirror.doubles(true);
                pass(*ms).await;
                world.mirror.doubles(false);
                Ok(())
            }
            Fault::Again => world.mirror.again(500, random).map(drop),
            Fault::Yesterday(blocks) => {
                world.stranger.history(world.broker.port, *blocks, random).await
            }
            Fault::Nonsense => world.stranger.nonsense(world.broker.port, now_ms(), random).await,
            Fault::SecondProcess => tokio::task::block_in_place(|| second_process(world)),
            Fault::SecondCentre(ms) => second_centre(world, *ms).await,
            Fault::Clock { centre, by_s, for_ms } => {
                world.clock_was_set = true;
                let clocks = world.clocks.as_ref().context("this world's clocks cannot be set")?;
                let clock = if *centre { &clocks.0 } else { &clocks.1 };
                clock.set(*by_s)?;
                pass(*for_ms).await;
                clock.set(0)
            }
            Fault::CentreDisk { left, for_ms } => {
                let (disk, _) = world.disks.as_ref().context("this world has no small disks")?;
                disk.fill(*left)?;
                pass(*for_ms).await;
                disk.free()
            }
            Fault::SpoolDisk { left, for_ms } => {
                let (_, disk) = world.disks.as_ref().context("this world has no small disks")?;
                disk.fill(*left)?;
                pass(*for_ms).await;
                disk.free()
            }
            _ => self.put_in_store(world).await,
        }
    }

    async fn put_in_store(&self, world: &mut World) -> Result<()> {
        let database = world.database.as_mut().context("this world has no InfluxDB")?;
        let (influx, door) = (&mut database.influx, &database.door);
        match self {
            Fault::InfluxAway(ms) => {
                influx.kill();
                pass(*ms).await;
                influx.resume().await
            }
            Fault::InfluxFrozen(ms) => {
                influx.signal("STOP")?;
                pass(*ms).await;
                influx.signal("CONT")
            }
            Fault::InfluxSlow(ms) => {
                through(door, Door::Slow(Duration::from_millis(*ms)), 2 * ms).await
            }
            Fault::InfluxAnswers { status, retry_after, for_ms } => {
                let answers = Door::Answers { status: *status, retry_after: *retry_after };
                through(door, answers, *for_ms).await
            }
            Fault::InfluxSwallows(ms) => through(door, Door::Swallows, *ms).await,
            other => anyhow::bail!("{other} is no fault of a store"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Point(point, nth) => write!(f, "kill at {} ({nth})", point.name),
            other => write!(f, "{other:?}"),
        }
    }
}

async fn through(door: &super::door::DoorWay, fault: Door, ms: u64) -> Result<()> {
    door.set(fault);
    pass(ms).await;
    // A fault that no write met was not put in.
    wait_for("a write to meet the door", PASSED_WITHIN, || async {
        if door.met() > 0 { Ok(()) } else { Err("none yet".to_owned()) }
    })
    .await;
    door.set(Door::Open);
    Ok(())
}

/// Lets time pass: the fault's own duration.
async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Whether a world can pass a point.
#[must_use]
pub fn is_in(point: &Point, needs: Needs) -> bool {
    match point.of {
        Of::Centre | Of::Gateway => {}
        Of::Embedded if needs.influx => return false,
        Of::Influx if !needs.influx => return false,
        Of::Embedded | Of::Influx => {}
    }
    point.of != Of::Gateway || point.way != Way::Full || needs.disks
}

fn draw_point(needs: Needs, random: &mut SmallRng) -> Point {
    let all: Vec<&Point> = POINTS.iter().filter(|p| is_in(p, needs)).collect();
    **all.choose(random).unwrap_or(&&POINTS[0])
}

/// Kills a program at a point, and starts it again.
async fn at_point(world: &mut World, point: Point, nth: u64, random: &mut SmallRng) -> Result<()> {
    let who = if point.of == Of::Gateway { "gateway" } else { "centre" };
    let hits = world.hits(who);
    let order = format!("{}:{nth}:kill", point.name);
    match (who, point.way) {
        ("gateway", Way::NewLog) => {
            world.order(who, &order)?;
            world.centre.kill();
            world.centre.start().await?;
        }
        ("gateway", Way::Restart) => {
            // It begins by reading its orders: the first passage is meant.
            world.kill_gateway();
            if point.name == "spool.manifest" {
                // A manifest that is known is not put again.
                clear_manifests(&world.spool_dir)?;
            }
            world.order(who, &order)?;
            world.gateway.start()?;
        }
        ("gateway", Way::Stop) => {
            world.order(who, &order)?;
            armed().await;
            world.gateway.signal("TERM")?;
        }
        ("gateway", Way::Full) => {
            world.order(who, &order)?;
            world.disks.as_ref().context("small disks")?.1.fill(900 << 10)?;
        }
        (_, Way::Restart) => {
            world.centre.kill();
            world.order(who, &order)?;
            world.centre.spawn()?;
        }
        (_, Way::Damage) => {
            world.centre.kill();
            std::fs::write(world.centre.folder.join("data/log/log.db.suspect"), "")?;
            world.order(who, &order)?;
            world.centre.spawn()?;
        }
        (_, Way::Stop) => {
            world.order(who, &order)?;
            armed().await;
            world.centre.signal("TERM")?;
        }
        (_, Way::Full) => {
            // It lets go only of what is older than the second-newest snapshot: two starts take two.
            for _ in 0..2 {
                world.flows().await;
                world.centre.stop().await?;
                world.centre.start().await?;
            }
            world.flows().await;
            world.order(who, &format!("log.commit.in:1+:error,{order}"))?;
        }
        (_, way) => {
            world.order(who, &order)?;
            armed().await;
            match way {
                Way::Reconnect => {
                    world.link.cut();
                    pass(50).await;
                    world.link.mend();
                }
                Way::Twice => world.mirror.doubles(true),
                Way::NewEpoch => {
                    world.kill_gateway();
                    world.gateway.start()?;
                }
                Way::Nonsense => {
                    world.stranger.nonsense(world.broker.port, now_ms(), random).await?;
                }
                // It is acked only after the centre is started again, below.
                Way::Stranger => world.stranger.unknown(world.broker.port, random).await?,
                _ => {}
            }
        }
    }
    let died = died(world, who).await;
    world.order(who, "")?;
    world.mirror.doubles(false);
    if let Some((_, disk)) = &world.disks {
        disk.free()?;
    }
    if who == "gateway" {
        world.kills.push(now_ms());
        died?;
        world.gateway.start()?;
    } else {
        died?;
        world.centre.start().await?;
    }
    ensure!(world.hits(who) > hits, "{who} ended without an order at {}", point.name);
    Ok(())
}

/// Time for a running program to read its orders: it looks every 10 ms.
async fn armed() {
    pass(50).await;
}

async fn died(world: &mut World, who: &str) -> Result<()> {
    let end = tokio::time::Instant::now() + PASSED_WITHIN;
    loop {
        let lives =
            if who == "gateway" { world.gateway.is_running() } else { world.centre.is_running() };
        if !lives {
            return Ok(());
        }
        let output = if who == "gateway" { world.gateway.output() } else { world.centre.output() };
        ensure!(
            tokio::time::Instant::now() < end,
            "the point was never passed; {who}: {}",
            tail(&output)
        );
        pass(20).await;
    }
}

/// Forgets the manifests that no block on the disk needs, as a long stop with a new configuration would.
fn clear_manifests(spool: &std::path::Path) -> Result<()> {
    let file = Connection::open(spool.join("spool.db"))?;
    file.execute("UPDATE manifest SET key = randomblob(16) WHERE no > 0", [])?;
    Ok(())
}

/// The second process must end by itself, and say why; the first goes on.
fn second_process(world: &World) -> Result<()> {
    let program = failpoint_binary("davy-ingest")?;
    let folder = &world.centre.folder;
    let text = std::fs::read_to_string(folder.join("ingest.toml"))?;
    let other = format!("127.0.0.1:{}", crate::harness::process::free_port()?);
    let text = text.replace(&format!("127.0.0.1:{}", world.centre.port), &other);
    std::fs::write(folder.join("second.toml"), text)?;
    let args =
        ["10", &program.display().to_string(), "run", "--config", "second.toml"].map(str::to_owned);
    let ended = std::process::Command::new("timeout").args(args).current_dir(folder).output()?;
    let words = String::from_utf8_lossy(&ended.stderr);
    ensure!(
        ended.status.code() == Some(64) && words.contains("in use"),
        "a second process on the same data ended with {:?}: {words}",
        ended.status.code()
    );
    Ok(())
}

/// Another centre with the same keys and client id, and data of its own, takes part of the blocks; then it goes. The
/// gateway must bring the first one what only the second has.
async fn second_centre(world: &mut World, ms: u64) -> Result<()> {
    let folder = world.folder.path().join("second");
    std::fs::create_dir_all(folder.join("data"))?;
    let text = std::fs::read_to_string(world.centre.folder.join("ingest.toml"))?;
    let other = format!("127.0.0.1:{}", crate::harness::process::free_port()?);
    let text = text.replace(&format!("127.0.0.1:{}", world.centre.port), &other);
    // Its own store: the first one's database is not what is being tried.
    let (head, _) = text.split_once("[store]").context("[store] in the file")?;
    std::fs::write(folder.join("ingest.toml"), format!("{head}[store]\nkind = \"embedded\"\n"))?;
    let copy = folder.join("data/state.db");
    std::fs::remove_file(&copy).ok();
    Connection::open(world.state_file())?
        .execute("VACUUM INTO ?1", [copy.display().to_string()])?;
    let mut command = std::process::Command::new(failpoint_binary("davy-ingest")?);
    command.args(["run", "--config", "ingest.toml"]).current_dir(&folder);
    let mut second = crate::harness::process::Process::start_command("second", command, &folder)?;
    pass(ms).await;
    ensure!(second.is_running(), "the second centre ended: {}", tail(&second.output()));
    second.kill();
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

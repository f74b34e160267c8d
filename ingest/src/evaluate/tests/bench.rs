//! A log written by hand, and a cursor over it with a state database of its own.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rules::evaluator::Limits;
use rules::fact::{Fact, FactBody};
use rules::site::{Device, Point};
use rules::{Catalogue, SiteModel, Text};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::EntityTrait;
use sea_orm::sea_query::Expr;
use spool::{Log, LogOptions, NewRecord};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wire::block::{Body, Clock as BlockClock, ClockState};
use wire::columns::Builder;
use wire::manifest::{self, Manifest};
use wire::{Block, Boot, Epoch, GatewayName, Mark};

use super::super::{
    Board, CatalogueEngines, Centre, Cursor, Delivery, Listener, Said, Works, follower_of,
    verdict_journal_of,
};
use crate::alarms::AlarmChange;
use crate::clock::Clock;
use crate::log::lineage::LINEAGE_KEY;
use crate::log::record::{BlockMeta, CentreRecord, Decided, kind};
use crate::log::{Follower, Lineage, LogRecord, Progress, RecordBody, Shared};
use crate::receive::gateway::{Kept, key_of};
use crate::state::entity::progress::snapshot;
use crate::state::entity::registry::fact;
use crate::state::{State, to_body};

pub(super) const BASE: i64 = 1_767_225_600_000;
pub(super) const GATEWAY: &str = "gw-1";

/// A clock that stands where it is put.
#[derive(Debug, Default)]
pub(super) struct Hand(Mutex<i64>);

impl Clock for Hand {
    fn now_ms(&self) -> i64 {
        *self.0.lock().unwrap()
    }
}

#[derive(Debug, Default)]
struct Ears(Arc<Mutex<Vec<AlarmChange>>>);

impl Listener for Ears {
    fn changed(&mut self, changes: &[AlarmChange]) {
        self.0.lock().unwrap().extend_from_slice(changes);
    }
    fn noted(&mut self, _: &Said) {}
}

pub(super) struct Bench {
    pub(super) runtime: Runtime,
    pub(super) state: State,
    pub(super) log: Log,
    pub(super) clock: Arc<Hand>,
    pub(super) board: Arc<Board>,
    pub(super) progress: Arc<Progress>,
    lineage: Lineage,
    changes: Arc<Mutex<Vec<AlarmChange>>>,
    manifest: Manifest,
    starts: u64,
    kept: Kept,
    backup: Option<(PathBuf, Lineage)>,
    folder: TempDir,
}

/// A plant with one gas detector.
pub(super) fn plant() -> SiteModel {
    plant_of(&[("gas-1", GATEWAY)])
}

/// A plant with these gas detectors, each on its gateway.
pub(super) fn plant_of(detectors: &[(&str, &str)]) -> SiteModel {
    let device = |(id, gateway): &(&str, &str)| Device {
        id: (*id).to_owned(),
        role: "gas_detector".to_owned(),
        gateway: (*gateway).to_owned(),
        points: vec![Point { quantity: "gas_lel".to_owned(), period_ms: 1_000 }],
        ..Device::default()
    };
    SiteModel {
        site: "s1".to_owned(),
        name: Text::same("one"),
        utc_offset_min: 480,
        devices: detectors.iter().map(device).collect(),
        ..SiteModel::default()
    }
}

impl Bench {
    /// A log that has the start of the centre and the registry.
    pub(super) fn new() -> Self {
        let mut bench = Self::bare();
        let model = Box::new(plant());
        bench.fact("site:s1", 1, FactBody::Site { model });
        bench
    }

    /// A log that has nothing but the start of the centre.
    pub(super) fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let state = runtime.block_on(State::open(&folder.path().join("state.db"))).unwrap();
        let log = open_log(folder.path());
        let manifest = Manifest {
            gateway: GatewayName::new(GATEWAY).unwrap(),
            site: "s1".to_owned(),
            replies: vec![manifest::Reply {
                device: "gas-1".to_owned(),
                period_ms: 1_000,
                points: vec![manifest::Point {
                    quantity: "gas_lel".to_owned(),
                    unit: "%LEL".to_owned(),
                }],
                profile: "test".to_owned(),
                profile_version: "1".to_owned(),
            }],
            replaces: None,
        };
        let mut bench = Self {
            runtime,
            state,
            log,
            clock: Arc::default(),
            board: Arc::default(),
            progress: Arc::default(),
            lineage: Lineage::default(),
            changes: Arc::default(),
            manifest,
            starts: 0,
            kept: Kept::default(),
            backup: None,
            folder,
        };
        bench.start();
        bench
    }

    pub(super) fn reopen_state(&mut self) {
        let file = self.folder.path().join("state.db");
        self.state = self.runtime.block_on(State::open(&file)).unwrap();
    }

    /// Copies the state database as it is now.
    pub(super) fn back_up_state(&mut self) {
        self.runtime.block_on(self.state.clone().close()).unwrap();
        let file = self.folder.path().join("state.db");
        std::fs::copy(&file, file.with_extension("old")).unwrap();
        self.reopen_state();
    }

    /// Goes on with the copy.
    pub(super) fn restore_state(&mut self) {
        self.runtime.block_on(self.state.clone().close()).unwrap();
        let file = self.folder.path().join("state.db");
        std::fs::copy(file.with_extension("old"), &file).unwrap();
        self.reopen_state();
    }

    /// Where the state database and the log lie, as the service would name them.
    pub(super) fn paths(&self) -> crate::run::Paths {
        let root = self.folder.path().to_owned();
        let state = root.join("state.db");
        crate::run::Paths { log: root.clone(), store: root.join("store"), state, root }
    }

    /// Stands still while `work` goes on with the files.
    pub(super) fn stand_still<T>(&mut self, work: impl AsyncFnOnce(crate::run::Paths) -> T) -> T {
        self.runtime.block_on(self.state.clone().close()).unwrap();
        let other = tempfile::tempdir().unwrap();
        self.log = open_log(other.path());
        let done = self.runtime.block_on(work(self.paths()));
        self.log = open_log(self.folder.path());
        self.reopen_state();
        done
    }

    /// Goes on with a log whose starts are those of `lineage`.
    pub(super) fn start_after(&mut self, lineage: Lineage) {
        self.lineage = lineage;
        self.start();
    }

    /// Writes the starts into the log, as the service does.
    pub(super) fn keep_lineage(&mut self) {
        let mut txn = self.log.begin();
        txn.put(LINEAGE_KEY, Some(&self.lineage.encode()));
        txn.commit().unwrap();
    }

    pub(super) fn lineage(&self) -> Lineage {
        self.lineage.clone()
    }

    /// Copies the log as it is now.
    pub(super) fn back_up(&mut self) {
        let folder = self.folder.path().join("backup");
        std::fs::create_dir(&folder).unwrap();
        self.log.backup(&folder.join("log.db")).unwrap();
        self.backup = Some((folder, self.lineage.clone()));
    }

    /// Loses the log and goes on with the copy: everything logged since is gone.
    pub(super) fn restore(&mut self) {
        let (folder, lineage) = self.backup.take().unwrap();
        self.log = open_log(&folder);
        self.lineage = lineage;
        self.start();
    }

    /// A cursor as a start of the centre makes it.
    pub(super) fn cursor(&self) -> Cursor<CatalogueEngines> {
        self.cursor_on(self.shared())
    }

    /// A cursor that hears of what is added to `shared`.
    pub(super) fn cursor_on(&self, shared: Arc<Shared>) -> Cursor<CatalogueEngines> {
        let works = Works {
            state: self.state.clone(),
            runtime: self.runtime.handle().clone(),
            log: Follower::new(self.log.reader().unwrap(), shared),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            board: Arc::clone(&self.board),
            progress: Arc::clone(&self.progress),
            listener: Box::new(Ears(Arc::clone(&self.changes))),
        };
        Cursor::start(works, Centre::new(engines(), Limits::default())).unwrap()
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::new(Shared::new(self.log.last_position(), self.lineage.clone(), 0))
    }

    /// The verdict journal as a fresh evaluator makes it of the log.
    pub(super) fn replayed(&self) -> Vec<String> {
        let journal = |delivery| {
            let mut log = follower_of(&self.log).unwrap();
            verdict_journal_of(&mut log, engines(), u64::MAX, delivery).unwrap()
        };
        let replayed = journal(Delivery::AsLogged);
        assert_eq!(replayed, journal(Delivery::InOrder), "as logged against in order");
        replayed
    }

    pub(super) fn changes(&self) -> Vec<AlarmChange> {
        self.changes.lock().unwrap().clone()
    }

    pub(super) fn set_clock(&self, second: i64) {
        *self.clock.0.lock().unwrap() = BASE + second * 1_000;
    }

    pub(super) fn start(&mut self) {
        self.starts += 1;
        self.lineage.start(1_000 + self.starts, self.log.last_position() + 1);
        let record = CentreRecord::Start { log_id: 1_000 + self.starts };
        self.append("", &record, 0);
    }

    pub(super) fn fact(&mut self, id: &str, revision: u64, body: FactBody) {
        let fact = Fact {
            id: id.to_owned(),
            revision,
            site: "s1".to_owned(),
            valid_from: BASE,
            valid_to: None,
            recorded_at: BASE,
            withdrawn: false,
            body,
        };
        self.record(&fact);
        self.append("", &CentreRecord::Fact(Box::new(fact)), 0);
    }

    /// Site `s{n}` on a feeder, with one meter behind gateway `gw-{n}`.
    pub(super) fn neighbour(&mut self, n: u64, feeder: &str) {
        let mut model = plant();
        model.site = format!("s{n}");
        model.feeder = Some(feeder.to_owned());
        model.devices[0].gateway = format!("gw-{n}");
        let fact = Fact {
            id: format!("site:s{n}"),
            revision: 100 + n,
            site: model.site.clone(),
            valid_from: BASE,
            valid_to: None,
            recorded_at: BASE,
            withdrawn: false,
            body: FactBody::Site { model: Box::new(model) },
        };
        self.append("", &CentreRecord::Fact(Box::new(fact)), 0);
    }

    /// The state database holds a fact before the log does.
    fn record(&self, fact: &Fact) {
        let row = fact::ActiveModel {
            revision: Set(fact.revision.cast_signed()),
            id: Set(fact.id.clone()),
            kind: Set("site".to_owned()),
            site: Set(None),
            valid_from: Set(fact.valid_from),
            valid_to: Set(fact.valid_to),
            recorded_at: Set(fact.recorded_at),
            recorded_by: Set("bench".to_owned()),
            body: Set(to_body(fact)),
            log_id: NotSet,
            log_position: NotSet,
        };
        self.runtime.block_on(async {
            let tx = self.state.begin().await.unwrap();
            fact::Entity::insert(row).exec_without_returning(&tx).await.unwrap();
            tx.commit().await.unwrap();
        });
    }

    pub(super) fn chain(&mut self, epoch: u64, last: u64) {
        self.append(GATEWAY, &CentreRecord::Chain { epoch, after: None, last }, 0);
    }

    /// Joins an epoch as the receiver does: what it keeps of the chain lies in the log too.
    pub(super) fn joined(&mut self, epoch: u64) {
        let mut txn = self.log.begin();
        self.kept.chain.note_link(GATEWAY, epoch, None);
        for record in self.kept.chain.place(&txn, GATEWAY, true) {
            txn.append(&record.encode().as_new(GATEWAY, BASE));
        }
        txn.put(&key_of(GATEWAY), Some(&self.kept.encode()));
        txn.commit().unwrap();
    }

    /// Evicts what nobody needs, as the receiver does when the store keeps up.
    pub(super) fn evict(&mut self) {
        self.progress.stored(u64::MAX);
        let mut keep = self.progress.kept().to_vec();
        keep.extend(self.lineage.positions());
        keep.sort_unstable();
        keep.dedup();
        while self.log.evict(self.progress.evictable(), &keep).unwrap().more {}
        assert!(!self.log.reader().unwrap().is_whole().unwrap(), "nothing was evicted");
    }

    /// Zeroes pages in the middle of the log's file.
    pub(super) fn damage_pages(&self) {
        let path = self.log.path();
        let file = rusqlite::Connection::open(path).unwrap();
        file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(file);
        let size = std::fs::metadata(path).unwrap().len();
        let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        let page = 4_096;
        let middle = size / 2 / page * page;
        file.seek(SeekFrom::Start(middle)).unwrap();
        file.write_all(&vec![0; usize::try_from(size / 4 / page * page).unwrap()]).unwrap();
    }

    /// Makes every snapshot one of another version of the engine.
    pub(super) fn age_snapshots(&self) {
        let aged = self.runtime.block_on(async {
            let tx = self.state.begin().await.unwrap();
            let aged = snapshot::Entity::update_many()
                .col_expr(snapshot::Column::EngineVersion, Expr::value(1))
                .exec(&tx)
                .await
                .unwrap();
            tx.commit().await.unwrap();
            aged.rows_affected
        });
        assert!(aged > 0);
    }

    /// Pages so far.
    pub(super) fn pages(&self) -> Vec<String> {
        let paged = self.changes().into_iter().filter(|change| change.pages);
        paged
            .map(|change| format!("{} {}", change.occurrence.rule, change.occurrence.scope))
            .collect()
    }

    pub(super) fn tick(&mut self, second: i64) {
        self.append("", &CentreRecord::Tick, second);
    }

    /// A tick that a running cursor on `shared` hears of.
    pub(super) fn tick_told(&mut self, shared: &Shared, second: i64) {
        self.tick(second);
        let tick = LogRecord {
            position: self.log.last_position(),
            received_at: BASE + second * 1_000,
            gateway: String::new(),
            body: RecordBody::Centre(CentreRecord::Tick),
        };
        shared.tail.push([Arc::new(tick)]);
    }

    pub(super) fn append(&mut self, gateway: &str, record: &CentreRecord, second: i64) {
        let encoded = record.encode();
        let mut txn = self.log.begin();
        txn.append(&encoded.as_new(gateway, BASE + second * 1_000));
        txn.commit().unwrap();
    }

    /// The block that the gateway closed at `second` (seq = second + 1) with a reading of `lel`.
    pub(super) fn block(&mut self, epoch: u64, second: i64, lel: f64, received: i64) {
        self.block_as(epoch, second, lel, (received, Decided::default()));
    }

    /// The same, with what was decided about it at receive.
    pub(super) fn block_as(&mut self, epoch: u64, second: i64, lel: f64, received: (i64, Decided)) {
        self.block_at((epoch, u64::try_from(second + 1).unwrap()), second, lel, received);
    }

    /// Block `seq` of an epoch, closed at `second`.
    pub(super) fn block_at(
        &mut self,
        (epoch, seq): (u64, u64),
        second: i64,
        lel: f64,
        (received, decided): (i64, Decided),
    ) {
        let bytes = self.manifest.encode();
        let key = manifest::key(&bytes);
        let t = BASE + second * 1_000;
        let mut builder = Builder::new(&self.manifest, key);
        builder.push(0, t, &[(lel, Mark::GOOD)]).unwrap();
        let block = Block {
            gateway: GatewayName::new(GATEWAY).unwrap(),
            epoch: Epoch(epoch),
            seq,
            link: None,
            clock: BlockClock {
                state: ClockState::Synced,
                closed_at: t + 1,
                mono_ms: u64::try_from(second * 1_000 + 1).unwrap(),
                boot: Boot(epoch),
                segment: 0,
                boot_offset: Some(BASE),
                error_ms: 0,
            },
            fact_revision: 0,
            list: None,
            body: Body::Readings(builder.take()),
        };
        let mut txn = self.log.begin();
        txn.put_manifest(GATEWAY, key.0, &bytes);
        txn.append_block(&NewRecord {
            kind: kind::BLOCK,
            gateway: GATEWAY,
            epoch,
            seq: block.seq,
            received_at: BASE + received * 1_000,
            meta: &BlockMeta { decided, ..BlockMeta::default() }.encode(),
            bytes: &block.encode(),
        })
        .unwrap();
        txn.commit().unwrap();
    }

    pub(super) fn verdict_lines(&self) -> Vec<String> {
        self.runtime.block_on(self.state.verdict_lines()).unwrap()
    }
}

pub(super) fn engines() -> CatalogueEngines {
    CatalogueEngines::new(Arc::new(Catalogue::built_in().unwrap()))
}

pub(super) fn run(cursor: &mut Cursor<CatalogueEngines>) {
    while cursor.step(Duration::ZERO).unwrap() {}
}

fn open_log(folder: &Path) -> Log {
    let options = LogOptions { free_reserve_bytes: 0, ..LogOptions::default() };
    Log::open(folder, &options).unwrap().0
}

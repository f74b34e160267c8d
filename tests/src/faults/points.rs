//! The fail points, each with what brings a running works to pass it. `docs/FAILPOINTS.md` says what they stand for; a
//! test holds the three lists (there, here, in the sources) against each other.

/// What a round must do so that a point is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Nothing: data flows.
    Flow,
    /// Start the program anew.
    Restart,
    /// End it in order.
    Stop,
    /// Start it anew with word on the disk that its log is damaged.
    Damage,
    /// Cut and mend the gateway's link.
    Reconnect,
    /// Send every frame twice.
    Twice,
    /// History of a gateway whose manifest is unknown.
    Stranger,
    /// A block from the future and one that contradicts its manifest.
    Nonsense,
    /// Fail the log for a while: it makes room then.
    Full,
    /// Start the centre anew: the gateway hears of a new log.
    NewLog,
    /// Start the gateway anew: a new epoch.
    NewEpoch,
}

/// Whose process passes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The centre with either store.
    Centre,
    /// The centre with the embedded store.
    Embedded,
    /// The centre with InfluxDB.
    Influx,
    /// The gateway.
    Gateway,
}

/// A point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Its name in the sources.
    pub name: &'static str,
    /// Whose it is.
    pub of: Of,
    /// How to get there.
    pub way: Way,
}

const fn at(name: &'static str, of: Of, way: Way) -> Point {
    Point { name, of, way }
}

use Of::{Centre, Embedded, Gateway, Influx};
use Way::{
    Damage, Flow, Full, NewEpoch, NewLog, Nonsense, Reconnect, Restart, Stop, Stranger, Twice,
};

/// Every point, in the order of a sample's way.
pub const POINTS: &[Point] = &[
    // gateway
    at("spool.epoch", Gateway, Restart),
    at("spool.manifest", Gateway, Restart),
    at("spool.append.before", Gateway, Flow),
    at("spool.append.in", Gateway, Flow),
    at("spool.append.after", Gateway, Flow),
    at("spool.evict.in", Gateway, Full),
    at("gateway.stored", Gateway, Flow),
    at("gateway.send", Gateway, Flow),
    at("gateway.sent", Gateway, Flow),
    at("gateway.confirmed", Gateway, Flow),
    at("gateway.ack", Gateway, Flow),
    at("spool.ack", Gateway, Flow),
    at("spool.flushed", Gateway, NewLog),
    at("spool.new_log", Gateway, NewLog),
    at("gateway.stop", Gateway, Stop),
    // centre: start
    at("start.state", Centre, Restart),
    at("start.log", Centre, Restart),
    at("start.id.before", Centre, Restart),
    at("start.id.after", Centre, Restart),
    at("evaluator.restored", Centre, Restart),
    at("start.serving", Centre, Restart),
    at("salvage.marked", Centre, Damage),
    at("salvage.set_aside", Centre, Damage),
    at("salvage.copied", Centre, Damage),
    at("salvage.committed", Centre, Damage),
    // centre: receive
    at("receive.delivered", Centre, Flow),
    at("receive.message", Centre, Flow),
    at("receive.authentic", Centre, Flow),
    at("receive.manifest", Centre, Reconnect),
    at("receive.decoded", Centre, Flow),
    at("receive.duplicate", Centre, Twice),
    at("receive.list", Centre, Restart),
    at("receive.chain", Centre, NewEpoch),
    at("receive.need_manifest", Centre, Stranger),
    at("receive.appended", Centre, Flow),
    at("receive.rejected", Centre, Nonsense),
    // centre: log
    at("log.sealed", Centre, Flow),
    at("quarantine.put", Centre, Nonsense),
    at("quarantine.kept", Centre, Nonsense),
    at("log.commit.before", Centre, Flow),
    at("log.rows.written", Centre, Flow),
    at("log.sets.written", Centre, Flow),
    at("log.commit.in", Centre, Flow),
    at("log.commit.after", Centre, Flow),
    at("tail.before", Centre, Flow),
    at("tail.after", Centre, Flow),
    at("puback.group", Centre, Flow),
    at("puback.before", Centre, Flow),
    at("puback.after", Centre, Flow),
    at("ack.before", Centre, Flow),
    at("ack.after", Centre, Flow),
    at("ack.publish", Centre, Flow),
    at("house.before", Centre, Flow),
    at("log.evict.in", Centre, Full),
    at("log.evict.after", Centre, Full),
    // centre: store
    at("follow.read", Centre, Restart),
    at("store.before", Centre, Flow),
    at("store.after", Centre, Flow),
    at("embedded.head.written", Embedded, Flow),
    at("embedded.head.position", Embedded, Flow),
    at("embedded.head.after", Embedded, Flow),
    at("embedded.seal.before", Embedded, Flow),
    at("embedded.seal.parts", Embedded, Flow),
    at("embedded.seal.rollups", Embedded, Flow),
    at("embedded.seal.day", Embedded, Flow),
    at("embedded.seal.clearing", Embedded, Flow),
    at("embedded.seal.after", Embedded, Flow),
    at("influx.encoded", Influx, Flow),
    at("influx.sent", Influx, Flow),
    at("influx.position.written", Influx, Flow),
    at("influx.position.renamed", Influx, Flow),
    // centre: evaluator
    at("evaluator.read", Centre, Flow),
    at("evaluator.taken", Centre, Flow),
    at("evaluator.apply.before", Centre, Flow),
    at("state.events", Centre, Flow),
    at("state.duty", Centre, Flow),
    at("state.page", Centre, Flow),
    at("state.snapshot", Centre, Restart),
    at("state.commit.before", Centre, Flow),
    at("state.commit.after", Centre, Flow),
    at("evaluator.apply.after", Centre, Flow),
    at("evaluator.hold", Centre, Restart),
    // centre: stop
    at("stop.begun", Centre, Stop),
    at("stop.received", Centre, Stop),
    at("stop.evaluated", Centre, Stop),
];

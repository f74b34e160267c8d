//! Prometheus metrics of the delivery path; served by `crate::run` on `/metrics`. Labels are bounded: words of the
//! program, never text of an error, never a gateway's or a series' name.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// A stable word that says what happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Word {
    /// The word.
    pub code: &'static str,
}

/// Bounds of latencies from an event to its effect, seconds: from what one commit takes to the page horizon.
const LATENCY_S: [f64; 14] =
    [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0];

/// What the delivery path counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Messages by what became of them.
    pub messages: Family<Word, Counter>,
    /// Messages dropped because they cannot be trusted or say nothing, by reason.
    pub drops: Family<Word, Counter>,
    /// Blocks neither logged nor acked, by reason.
    pub refusals: Family<Word, Counter>,
    /// Blocks or rows set aside, by reason.
    pub quarantined: Family<Word, Counter>,
    /// Bytes of frames received.
    pub received_bytes: Counter,
    /// Samples logged.
    pub samples: Counter,
    /// Group commits.
    pub commits: Counter,
    /// Failed group commits.
    pub commit_failures: Counter,
    /// Acks sent to gateways.
    pub acks: Counter,
    /// 1 while connected to the broker.
    pub broker_connected: Gauge,
    /// Lost connections to the broker.
    pub broker_reconnects: Counter,
    /// Sessions that the broker should have kept and had not.
    pub broker_sessions_lost: Counter,
    /// Messages that the broker says it dropped.
    pub broker_dropped: Counter,
    /// 1 while our subscriptions have QoS 1.
    pub broker_qos: Gauge,
    /// Bytes of the log in use.
    pub log_bytes: Gauge,
    /// Bytes that the log may use.
    pub log_bytes_max: Gauge,
    /// Last position of the log.
    pub log_position: Gauge,
    /// How far the store is.
    pub store_position: Gauge,
    /// How far the evaluator is.
    pub evaluator_position: Gauge,
    /// 0 all well, 1 retrying, 2 a person has to mend the store.
    pub store_trouble: Gauge,
    /// Failed tries of the store writer.
    pub store_failures: Counter,
    /// Samples handed to the store since the start.
    pub store_samples: Counter,
    /// Samples that the database's own retention dropped since the start.
    pub store_dropped: Counter,
    /// 1 while the gateways' clocks say that the centre's is wrong.
    pub clock_distrusted: Gauge,
    /// Gateways heard within the last minute.
    pub gateways_heard: Gauge,
    /// Open entries of the quarantine.
    pub quarantine_entries: Gauge,
    /// Records that the store has not taken.
    pub store_lag: Gauge,
    /// Records that the evaluator has not judged.
    pub evaluator_lag: Gauge,
    /// 1 while the evaluator's steps fail.
    pub evaluator_failing: Gauge,
    /// 1 while the log does not take records.
    pub log_failing: Gauge,
    /// Gateways that are registered with a key.
    pub gateways_registered: Gauge,
    /// Sites that are registered.
    pub sites_registered: Gauge,
    /// Blocks that gateways say wait on their disks.
    pub gateway_backlog_blocks: Gauge,
    /// Changes of alarms, by kind.
    pub alarm_changes: Family<Word, Counter>,
    /// Changes that called somebody.
    pub alarm_pages: Counter,
    /// Time from the event time of a raise that calls somebody to its announcement.
    pub alarm_seconds: Histogram,
    /// Rules at their places, by state.
    pub rules: Family<Word, Gauge>,
    /// Notices that are up, by level.
    pub notices: Family<Word, Gauge>,
    /// 1 while the test alarm comes through.
    pub synthetic_well: Gauge,
    /// Rounds of the test alarm that came through.
    pub synthetic_rounds: Counter,
    /// Samples of the test alarm that were late.
    pub synthetic_failures: Counter,
    /// 1 where the test alarm stands still.
    pub synthetic_stuck: Family<Word, Gauge>,
    /// Time from the centre's own sample to its alarm.
    pub synthetic_seconds: Histogram,
    /// Heartbeats by what became of them.
    pub heartbeats: Family<Word, Counter>,
    /// 1 where the newest heartbeat arrived.
    pub heartbeat_well: Gauge,
    /// Sites that got less than nine tenths of today's expected samples.
    pub sites_incomplete: Gauge,
    /// Memory of the process.
    pub resident_bytes: Gauge,
    /// Open files of the process.
    pub open_files: Gauge,
    /// When the process started, seconds since 1970.
    pub started_at: Gauge,
}

macro_rules! register {
    ($registry:ident, $metrics:ident: $($field:ident $name:literal $help:literal;)*) => {
        $($registry.register($name, $help, $metrics.$field.clone());)*
    };
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self::unregistered();
        let mut registry = Registry::default();
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        let r = registry.sub_registry_with_prefix("davy_ingest");
        r.register("build", "The program", Info::new(version));
        register!(r, metrics:
            messages "messages" "Messages from gateways by what became of them";
            drops "messages_dropped" "Messages that cannot be trusted or say nothing, by reason";
            refusals "blocks_refused" "Blocks neither logged nor acked, by reason; they come again";
            quarantined "quarantined" "Blocks or rows set aside, by reason";
            received_bytes "received_bytes" "Bytes of frames received";
            samples "samples_logged" "Samples logged";
            commits "log_commits" "Group commits of the log";
            commit_failures "log_commit_failures" "Failed group commits of the log";
            acks "acks_sent" "Acks sent to gateways";
            broker_connected "broker_connected" "1 while connected to the broker";
            broker_reconnects "broker_reconnects" "Lost connections to the broker";
            broker_sessions_lost "broker_sessions_lost" "Sessions that the broker should have kept and had not";
            broker_dropped "broker_dropped" "Messages that the broker says it dropped, over all its clients";
            broker_qos "broker_qos" "1 while our subscriptions have QoS 1";
            log_bytes "log_bytes" "Bytes of the log in use";
            log_bytes_max "log_bytes_max" "Bytes that the log may use";
            log_position "log_position" "Last position of the log";
            store_position "store_position" "Position up to which the store has everything";
            evaluator_position "evaluator_position" "Position up to which everything is evaluated";
            store_trouble "store_trouble" "0 well, 1 retrying, 2 a person has to mend the store";
            store_failures "store_failures" "Failed tries of the store writer since the start";
            store_samples "store_samples" "Samples handed to the store since the start";
            store_dropped "store_dropped_by_retention" "Samples older than the database keeps, dropped by it since the start";
            clock_distrusted "clock_distrusted" "1 while gateways say that the centre's clock is wrong";
            gateways_heard "gateways_heard" "Gateways heard within the last minute";
            quarantine_entries "quarantine_entries" "Open entries of the quarantine";
            store_lag "store_lag_records" "Records that the store has not taken";
            evaluator_lag "evaluator_lag_records" "Records that the evaluator has not judged";
            evaluator_failing "evaluator_failing" "1 while the evaluator's steps fail";
            log_failing "log_failing" "1 while the log does not take records";
            gateways_registered "gateways_registered" "Gateways that are registered with a key";
            sites_registered "sites_registered" "Sites that are registered";
            gateway_backlog_blocks "gateway_backlog_blocks" "Blocks that gateways say wait on their disks";
            alarm_changes "alarm_changes" "Changes of alarms by kind";
            alarm_pages "alarm_pages" "Changes of alarms that called somebody";
            alarm_seconds "alarm_latency_seconds" "Time from the event time of a raise that calls somebody to its announcement";
            rules "rules" "Rules at their places by state";
            notices "notices" "Notices that are up by level";
            synthetic_well "self_watch_well" "1 while the test alarm comes through";
            synthetic_rounds "self_watch_rounds" "Rounds of the test alarm that came through";
            synthetic_failures "self_watch_failures" "Samples of the test alarm that were late";
            synthetic_stuck "self_watch_stuck" "1 where the test alarm stands still";
            synthetic_seconds "self_watch_seconds" "Time from the centre's own sample to its alarm";
            heartbeats "heartbeats" "Heartbeats by what became of them";
            heartbeat_well "heartbeat_well" "1 where the newest heartbeat arrived";
            sites_incomplete "sites_incomplete" "Sites that got less than nine tenths of what is expected today";
        );
        register!(registry, metrics:
            resident_bytes "process_resident_memory_bytes" "Resident memory";
            open_files "process_open_fds" "Open file descriptors";
            started_at "process_start_time_seconds" "Start of the process, seconds since 1970";
        );
        metrics.name_words();
        metrics.registry = registry;
        metrics
    }
}

impl Metrics {
    fn unregistered() -> Self {
        Self {
            registry: Registry::default(),
            messages: Family::default(),
            drops: Family::default(),
            refusals: Family::default(),
            quarantined: Family::default(),
            received_bytes: Counter::default(),
            samples: Counter::default(),
            commits: Counter::default(),
            commit_failures: Counter::default(),
            acks: Counter::default(),
            broker_connected: Gauge::default(),
            broker_reconnects: Counter::default(),
            broker_sessions_lost: Counter::default(),
            broker_dropped: Counter::default(),
            broker_qos: Gauge::default(),
            log_bytes: Gauge::default(),
            log_bytes_max: Gauge::default(),
            log_position: Gauge::default(),
            store_position: Gauge::default(),
            evaluator_position: Gauge::default(),
            store_trouble: Gauge::default(),
            store_failures: Counter::default(),
            store_samples: Counter::default(),
            store_dropped: Counter::default(),
            clock_distrusted: Gauge::default(),
            gateways_heard: Gauge::default(),
            quarantine_entries: Gauge::default(),
            store_lag: Gauge::default(),
            evaluator_lag: Gauge::default(),
            evaluator_failing: Gauge::default(),
            log_failing: Gauge::default(),
            gateways_registered: Gauge::default(),
            sites_registered: Gauge::default(),
            gateway_backlog_blocks: Gauge::default(),
            alarm_changes: Family::default(),
            alarm_pages: Counter::default(),
            alarm_seconds: Histogram::new(LATENCY_S),
            rules: Family::default(),
            notices: Family::default(),
            synthetic_well: Gauge::default(),
            synthetic_rounds: Counter::default(),
            synthetic_failures: Counter::default(),
            synthetic_stuck: Family::default(),
            synthetic_seconds: Histogram::new(LATENCY_S),
            heartbeats: Family::default(),
            heartbeat_well: Gauge::default(),
            sites_incomplete: Gauge::default(),
            resident_bytes: Gauge::default(),
            open_files: Gauge::default(),
            started_at: Gauge::default(),
        }
    }

    /// Words that alert rules ask for stand at 0 from the start: an increase from nothing is seen by nobody.
    fn name_words(&self) {
        let counters: [(&Family<Word, Counter>, &[&'static str]); 6] = [
            (
                &self.messages,
                &["logged", "duplicate", "manifest", "rejected", "refused", "dropped"],
            ),
            (&self.drops, &["mac", "malformed", "unknown_gateway"]),
            (
                &self.refusals,
                &[
                    "log_full",
                    "need_manifest",
                    "quarantine_full",
                    "intervals",
                    "held_full",
                    "manifests_full",
                ],
            ),
            (&self.quarantined, &["future", "key_reuse", "time_unknown"]),
            (&self.heartbeats, &["arrived", "failed"]),
            (&self.alarm_changes, &["raise", "clear", "level_up", "level_down"]),
        ];
        for (family, words) in counters {
            words.iter().for_each(|code| drop(family.get_or_create(&Word { code })));
        }
    }

    /// Counts a message that was dropped.
    pub fn dropped(&self, code: &'static str) {
        self.messages.get_or_create(&Word { code: "dropped" }).inc();
        self.drops.get_or_create(&Word { code }).inc();
    }

    /// The page for Prometheus.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        match encode(&mut page, &self.registry) {
            Ok(()) => page,
            Err(_) => String::new(),
        }
    }
}

/// A number as a gauge takes it.
#[must_use]
pub fn gauge(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Brings a counter up to a total that is counted elsewhere.
pub fn raise_to(counter: &Counter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

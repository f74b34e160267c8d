//! Prometheus metrics of the delivery path; served by `crate::run` on `/metrics`. Labels are bounded: words of the
//! program, never text of an error, never a gateway's or a series' name.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A stable word that says what happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Word {
    /// The word.
    pub code: &'static str,
}

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
    pub store_failures: Gauge,
    /// Samples handed to the store since the start.
    pub store_samples: Gauge,
    /// 1 while the gateways' clocks say that the centre's is wrong.
    pub clock_distrusted: Gauge,
    /// Gateways heard within the last minute.
    pub gateways_heard: Gauge,
    /// Open entries of the quarantine.
    pub quarantine_entries: Gauge,
}

macro_rules! register {
    ($registry:ident, $metrics:ident: $($field:ident $name:literal $help:literal;)*) => {
        $($registry.register($name, $help, $metrics.$field.clone());)*
    };
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self::unregistered();
        let mut r = Registry::with_prefix("davy_ingest");
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
            clock_distrusted "clock_distrusted" "1 while gateways say that the centre's clock is wrong";
            gateways_heard "gateways_heard" "Gateways heard within the last minute";
            quarantine_entries "quarantine_entries" "Open entries of the quarantine";
        );
        metrics.registry = r;
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
            store_failures: Gauge::default(),
            store_samples: Gauge::default(),
            clock_distrusted: Gauge::default(),
            gateways_heard: Gauge::default(),
            quarantine_entries: Gauge::default(),
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

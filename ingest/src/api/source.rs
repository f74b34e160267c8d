//! What the API asks of the running parts: live values and gateways (pipeline), rule states (evaluator). Narrow on purpose: each call answers from memory at once and never touches disk or network.

use std::fmt::Debug;

use rules::RuleState;
use serde::Serialize;
use utoipa::ToSchema;

use crate::completeness::DayOfSite;

/// Newest sample of a series.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LiveValue {
    /// Site id.
    pub site: String,
    /// Device id.
    pub device: String,
    /// Name from the vocabulary.
    pub quantity: String,
    /// Its unit.
    pub unit: String,
    /// None where there is no number.
    pub value: Option<f64>,
    /// How far it may be believed.
    pub quality: LiveQuality,
    /// Why not further.
    pub reason: Option<String>,
    /// Event time, ms UTC; none = never seen.
    pub t: Option<i64>,
    /// Centre time at which it arrived, ms UTC.
    pub received_at: Option<i64>,
    /// How often it is expected, ms; 0 = not expected at all.
    pub period_ms: i64,
}

/// Quality of a live value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LiveQuality {
    /// Believed.
    Good,
    /// Doubtful.
    Uncertain,
    /// A failed read.
    Bad,
    /// Too old.
    Stale,
    /// Filled in by somebody.
    Substituted,
    /// Never seen.
    Unknown,
}

/// What is known of a gateway from its messages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct GatewayLive {
    /// None: never heard of.
    pub online: Option<bool>,
    /// Centre time, ms UTC.
    pub last_seen: Option<i64>,
    /// Epoch of its present start, hex.
    pub epoch: Option<String>,
    /// Blocks on its disk that wait to be sent.
    pub backlog_blocks: Option<u64>,
    /// synced, holdover, unset.
    pub clock: Option<String>,
    /// Samples it declared lost.
    pub declared_lost: Option<u64>,
    /// Samples it has polled.
    pub polled: Option<u64>,
    /// Samples of those polled that the centre has acked, as the gateway last said: `polled` is of the same moment.
    pub stored: Option<u64>,
}

/// State of the service itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub struct SystemLive {
    /// `embedded`, `influx`, `influxdb1`, `victoriametrics` or `discard`.
    pub store: String,
    /// Whether it takes data.
    pub store_state: StoreState,
    /// The durable log.
    pub log: LogLive,
    /// What an administrator or duty staff must know now.
    pub notices: Vec<Notice>,
}

/// State of the durable log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct LogLive {
    /// On disk.
    pub bytes: Option<u64>,
    /// Newest record.
    pub position: Option<u64>,
    /// Records the evaluator has not seen.
    pub evaluator_lag: Option<u64>,
    /// Records the store has not taken.
    pub store_lag: Option<u64>,
}

/// Whether the store takes data. The log keeps what it does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreState {
    /// It does.
    #[default]
    Well,
    /// Not now; it is tried again.
    Retrying,
    /// It refuses: a person has to mend something.
    Refusing,
}

/// How much a notice matters, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeLevel {
    /// While it stands alarms do not come, or not in time: the desk keeps watch by telephone.
    AlarmsStopped,
    /// Something is lost or wants mending; alarms come.
    Warning,
}

/// One notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Notice {
    /// Stable word.
    pub code: String,
    /// How much it matters.
    pub level: NoticeLevel,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
    /// Ms UTC.
    pub since: i64,
}

/// What the running parts know.
pub trait Sources: Send + Sync + Debug {
    /// Newest samples of a site's series; only those ever seen.
    fn values(&self, site: &str) -> Vec<LiveValue>;
    /// What is known of a gateway.
    fn gateway(&self, name: &str) -> GatewayLive;
    /// Every rule at every scope of a site.
    fn rule_states(&self, site: &str) -> Vec<RuleState>;
    /// What came of the sites that `wanted` takes on the days from `from` to `to` (days since 1970-01-01 in the site's own
    /// time), the newest day first.
    fn completeness(&self, _from: i64, _to: i64, _wanted: &dyn Fn(&str) -> bool) -> Vec<DayOfSite> {
        Vec::new()
    }
    /// State of the service.
    fn system(&self) -> SystemLive;
}

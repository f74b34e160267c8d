//! The sections of the configuration file, key by key, each with its default and its range beside it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{
    BrokerConfig, Config, HeartbeatConfig, HttpConfig, LogConfig, StoreConfig, WatchConfig,
};
use crate::registry::seed::reader::{At, Table};
use crate::secret::Secret;
use crate::selfwatch::heartbeat;
use crate::store::sink::SinkKind;

/// Default of `[log] bytes_max`: a day of 50,000 points a second at 3 bytes is 13 GB; most sites are far below.
const LOG_BYTES: i64 = 8 << 30;
/// Least of `[log] bytes_max`.
const LOG_BYTES_MIN: i64 = 64 << 20;
/// Default of `[log] hole_max_days`.
const HOLE_DAYS: i64 = 30;
/// Default of `[ingest] shutdown_grace_ms`.
const GRACE_MS: i64 = 10_000;
/// Default of `[watch] every_s`.
const HEARTBEAT_S: i64 = 60;
/// Default of `[http] listen`.
const LISTEN: &str = "127.0.0.1:8080";

/// Reads the whole file; `None` where something that has no default is missing or wrong.
pub(super) fn read(root: Table<'_>, folder: &Path) -> Option<Config> {
    let ingest = root.table("ingest");
    let (mut state_dir, mut seed, mut grace) = (None, None, GRACE_MS);
    match ingest {
        Some(table) => {
            state_dir = table.need_text("state_dir").map(|t| folder.join(t.value));
            seed = table.text("seed").map(|t| folder.join(t.value));
            grace = within(&table, "shutdown_grace_ms", GRACE_MS, 0..=600_000);
            table.finish();
        }
        None => root.problem("[ingest] is missing; it needs at least state_dir = \"…\""),
    }
    let log = read_log(root.table("log"));
    let broker = match root.table("broker") {
        Some(table) => read_broker(table, folder),
        None => {
            root.problem("[broker] is missing; it needs at least url = \"mqtt://host:1883\"");
            None
        }
    };
    let store = read_store(root.table("store"), folder);
    let http = read_http(root.table("http"));
    let watch = read_watch(root.table("watch"));
    root.finish();
    Some(Config {
        state_dir: state_dir?,
        seed,
        shutdown_grace: millis(grace),
        log: log?,
        broker: broker?,
        store: store?,
        http: http?,
        watch,
    })
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

/// A whole number in a range, or its default.
fn within(
    table: &Table<'_>,
    key: &'static str,
    default: i64,
    range: std::ops::RangeInclusive<i64>,
) -> i64 {
    let Some(at) = table.whole(key) else { return default };
    if !range.contains(&at.value) {
        let (min, max) = (range.start(), range.end());
        table.problem_at(&at, format!("must be {min} to {max}, is {}", at.value));
    }
    at.value
}

fn read_log(table: Option<Table<'_>>) -> Option<LogConfig> {
    let defaults = LogConfig {
        bytes_max: LOG_BYTES.unsigned_abs(),
        gateway_bytes_max: LOG_BYTES.unsigned_abs() / 4,
        hole_max: Duration::from_hours(24 * HOLE_DAYS.unsigned_abs()),
        quarantine_bytes_max: crate::quarantine::GATEWAY_BYTES_MAX,
    };
    let Some(table) = table else { return Some(defaults) };
    let bytes = within(&table, "bytes_max", LOG_BYTES, LOG_BYTES_MIN..=i64::MAX);
    let share = within(&table, "gateway_bytes_max", bytes / 4, (1 << 20)..=i64::MAX);
    let days = within(&table, "hole_max_days", HOLE_DAYS, 1..=3_650);
    let quarantine = i64::try_from(defaults.quarantine_bytes_max).unwrap_or(i64::MAX);
    let quarantine = within(&table, "quarantine_bytes_max", quarantine, (1 << 20)..=i64::MAX);
    table.finish();
    Some(LogConfig {
        bytes_max: bytes.unsigned_abs(),
        gateway_bytes_max: share.unsigned_abs(),
        hole_max: Duration::from_hours(24 * days.unsigned_abs()),
        quarantine_bytes_max: quarantine.unsigned_abs(),
    })
}

fn read_broker(table: Table<'_>, folder: &Path) -> Option<BrokerConfig> {
    let file = |at: Option<At<String>>| -> Option<PathBuf> { at.map(|t| folder.join(t.value)) };
    let url = table.need_text("url");
    let address = url.as_ref().and_then(|at| {
        let address = address(&at.value);
        if address.is_none() {
            let text =
                "must be mqtt://host[:port] or mqtts://host[:port], without user or password";
            table.problem_at(at, text);
        }
        address
    });
    let ca_file = file(table.text("ca_file"));
    let (cert, key) = (file(table.text("cert_file")), file(table.text("key_file")));
    if cert.is_some() != key.is_some() {
        table.problem("cert_file and key_file belong together: give both or none");
    }
    let user = table.text("user").map(|t| t.value);
    let password_file = file(table.text("password_file"));
    if password_file.is_some() && user.is_none() {
        table.problem("password_file needs user");
    }
    let client_id = table.text("client_id");
    if let Some(at) = client_id.as_ref().filter(|t| t.value.is_empty() || t.value.len() > 60) {
        table.problem_at(at, "must have 1 to 60 characters");
    }
    let keep_alive = within(&table, "keep_alive_s", 10, 5..=300);
    if address.as_ref().is_some_and(|a| a.2) && ca_file.is_none() {
        table.problem("mqtts:// needs ca_file, the PEM certificates of the broker's authority");
    }
    table.finish();
    let (host, port, tls) = address?;
    Some(BrokerConfig {
        host,
        port,
        tls,
        ca_file,
        client_cert: cert.zip(key),
        user,
        password_file,
        client_id: client_id.map_or_else(|| "davy-ingest".to_owned(), |t| t.value),
        keep_alive: Duration::from_secs(keep_alive.unsigned_abs()),
    })
}

/// Host, port and whether TLS.
fn address(url: &str) -> Option<(String, u16, bool)> {
    let (tls, rest) = match (url.strip_prefix("mqtt://"), url.strip_prefix("mqtts://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return None,
    };
    let rest = rest.trim_end_matches('/');
    if rest.is_empty() || rest.contains(['/', '@', '?', ' ']) {
        return None;
    }
    let default = if tls { 8883 } else { 1883 };
    match rest.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => Some((host.to_owned(), port.parse().ok()?, tls)),
        Some(_) => None,
        None => Some((rest.to_owned(), default, tls)),
    }
}

fn read_store(table: Option<Table<'_>>, folder: &Path) -> Option<StoreConfig> {
    let Some(table) = table else { return Some(StoreConfig::Embedded { retention_days: None }) };
    let kind = table.text("kind");
    let days = || {
        let days =
            table.whole("retention_days").map(|_| within(&table, "retention_days", 1, 1..=36_500));
        days.and_then(|d| u32::try_from(d).ok())
    };
    let text = |key| table.need_text(key).map(|t: At<String>| t.value);
    let flag = |key| table.flag(key).map(|f| f.value);
    let read = match kind.as_ref().map_or("embedded", |t| t.value.as_str()) {
        "embedded" => Some(StoreConfig::Embedded { retention_days: days() }),
        "influx" => {
            let (url, org, bucket) = (text("url"), text("org"), text("bucket"));
            let token_file = text("token_file").map(|f| folder.join(f));
            let create_bucket = flag("create_bucket").unwrap_or(false);
            let rollups = flag("rollups").unwrap_or(true);
            let retention_days = days();
            url.zip(org).zip(bucket).zip(token_file).map(|(((url, org), bucket), token_file)| {
                StoreConfig::Influx {
                    url,
                    org,
                    bucket,
                    token_file,
                    create_bucket,
                    retention_days,
                    rollups,
                }
            })
        }
        word @ ("influxdb1" | "victoriametrics") => {
            let is_influx = word == "influxdb1";
            let kind = if is_influx { SinkKind::Influx1 } else { SinkKind::Victoria };
            let url = text("url");
            let database = if is_influx { text("database") } else { Some(String::new()) };
            let create_database = is_influx && flag("create_database").unwrap_or(false);
            let user = table.text("user").map(|t| t.value);
            let password = table.text("password_file").map(|t| folder.join(t.value));
            if user.is_some() != password.is_some() {
                table.problem("user and password_file belong together: give both or none");
            }
            let (login, retention_days) = (user.zip(password), days());
            url.zip(database).map(|(url, database)| StoreConfig::Sink {
                kind,
                url,
                database,
                login,
                create_database,
                retention_days,
            })
        }
        "discard" => Some(StoreConfig::Discard),
        other => {
            let text = format!(
                "must be \"embedded\", \"influx\", \"influxdb1\", \"victoriametrics\" or \"discard\", is {other:?}"
            );
            kind.iter().for_each(|at| table.problem_at(at, text.clone()));
            None
        }
    };
    table.finish();
    read
}

fn read_http(table: Option<Table<'_>>) -> Option<HttpConfig> {
    let default = || LISTEN.parse::<SocketAddr>().ok();
    let Some(table) = table else {
        return default().map(|listen| HttpConfig { listen, behind_tls: false });
    };
    let listen = match table.text("listen") {
        None => default(),
        Some(at) => at.value.parse().ok().or_else(|| {
            table.problem_at(&at, "must be an address and a port, e.g. \"127.0.0.1:8080\"");
            None
        }),
    };
    let behind_tls = table.flag("behind_tls").is_some_and(|f| f.value);
    if listen.is_some_and(|l| !l.ip().is_loopback()) && !behind_tls {
        let text = "listens beyond this machine without TLS: put a TLS proxy in front and set behind_tls = true, or listen on 127.0.0.1";
        table.problem(text);
    }
    table.finish();
    listen.map(|listen| HttpConfig { listen, behind_tls })
}

fn read_watch(table: Option<Table<'_>>) -> WatchConfig {
    let Some(table) = table else { return WatchConfig { synthetic: true, heartbeat: None } };
    let synthetic = table.flag("synthetic").is_none_or(|f| f.value);
    let every = within(&table, "every_s", HEARTBEAT_S, 10..=3_600);
    let url = table.text("heartbeat_url");
    if let Some(at) = url.as_ref().filter(|at| heartbeat::Target::parse(&at.value).is_none()) {
        // The text itself is not repeated: its path is a secret.
        table.problem_at(at, "must be http://host[:port]/path or https://host[:port]/path");
    }
    if url.is_some() && !synthetic {
        table.problem("heartbeat_url needs synthetic = true: it says that alarms come, not that a process runs");
    }
    table.finish();
    let heartbeat = url.map(|at| HeartbeatConfig {
        url: Secret::new(at.value),
        every: Duration::from_secs(every.unsigned_abs()),
    });
    WatchConfig { synthetic, heartbeat }
}

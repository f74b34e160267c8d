//! The gateway's own page on loopback: plain HTML, the same as JSON, Prometheus metrics, a health probe.
//!
//! For the electrician on site without a link to the centre, and for a scraper. It reads what the parts
//! show of themselves and changes nothing; no secret is among it. The data path never waits for it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};
use spool::OpenReport;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::bus::health::Health;
use crate::clock::{Clock, ClockState};
use crate::seal::thread::Shown;
use crate::uplink::progress::Progress;

/// A centre that answers nothing for so long does not know this gateway, or is not there, ms.
const UNANSWERED_MS: u64 = 10_000;
/// A block that waits for so long while the centre answers is told, ms: it comes in after an outage, or the centre refuses it.
const WAITS_LONG_MS: i64 = 10 * 60_000;

/// What the page is made of.
#[derive(Debug, Clone)]
pub struct Board {
    /// Name of the gateway.
    pub gateway: wire::GatewayName,
    /// Its site.
    pub site: Arc<str>,
    /// This start.
    pub start: crate::epoch::Start,
    /// The spool and the clock.
    pub shown: watch::Receiver<Shown>,
    /// The uplink.
    pub progress: watch::Receiver<Progress>,
    /// Buses and devices.
    pub health: Health,
    /// What opening the spool found.
    pub report: Arc<OpenReport>,
    /// The machine's clocks.
    pub clock: Arc<dyn Clock>,
}

/// What is shown is borrowed once for a page and handed on: a second borrow under the first waits for the spool's thread where
/// that waits to write, which waits for the first. The gateway would stand still for ever.
impl Board {
    /// Age of the oldest block that is not acked, ms; 0 where there is none.
    #[must_use]
    pub fn oldest_age_ms(&self, shown: &Shown) -> i64 {
        let wall = shown.wall_ms(&*self.clock);
        shown.spool.oldest_unacked_born_ms.map_or(0, |born| (wall - born).max(0))
    }

    /// Hours without a link until blocks must be dropped, at the rate of this start; `None` in its
    /// first minute.
    #[must_use]
    pub fn hours_of_autonomy(&self, shown: &Shown) -> Option<f64> {
        let seconds = self.clock.mono_ms() / 1000;
        let written = shown.written_here;
        if seconds < 60 || written == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a display value")]
        let rate = written as f64 / seconds as f64;
        Some(shown.spool.hours_of_autonomy(rate))
    }

    /// Everything as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let (shown, p) = (self.shown.borrow(), self.progress.borrow());
        let s = &shown.spool;
        json!({
            "gateway": self.gateway.as_str(), "site": self.site.as_ref(),
            "version": env!("CARGO_PKG_VERSION"),
            "epoch": self.start.epoch.to_string(), "up_seconds": self.clock.mono_ms() / 1000,
            "clock": { "state": clock_word(shown.clock), "centre_difference_ms": shown.centre_difference_ms },
            "samples": { "polled": s.polled, "stored": s.stored, "quarantined": s.quarantined,
                "declared": s.declared, "backlog": s.backlog, "balanced": s.is_balanced() },
            "spool": { "bytes": s.bytes, "bytes_max": s.bytes_max, "blocks": s.blocks,
                "backlog_blocks": s.unacked_blocks, "backlog_bytes": s.unacked_bytes,
                "oldest_backlog_ms": self.oldest_age_ms(&shown), "autonomy_hours": self.hours_of_autonomy(&shown),
                "in_memory": s.memory, "damaged_blocks": s.damaged_blocks, "evicted_blocks": s.evicted_blocks,
                "problem": shown.problem,
                "set_aside": self.report.set_aside.as_ref().map(|(path, why)| format!("{}: {why}", path.display())),
                "salvaged_blocks": self.report.salvaged_blocks },
            "uplink": { "connected": p.connected, "sessions": p.sessions, "last_error": p.last_error,
                "sent": { "live": p.sent[0], "want": p.sent[1], "backfill": p.sent[2], "rescue": p.sent[3] },
                "awaited_blocks": p.awaited, "ack_ms": p.smoothed_ack_ms, "acks": p.acks,
                "acks_forged": p.acks_forged, "acks_ignored": p.acks_ignored },
            "buses": self.health.buses.iter().map(|b| json!({
                "name": b.name.as_ref(), "connected": b.connected.load(Ordering::Relaxed),
                "requests": b.requests.load(Ordering::Relaxed), "timeouts": b.timeouts.load(Ordering::Relaxed),
                "missed_polls": b.missed.load(Ordering::Relaxed),
            })).collect::<Vec<_>>(),
            "devices": self.devices(),
        })
    }

    fn devices(&self) -> Vec<Value> {
        let now = self.clock.mono_ms();
        let age = |at| now.saturating_sub(self.clock.mono_of(at));
        let devices = self.health.devices.iter().map(|d| {
            json!({
                "device": d.id.as_ref(), "online": d.online.load(Ordering::Relaxed),
                "last_reply_ms_ago": d.last_reply().map(age),
                "replies": d.replies.load(Ordering::Relaxed), "errors": d.errors.load(Ordering::Relaxed),
                "refused": d.refused(),
                "problem": d.problem(),
            })
        });
        devices.collect()
    }

    /// What a person must know, worst first; empty where all is well.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let (shown, p) = (self.shown.borrow(), self.progress.borrow());
        let mut out = Vec::new();
        if let Some(why) = &shown.spool.memory {
            out.push(format!(
                "磁盘不可用，数据只在内存中 disk does not serve, blocks are in memory only: {why}"
            ));
        }
        if shown.spool.declared > 0 {
            out.push(format!("已申报丢失 samples declared lost: {}", shown.spool.declared));
        }
        if !p.connected {
            out.push(format!(
                "与中心断开，数据在本地保存 no link to the centre, blocks are kept: {}",
                p.last_error
            ));
        }
        let waits = |since| self.clock.mono_ms().saturating_sub(since) > UNANSWERED_MS;
        if p.connected && p.waiting_since.is_some_and(waits) {
            out.push(
                "中心不应答，数据在本地保存；中心是否在运行？密钥是否与中心登记的一致？the centre does not answer, \
                 blocks are kept; does davy-ingest run, and is the key the one that davy-ingest gateway add printed?"
                    .to_owned(),
            );
        }
        let oldest = shown.spool.oldest_unacked_born_ms.filter(|_| p.connected);
        let age = oldest.map(|born| shown.wall_ms(&*self.clock).saturating_sub(born));
        if let Some(age) = age.filter(|age| *age > WAITS_LONG_MS) {
            out.push(format!(
                "有 {0} 块旧数据等待中心接收，最早的已等 {1} 分钟：断网后补传属正常，数量不减则中心拒收，请看中心的系统页 \
                 {0} old blocks wait for the centre, the oldest for {1} min: usual while an outage is made up for; where they \
                 do not become fewer the centre refuses them, see its System page",
                shown.spool.unacked_blocks,
                age / 60_000
            ));
        }
        if p.acks_forged > 0 {
            out.push(format!(
                "拒绝了 {0} 条签名不符的消息，可能有人伪造，请检查消息服务器的权限 refused {0} messages that are not the \
                 centre's: somebody publishes on this gateway's topics, see the broker's access list",
                p.acks_forged
            ));
        }
        if p.oversized > 0 {
            out.push(
                "有消息超过帧长，未发送：测点分到两台网关 a message is too large for a frame and is not sent: split the \
                 points over two gateways"
                    .to_owned(),
            );
        }
        if shown.replies_full {
            out.push(
                "点表已满，有设备用旧的采集计划或未采集：测点分到两台网关后重启 the manifest is full, a device keeps an old \
                 plan or has none: split the points over two gateways and restart"
                    .to_owned(),
            );
        }
        if shown.clock == ClockState::Unset {
            out.push("时钟未校准 the clock is not set".to_owned());
        }
        if let Some(problem) = &shown.problem {
            out.push(format!("存储异常 trouble with the spool: {problem}"));
        }
        let silent = self.health.devices.iter().filter(|d| !d.online.load(Ordering::Relaxed));
        out.extend(silent.map(|d| {
            let why = d.problem().map(|why| format!(" ({why})")).unwrap_or_default();
            format!("设备无应答 device is silent: {}{why}", d.id)
        }));
        let refusing = self.health.devices.iter().filter(|d| !d.refused().is_empty());
        out.extend(refusing.map(|d| {
            format!(
                "设备没有这些寄存器，请核对 device refuses points, check their registers: {}: {}",
                d.id,
                d.refused()
            )
        }));
        out
    }
}

fn clock_word(state: ClockState) -> &'static str {
    match state {
        ClockState::Unset => "unset",
        ClockState::Synced => "synced",
        ClockState::Holdover => "holdover",
    }
}

/// The routes, for the server and for tests.
pub fn router(board: Board) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/status.json", get(|State(b): State<Board>| async move { Json(b.json()) }))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .with_state(board)
}

/// Serves until `stop`. A port that cannot be bound is a state, not a failure: it is logged.
pub async fn serve(listen: SocketAddr, board: Board, stop: CancellationToken) {
    if !listen.ip().is_loopback() {
        warn!(%listen, "the status page is not on loopback: anybody who reaches it can read it");
    }
    let listener = match tokio::net::TcpListener::bind(listen).await {
        Ok(listener) => listener,
        Err(e) => return warn!(%listen, error = %e, "no status page: cannot bind"),
    };
    info!(%listen, "status page");
    let served =
        axum::serve(listener, router(board)).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(e) = served {
        warn!(error = %e, "status page ended");
    }
}

async fn metrics(State(board): State<Board>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match crate::metrics::text(&board) {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// 200 while blocks are on disk; 503 where they are in memory only. No link is no ill health.
async fn healthz(State(board): State<Board>) -> Response {
    let memory = board.shown.borrow().spool.memory.clone();
    match memory {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn page(State(board): State<Board>) -> Html<String> {
    let mut out = String::from(
        "<!doctype html><html lang=zh><meta charset=utf-8><meta http-equiv=refresh content=5>\
         <meta name=viewport content='width=device-width'><title>Davy</title>\
         <style>body{font:16px system-ui;margin:1.5em;max-width:60em}table{border-collapse:collapse;margin:1em 0}\
         td,th{border:1px solid #bbb;padding:.3em .7em;text-align:left}.bad{color:#a00;font-weight:600}\
         .good{color:#060}</style>",
    );
    // Writing to a string cannot fail.
    let _written = write_page(&board, &mut out);
    Html(out)
}

fn write_page(board: &Board, out: &mut String) -> std::fmt::Result {
    writeln!(out, "<h1>{} · {}</h1>", escape(board.gateway.as_str()), escape(&board.site))?;
    let troubles = board.troubles();
    if troubles.is_empty() {
        writeln!(out, "<p class=good>正常 all is well</p>")?;
    }
    for trouble in &troubles {
        writeln!(out, "<p class=bad>{}</p>", escape(trouble))?;
    }
    let json = board.json();
    for (part, title) in [
        ("samples", "数据去向 where the samples are"),
        ("spool", "本地存储 spool"),
        ("uplink", "上行 uplink"),
        ("clock", "时钟 clock"),
    ] {
        writeln!(out, "<h2>{title}</h2><table>")?;
        for (name, value) in json[part].as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            writeln!(out, "<tr><td>{}<td>{}", escape(name), escape(&value))?;
        }
        writeln!(out, "</table>")?;
    }
    for (part, title) in [("buses", "总线 buses"), ("devices", "设备 devices")] {
        writeln!(out, "<h2>{title}</h2>")?;
        write_rows(json[part].as_array().map_or(&[], Vec::as_slice), out)?;
    }
    writeln!(out, "<p><a href=/status.json>JSON</a> · <a href=/metrics>metrics</a>")
}

fn write_rows(rows: &[Value], out: &mut String) -> std::fmt::Result {
    let Some(first) = rows.first().and_then(Value::as_object) else { return Ok(()) };
    write!(out, "<table><tr>")?;
    for name in first.keys() {
        write!(out, "<th>{}", escape(name))?;
    }
    for row in rows.iter().filter_map(Value::as_object) {
        write!(out, "<tr>")?;
        for value in row.values() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            write!(out, "<td>{}", escape(&text))?;
        }
    }
    writeln!(out, "</table>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

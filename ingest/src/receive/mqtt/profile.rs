//! What the broker's behaviour says of its settings, told to people: a session that is gone, less than QoS 1, messages
//! that it counts as dropped.
//!
//! None of it loses a reading, because a gateway keeps what the centre has not acked; each costs time and spends the link
//! twice, and stands until somebody mends the broker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::live::Live;
use crate::metrics::Metrics;

/// Where mosquitto counts what it dropped, over all clients, since its start.
pub const DROPPED_TOPIC: &str = "$SYS/broker/publish/messages/dropped";

/// How a subscription was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// QoS 1 or better.
    Whole,
    /// QoS 0: what is on its way when the link breaks is gone.
    Less,
    /// Not at all.
    Refused,
}

/// See the module.
#[derive(Debug)]
pub struct Profile {
    live: Arc<Live>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// A session of ours should be there: an earlier connection or an earlier start made one.
    expects_session: AtomicBool,
    less: AtomicBool,
    dropped: Mutex<Option<u64>>,
}

impl Profile {
    /// A profile that nothing is known of; `is_first_start` says that no session can be there yet.
    #[must_use]
    pub fn new(
        live: Arc<Live>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        is_first_start: bool,
    ) -> Self {
        Self {
            live,
            clock,
            metrics,
            expects_session: AtomicBool::new(!is_first_start),
            less: AtomicBool::new(false),
            dropped: Mutex::default(),
        }
    }

    /// What the connections count.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The subscriber was taken, with our session or without.
    pub fn connected(&self, session_present: bool) {
        let expected = self.expects_session.swap(true, Ordering::Relaxed);
        if expected && !session_present {
            self.metrics.broker_sessions_lost.inc();
            tracing::error!("broker session lost");
            let text = "the broker has lost our session: what it held for us is gone, gateways send it again; let it keep sessions over a restart (mosquitto: persistence true; NATS: sync_interval: always)";
            self.tell("broker_session_lost", text);
        }
    }

    /// A subscription was answered.
    pub fn granted(&self, granted: Granted) {
        let now = self.clock.now_ms();
        self.less.store(granted == Granted::Less, Ordering::Relaxed);
        self.metrics.broker_qos.set(i64::from(granted == Granted::Whole));
        self.live.standing("broker_qos", granted == Granted::Less, now, || {
            "the broker gives our subscription less than QoS 1: a message on its way when the link breaks is gone, gateways send it again; allow QoS 1 (mosquitto: no max_qos 0)".to_owned()
        });
        self.live.standing("broker_refuses", granted == Granted::Refused, now, || {
            "the broker refuses our subscription to davy/v1/+/+/up: nothing of the plants arrives; mend its access list for the centre's user".to_owned()
        });
    }

    /// Whether the broker takes no more than QoS 0 from us.
    #[must_use]
    pub fn takes_less(&self) -> bool {
        self.less.load(Ordering::Relaxed)
    }

    /// A value of [`DROPPED_TOPIC`]. The first one, and a smaller one after a restart of the broker, is only noted.
    pub fn dropped(&self, payload: &[u8]) {
        let Some(count) =
            std::str::from_utf8(payload).ok().and_then(|text| text.trim().parse::<u64>().ok())
        else {
            return;
        };
        let mut before = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        let more = before.and_then(|before| count.checked_sub(before)).unwrap_or(0);
        *before = Some(count);
        drop(before);
        if more > 0 {
            self.metrics.broker_dropped.inc_by(more);
            let all = self.metrics.broker_dropped.get();
            tracing::error!(more, all, "the broker drops messages");
            let text = format!(
                "it has dropped {all} message(s) since our start; gateways send them again and the link is spent twice: give it the settings of the README (mosquitto: max_queued_messages 0, max_inflight_messages 1000), `davy-ingest check --broker` tries them"
            );
            self.tell("broker_dropped", &text);
        }
    }

    fn tell(&self, code: &str, text: &str) {
        self.live.notice(code, "", text, self.clock.now_ms());
    }
}

#[cfg(test)]
mod tests {
    //! When what is told, on the real notices.

    use super::*;

    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn now_ms(&self) -> i64 {
            5
        }
    }

    fn profile(is_first_start: bool) -> (Profile, Arc<Live>) {
        let live = Arc::new(Live::new(None));
        let profile =
            Profile::new(Arc::clone(&live), Arc::new(Still), Arc::default(), is_first_start);
        (profile, live)
    }

    fn codes(live: &Live) -> Vec<String> {
        live.notices().into_iter().map(|notice| notice.code).collect()
    }

    // Goal: only a session that should be there is missed.
    #[test]
    fn a_session_that_should_be_there_is_missed() {
        let (first, live) = profile(true);
        first.connected(false);
        assert!(codes(&live).is_empty());
        first.connected(true);
        assert!(codes(&live).is_empty());
        first.connected(false);
        assert_eq!(codes(&live), ["broker_session_lost"]);
        let (later, live) = profile(false);
        later.connected(false);
        assert_eq!(codes(&live), ["broker_session_lost"]);
        assert_eq!(later.metrics().broker_sessions_lost.get(), 1);
    }

    // Goal: a downgrade stands while it lasts; a refusal is worse, and also goes when it is mended.
    #[test]
    fn a_downgraded_subscription_is_told_while_it_stands() {
        let (profile, live) = profile(true);
        profile.granted(Granted::Less);
        assert_eq!(codes(&live), ["broker_qos"]);
        assert!(profile.takes_less());
        profile.granted(Granted::Refused);
        assert_eq!(codes(&live), ["broker_refuses"]);
        profile.granted(Granted::Whole);
        assert!(codes(&live).is_empty() && !profile.takes_less());
    }

    // Goal: what was dropped before our time is not ours; every growth is; a restarted broker counts from 0.
    #[test]
    fn growth_of_what_the_broker_dropped_is_told() {
        let (profile, live) = profile(true);
        for payload in [&b"17"[..], b"17", b"3", b"nonsense", b"\xff"] {
            profile.dropped(payload);
        }
        assert!(codes(&live).is_empty());
        profile.dropped(b"5");
        profile.dropped(b"9\n");
        assert_eq!(codes(&live), ["broker_dropped"]);
        let notice = live.notices().remove(0);
        assert!(notice.en.contains("dropped 6 message(s)"), "{}", notice.en);
        assert!(notice.zh.starts_with("消息服务器"), "{}", notice.zh);
    }
}

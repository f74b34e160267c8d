//! The northbound half against a real mosquitto and a centre that the tests own: the broker is killed, acks are
//! withheld, forged and of the wrong key, the centre starts anew, manifests and blocks are asked for.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::time::Duration;

#[path = "north/broker.rs"]
mod broker;
#[path = "north/centre.rs"]
mod centre;
#[path = "north/site.rs"]
mod site;

use gateway::status::Board;

use broker::Broker;
use centre::{Answer, Centre};
use site::Site;

/// How often each page is made.
const LOOKS: usize = 2_000;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test stood still");
    });
}

#[test]
fn reading_polled_while_the_broker_is_down_is_delivered_once_it_returns() {
    run(async {
        let mut broker = Broker::start().await;
        let mut site = Site::start(&broker, "gw-kill");
        let mut centre = Centre::connect(&broker, "gw-kill").await;
        let mut polled = 0;
        for _ in 0..3 {
            polled += site.poll(40).await;
            centre.until(|c| c.samples() > 0, Answer::Logged).await;
            broker.kill();
            polled += site.poll(40).await;
            site.until(move |b| b.shown.borrow().spool.polled == polled).await;
            broker.restart().await;
            centre.reconnect(&broker).await;
            centre.until(|c| c.samples() == polled, Answer::Logged).await;
        }
        // The last ack may be lost with nothing: it is repeated.
        centre
            .beside(site.until(move |b| b.shown.borrow().spool.stored == polled), Answer::Logged)
            .await;
        let stats = site.board().shown.borrow().spool.clone();
        assert!(stats.is_balanced() && stats.backlog == 0 && stats.declared == 0, "{stats:?}");
        assert_eq!(centre.key_reuse, 0);
        assert!(centre.has_no_hole());
        site.stop().await;
    });
}

#[test]
fn nothing_is_freed_by_puback_by_forged_by_old_or_by_foreign_acks() {
    run(async {
        let broker = Broker::start().await;
        let mut site = Site::start(&broker, "gw-forged");
        let mut centre = Centre::connect(&broker, "gw-forged").await;
        let polled = site.poll(20).await;
        site.until(move |b| b.shown.borrow().spool.polled == polled).await;
        for answer in [
            Answer::Silent,
            Answer::WrongKey,
            Answer::OtherBoot,
            Answer::FutureEcho,
            Answer::NoEcho,
        ] {
            let seen = site.board().progress.borrow().acks_forged
                + site.board().progress.borrow().acks_ignored;
            // Blocks are sent again and again; each time the answer is worth nothing.
            let sent = centre.received;
            centre.until(|c| c.received >= sent + 2, answer).await;
            if answer != Answer::Silent {
                let heard = site.until(move |b| {
                    let p = b.progress.borrow();
                    p.acks_forged + p.acks_ignored > seen
                });
                centre.beside(heard, answer).await;
            }
            let stats = site.board().shown.borrow().spool.clone();
            assert_eq!((stats.stored, stats.backlog), (0, polled), "{answer:?}");
        }
        assert!(site.board().progress.borrow().confirmed > 0, "the broker did confirm");
        centre
            .beside(site.until(move |b| b.shown.borrow().spool.stored == polled), Answer::Logged)
            .await;
        site.stop().await;
    });
}

#[test]
fn centre_with_a_new_log_is_sent_everything_that_its_acks_do_not_name() {
    run(async {
        let broker = Broker::start().await;
        let mut site = Site::start(&broker, "gw-log");
        let mut centre = Centre::connect(&broker, "gw-log").await;
        let polled = site.poll(30).await;
        centre
            .beside(site.until(move |b| b.shown.borrow().spool.stored == polled), Answer::Logged)
            .await;
        // The log is restored from an empty backup: all of it must come again, from the disk.
        centre.lose_everything();
        let more = site.poll(10).await;
        centre.until(|c| c.samples() == polled + more, Answer::Logged).await;
        assert!(centre.list_seen, "the first block after a new log id carries the list");
        centre
            .beside(
                site.until(move |b| b.shown.borrow().spool.stored == polled + more),
                Answer::Logged,
            )
            .await;
        site.stop().await;
    });
}

#[test]
fn manifest_is_sent_when_asked_for_and_rejected_blocks_count_as_quarantined() {
    run(async {
        let broker = Broker::start().await;
        let mut site = Site::start(&broker, "gw-manifest");
        let mut centre = Centre::connect(&broker, "gw-manifest").await;
        let polled = site.poll(10).await;
        centre.until(|c| c.samples() == polled, Answer::NeedManifest).await;
        let manifests = centre.manifests;
        centre.until(|c| c.manifests > manifests, Answer::NeedManifest).await;
        centre.until(centre::Centre::knows_every_manifest, Answer::NeedManifest).await;
        centre
            .beside(
                site.until(move |b| b.shown.borrow().spool.quarantined == polled),
                Answer::Rejected,
            )
            .await;
        let stats = site.board().shown.borrow().spool.clone();
        assert!(stats.is_balanced() && stats.stored == 0, "{stats:?}");
        site.stop().await;
    });
}

#[test]
fn restarted_gateway_delivers_what_the_one_before_left_on_disk() {
    run(async {
        let broker = Broker::start().await;
        let mut site = Site::start(&broker, "gw-again");
        let polled = site.poll(25).await;
        site.until(move |b| b.shown.borrow().spool.polled == polled).await;
        let mut site = site.restart(&broker).await;
        let mut centre = Centre::connect(&broker, "gw-again").await;
        let more = site.poll(5).await;
        centre.until(|c| c.samples() == polled + more, Answer::Logged).await;
        assert_eq!(centre.epochs(), 2);
        assert!(centre.links_name_predecessors());
        centre
            .beside(
                site.until(move |b| b.shown.borrow().spool.stored == polled + more),
                Answer::Logged,
            )
            .await;
        site.stop().await;
        assert_eq!(centre.last_state(&broker).await.map(|s| s.online), Some(false));
    });
}

#[test]
fn what_a_full_spool_had_to_drop_is_declared_to_the_sample() {
    run(async {
        let mut broker = Broker::start().await;
        broker.kill();
        let small = |c: &mut gateway::config::Config| c.gateway.spool_bytes_max = 100 << 10;
        let mut site = Site::start_as(&broker, "gw-full", small);
        let mut polled = 0;
        while site.board().shown.borrow().spool.declared == 0 {
            polled += site.poll(400).await;
            site.until(move |b| b.shown.borrow().spool.polled == polled).await;
        }
        broker.restart().await;
        let mut centre = Centre::connect(&broker, "gw-full").await;
        centre.until(|c| c.samples() + c.declared() == polled, Answer::Logged).await;
        let delivered = centre.samples();
        let settled = move |b: &gateway::status::Board| b.shown.borrow().spool.stored == delivered;
        centre.beside(site.until(settled), Answer::Logged).await;
        let stats = site.board().shown.borrow().spool.clone();
        assert!(stats.is_balanced() && stats.declared == polled - delivered, "{stats:?}");
        site.stop().await;
    });
}

#[test]
fn gateway_without_a_disk_starts_delivers_and_says_so() {
    run(async {
        let broker = Broker::start().await;
        let nowhere = |c: &mut gateway::config::Config| c.gateway.spool_dir = "/proc/davy".into();
        let mut site = Site::start_as(&broker, "gw-memory", nowhere);
        let mut centre = Centre::connect(&broker, "gw-memory").await;
        let polled = site.poll(20).await;
        centre
            .beside(site.until(move |b| b.shown.borrow().spool.stored == polled), Answer::Logged)
            .await;
        assert_eq!(centre.samples(), polled);
        assert!(site.board().troubles()[0].contains("memory only"));
        site.stop().await;
    });
}

#[test]
fn status_page_metrics_and_json_tell_the_account() {
    run(async {
        let broker = Broker::start().await;
        let mut site = Site::start(&broker, "gw-page");
        let mut centre = Centre::connect(&broker, "gw-page").await;
        let polled = site.poll(10).await;
        centre
            .beside(site.until(move |b| b.shown.borrow().spool.stored == polled), Answer::Logged)
            .await;
        let json = site.board().json();
        assert_eq!(json["samples"]["polled"], polled);
        assert_eq!(json["samples"]["balanced"], true);
        let text = gateway::metrics::text(site.board()).unwrap();
        let line = |name: &str, value: u64| {
            let found = text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<f64>().ok());
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let value = value as f64;
            assert_eq!(found, Some(value), "{name}\n{text}");
        };
        line("davy_gateway_polled_samples_total", polled);
        line("davy_gateway_samples{place=\"stored\"}", polled);
        line("davy_gateway_samples{place=\"backlog\"}", 0);
        line("davy_gateway_uplink_connected", 1);
        assert!(site.board().troubles().is_empty(), "{:?}", site.board().troubles());
        site.stop().await;
    });
}

/// A clock that breaks whoever asks it, after a while.
#[derive(Debug)]
struct Breaking {
    clock: gateway::clock::SystemClock,
    left: std::sync::atomic::AtomicI32,
}

impl gateway::clock::Clock for Breaking {
    fn system_ms(&self) -> i64 {
        // Only the spool's thread asks for the system's time after the start.
        let left = self.left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        assert!(
            left > 1 || std::thread::current().name() != Some("spool"),
            "a fault of the test's"
        );
        self.clock.system_ms()
    }
    fn mono_ms(&self) -> u64 {
        self.clock.mono_ms()
    }
    fn mono_of(&self, at: tokio::time::Instant) -> u64 {
        self.clock.mono_of(at)
    }
    fn is_synced(&self) -> bool {
        self.clock.is_synced()
    }
}

#[test]
fn a_spool_thread_that_panics_fails_the_gateway() {
    run(async {
        let broker = Broker::start().await;
        let clock = Breaking {
            clock: gateway::clock::SystemClock::new(),
            left: std::sync::atomic::AtomicI32::new(50),
        };
        let site = Site::start_with(&broker, "gw-break", std::sync::Arc::new(clock));
        site.failed().await;
        // And the stop does not hang on what is gone.
        site.stop().await;
    });
}

// Goal: to be looked at never stops a gateway. Method: what the pages show is written without a pause from another thread, as
// the spool's does, while each of them is made again and again.
#[test]
fn pages_are_made_while_what_they_show_is_written() {
    run(async {
        let broker = Broker::start().await;
        let site = Site::start(&broker, "gw-looked-at");
        let newest = site.board().shown.borrow().clone();
        let (shows, shown) = tokio::sync::watch::channel(newest.clone());
        let board = Board { shown, ..site.board().clone() };
        let (done, looked) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            while !shows.is_closed() {
                shows.send_replace(newest.clone());
            }
        });
        std::thread::spawn(move || {
            for _ in 0..LOOKS {
                assert!(board.json().is_object());
                assert!(board.troubles().iter().all(|trouble| !trouble.is_empty()));
                gateway::metrics::text(&board).unwrap();
            }
            done.send(()).unwrap();
        });
        looked.await.unwrap();
        site.stop().await;
    });
}

//! The probe names the part that stands still, and its rule and addresses are what they should be.

use super::heartbeat::Target;
use super::probe::{Do, LATE_LOOKS, RESEND_LOOKS, ROUND_LOOKS, Sent};
use super::{
    CLEARS, Probe, RAISES, Seen, Sender, Stage, Watched, catalogue, is_synthetic, name_of,
};
use wire::frame::{self, Kind};
use wire::message::{Item, Uplink};
use wire::{Block, Manifest};

/// A pipeline that carries samples up to, and not through, a part.
#[derive(Default)]
struct Pipe {
    seen: Seen,
    sent: u64,
}

impl Pipe {
    /// Looks once, and carries what goes out.
    fn look(&mut self, probe: &mut Probe, stuck: Option<Stage>) -> Do {
        let what = probe.look(&self.seen);
        if matches!(what, Do::Raise | Do::Clear) {
            self.sent += 1;
            let t = i64::try_from(self.sent).unwrap();
            probe.sent(Sent { seq: self.sent, t, returned: self.seen.returned });
        }
        if what != Do::Wait {
            self.carry(stuck);
        }
        what
    }

    fn carry(&mut self, stuck: Option<Stage>) {
        let passes = |stage| stuck.is_none_or(|stuck| stage < stuck);
        let t = i64::try_from(self.sent).unwrap();
        self.seen.returned += u64::from(passes(Stage::Broker));
        self.seen.logged = if passes(Stage::Log) { self.sent } else { self.seen.logged };
        self.seen.judged = if passes(Stage::Evaluator) { t } else { self.seen.judged };
        self.seen.alarmed = if passes(Stage::Alarm) { t } else { self.seen.alarmed };
    }
}

// Goal: a round raises and clears, and the next begins when its time has come and no sooner.
#[test]
fn a_round_raises_and_clears_once_each_period() {
    let (mut probe, mut pipe) = (Probe::default(), Pipe::default());
    let whats: Vec<Do> = (0..=ROUND_LOOKS).map(|_| pipe.look(&mut probe, None)).collect();
    assert_eq!(whats[..3], [Do::Raise, Do::Clear, Do::Wait]);
    assert!(whats[3..ROUND_LOOKS as usize].iter().all(|what| *what == Do::Wait));
    assert_eq!(whats[ROUND_LOOKS as usize], Do::Raise);
    assert!(probe.is_well());
    assert_eq!(probe.rounds().passed, 1);
}

// Goal: whichever part stands still is named once the sample is late, and no sooner; the sample is sent again meanwhile,
// and when the part goes on the failure ends by itself after a whole round.
#[test]
fn each_part_that_stands_still_is_named_and_forgotten() {
    for stage in Stage::ALL {
        let (mut probe, mut pipe) = (Probe::default(), Pipe::default());
        for _ in 0..ROUND_LOOKS {
            pipe.look(&mut probe, None);
        }
        assert!(probe.is_well(), "{stage:?}");
        let mut again = 0;
        for look in 0..=LATE_LOOKS {
            assert_eq!(probe.stuck(), None, "{stage:?} after {look} looks");
            again += u32::from(pipe.look(&mut probe, Some(stage)) == Do::Again);
        }
        assert_eq!(probe.stuck(), Some(stage));
        assert!(!probe.is_well());
        assert_eq!(probe.rounds().failed, 1);
        assert_eq!(again, LATE_LOOKS / RESEND_LOOKS, "{stage:?}");
        pipe.carry(None);
        pipe.look(&mut probe, None);
        assert_eq!(probe.stuck(), Some(stage), "a raise alone is no whole round");
        pipe.look(&mut probe, None);
        assert_eq!((probe.stuck(), probe.is_well()), (None, true), "{stage:?}");
    }
}

// Goal: a part that stands still from the very start is named too: nothing was ever well.
#[test]
fn it_is_not_well_before_a_round_has_come_through() {
    let (mut probe, mut pipe) = (Probe::default(), Pipe::default());
    assert!(!probe.is_well());
    for _ in 0..=LATE_LOOKS {
        pipe.look(&mut probe, Some(Stage::Broker));
    }
    assert_eq!(probe.stuck(), Some(Stage::Broker));
}

// Goal: the rule loads, and two centres at one broker have two names that no other gateway has.
#[test]
fn rule_and_names_are_its_own() {
    assert!(catalogue().rule("SELF").is_some());
    let [one, two] = ["davy-ingest", "davy-ingest-b"].map(name_of);
    assert_ne!(one, two);
    assert!(is_synthetic(one.as_str()) && !is_synthetic("works-1-gw"));
}

// Goal: event times follow the clock, strictly within a segment; a step back opens another one.
#[test]
fn event_times_grow_within_a_segment() {
    let watched = Watched::draw("davy-ingest").unwrap();
    let mut sender = Sender::new(&watched, None);
    let hour = 3_600_000;
    assert_eq!(sender.next(RAISES, 10 * hour, 1), (1, 10 * hour));
    assert_eq!(sender.next(CLEARS, 10 * hour, 1), (2, 10 * hour + 1));
    assert_eq!(sender.next(RAISES, 9 * hour, 2), (3, 9 * hour));
    let [manifest, block] = sender.frames(3).map(|frame| {
        let body = frame::open(&watched.key, Kind::Uplink, &frame).unwrap();
        Uplink::decode(body).unwrap().item
    });
    let Item::Block(bytes) = block else { panic!("the second frame is the block") };
    let Item::Manifest(manifest) = manifest else { panic!("the first frame is the manifest") };
    let block = Block::decode(&bytes).unwrap();
    assert_eq!((block.seq, block.clock.segment), (3, 1));
    block.readings().unwrap().check(&Manifest::decode(&manifest).unwrap()).unwrap();
}

// Goal: an address of the outside watcher is http or https with a host; its debug text shows no path.
#[test]
fn addresses_of_the_watcher_are_read_and_hidden() {
    for wrong in [
        "",
        "hc.example/x",
        "ftp://a/b",
        "http:///x",
        "http://u@h/x",
        "http://h:x/",
        "http://h/a b",
    ] {
        assert_eq!(Target::parse(wrong), None, "{wrong}");
    }
    let target = Target::parse("https://hc.example/ping/5f2b").unwrap();
    assert!(!format!("{target:?}").contains("5f2b"));
    assert!(Target::parse("http://127.0.0.1:8000/ping?x=1").is_some());
}

// Goal: an answer counts however soon the watcher closes behind it, a refusal is one, and a watcher that closes without a
// word has not heard. Method: a listener that does each.
#[tokio::test]
async fn an_answer_counts_although_the_connection_ends_with_it() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let target = Target::parse(&format!("http://{at}/ping")).unwrap();
    for (answer, words) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None),
        ("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n", None),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Some("answers 404")),
        ("", Some("does not answer as HTTP")),
    ] {
        let answers = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (beat, ()) = tokio::join!(target.beat(), answers);
        let said = beat.err().map(|error| error.to_string());
        let is_so = match (&said, words) {
            (None, None) => true,
            (Some(said), Some(words)) => said.contains(words),
            _ => false,
        };
        assert!(is_so, "{answer:?}: {said:?}");
    }
}

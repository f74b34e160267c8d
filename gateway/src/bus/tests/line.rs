//! A Modbus line in memory under a paused clock: devices that answer, refuse, stay silent or come late.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_util::task::TaskTracker;

use crate::bus::link::{Connect, Stream};

/// What one unit does when it is asked for `count` registers from `start`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Does {
    /// Answers that each register holds its own address plus this.
    Answer(u16),
    /// Answers so, but refuses a read that touches one of these registers.
    Lacks(Vec<u16>),
    /// Answers with this exception.
    Except(u8),
    /// Says nothing.
    Silent,
    /// Answers after so long, with the registers' addresses plus this.
    Late(Duration, u16),
    /// Answers for another unit.
    OtherUnit,
}

/// The far end of every connection.
#[derive(Debug, Clone)]
pub(super) struct Line {
    units: Arc<Mutex<BTreeMap<u8, Does>>>,
    open: Arc<Mutex<bool>>,
    latency: Duration,
    tracker: TaskTracker,
    asked: Arc<Mutex<Vec<(u8, u16, u16)>>>,
}

impl Line {
    pub(super) fn new(latency: Duration) -> Self {
        Self {
            units: Arc::default(),
            open: Arc::new(Mutex::new(true)),
            latency,
            tracker: TaskTracker::new(),
            asked: Arc::default(),
        }
    }

    pub(super) fn set(&self, unit: u8, does: Does) {
        self.units.lock().expect("not poisoned").insert(unit, does);
    }

    /// Whether connections are accepted.
    pub(super) fn open(&self, open: bool) {
        *self.open.lock().expect("not poisoned") = open;
    }

    /// Every request so far: unit, start, count.
    pub(super) fn asked(&self) -> Vec<(u8, u16, u16)> {
        self.asked.lock().expect("not poisoned").clone()
    }

    async fn serve(self, mut stream: DuplexStream) {
        let mut frame = [0; 12];
        while stream.read_exact(&mut frame).await.is_ok() {
            if !*self.open.lock().expect("not poisoned") {
                return;
            }
            let (unit, function) = (frame[6], frame[7]);
            assert!(matches!(function, 1..=4), "only reads reach the line");
            let start = u16::from_be_bytes([frame[8], frame[9]]);
            let count = u16::from_be_bytes([frame[10], frame[11]]);
            self.asked.lock().expect("not poisoned").push((unit, start, count));
            let does = self.units.lock().expect("not poisoned").get(&unit).cloned();
            tokio::time::sleep(self.latency).await;
            let registers = |plus: u16| {
                let mut pdu = vec![function, u8::try_from(count * 2).expect("fits")];
                let words = (0..count).flat_map(|i| (start + i + plus).to_be_bytes());
                pdu.extend(words);
                pdu
            };
            let mut from = unit;
            let pdu = match does.unwrap_or(Does::Silent) {
                Does::Answer(plus) => registers(plus),
                Does::Lacks(missing) => {
                    if missing.iter().any(|m| (start..start + count).contains(m)) {
                        vec![function | 0x80, 2]
                    } else {
                        registers(0)
                    }
                }
                Does::Except(code) => vec![function | 0x80, code],
                Does::Silent => continue,
                Does::Late(delay, plus) => {
                    tokio::time::sleep(delay).await;
                    registers(plus)
                }
                Does::OtherUnit => {
                    from = unit + 1;
                    registers(0)
                }
            };
            let length = u16::try_from(pdu.len() + 1).expect("fits").to_be_bytes();
            let mut answer = vec![frame[0], frame[1], 0, 0, length[0], length[1], from];
            answer.extend(pdu);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

impl Connect for Line {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Pin<Box<dyn Stream>>>> {
        Box::pin(async move {
            if !*self.open.lock().expect("not poisoned") {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = duplex(4096);
            self.tracker.spawn(self.clone().serve(far));
            Ok(Box::pin(near) as Pin<Box<dyn Stream>>)
        })
    }
}

//! Serial frames over TCP: answers in pieces, noise, and late answers of a connection before.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_util::task::TaskTracker;

use super::{Connect, Framing, Link, LinkError, Stream};
use crate::bus::frame::{FrameError, Reply, Request};
use crate::profile::Table;

const LIMIT: Duration = Duration::from_secs(1);
const ASK: Request = Request::Read { table: Table::Holding, start: 0, count: 2 };

/// Hands out one prepared stream.
#[derive(Debug, Default)]
struct Once(Arc<Mutex<Option<DuplexStream>>>);

impl Connect for Once {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Pin<Box<dyn Stream>>>> {
        let stream = self.0.lock().expect("not poisoned").take().expect("asked once");
        Box::pin(async move { Ok(Box::pin(stream) as Pin<Box<dyn Stream>>) })
    }
}

/// An answer of unit 1 with two registers.
fn answer(first: u16, second: u16) -> Vec<u8> {
    let mut frame = vec![1, 3, 4];
    frame.extend(first.to_be_bytes());
    frame.extend(second.to_be_bytes());
    // The checksum of the specification, written a second time: bit by bit over the whole message.
    let mut crc = 0xFFFF_u16;
    for byte in &frame {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc >>= 1;
            if carry == 1 {
                crc ^= 0xA001;
            }
        }
    }
    frame.extend(crc.to_le_bytes());
    frame
}

/// Exchanges once with a far end that says `before` at once, and `after` piece by piece once it was asked.
async fn exchange(before: Vec<u8>, after: Vec<Vec<u8>>) -> Result<Reply, LinkError> {
    let (near, mut far) = duplex(1024);
    let tracker = TaskTracker::new();
    tracker.spawn(async move {
        far.write_all(&before).await.expect("there");
        let mut request = [0; 8];
        far.read_exact(&mut request).await.expect("asked");
        assert_eq!(request[..2], [1, 3]);
        for piece in after {
            tokio::time::sleep(Duration::from_millis(7)).await;
            far.write_all(&piece).await.expect("there");
        }
        tokio::time::sleep(LIMIT * 2).await;
    });
    let connector = Once(Arc::new(Mutex::new(Some(near))));
    let link = Link::open(&connector, "line", Framing::Rtu, LIMIT).await?;
    link.exchange(1, ASK, LIMIT).await.map(|(_, answered)| answered.reply)
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_pieces_is_whole() {
    let whole = answer(7, 8);
    let pieces = whole.chunks(2).map(<[u8]>::to_vec).collect();
    let reply = exchange(Vec::new(), pieces).await.expect("an answer");
    assert_eq!(reply, Reply::Words(vec![7, 8]));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_of_the_connection_before_is_thrown_away() {
    let reply = exchange(answer(1, 2), vec![answer(7, 8)]).await.expect("an answer");
    assert_eq!(reply, Reply::Words(vec![7, 8]));
}

#[tokio::test(start_paused = true)]
async fn noise_and_strangers_are_no_answer() {
    let mut damaged = answer(7, 8);
    damaged[4] ^= 0x10;
    let error = exchange(Vec::new(), vec![damaged]).await.expect_err("damaged");
    assert!(matches!(error, LinkError::Frame(FrameError::Checksum { .. })), "{error:?}");
    let mut stranger = answer(7, 8);
    stranger[0] = 2;
    let error = exchange(Vec::new(), vec![stranger]).await.expect_err("another unit");
    assert!(matches!(error, LinkError::Frame(FrameError::Unit { .. })), "{error:?}");
    let twice = [answer(7, 8), answer(7, 8)].concat();
    let error = exchange(Vec::new(), vec![twice]).await.expect_err("two answers");
    assert!(matches!(error, LinkError::Frame(FrameError::Surplus(9))), "{error:?}");
    let error = exchange(Vec::new(), vec![answer(7, 8)[..5].to_vec()]).await.expect_err("cut off");
    assert!(matches!(error, LinkError::Timeout(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_lie_there_before_the_question_are_no_answer() {
    // The late answer comes after the line was quiet, before the question; then the true answer comes.
    let (near, mut far) = duplex(1024);
    let connector = Once(Arc::new(Mutex::new(Some(near))));
    let link = Link::open(&connector, "line", Framing::Rtu, LIMIT).await.expect("quiet");
    far.write_all(&answer(1, 2)).await.expect("there");
    let error = link.exchange(1, ASK, LIMIT).await.expect_err("unasked");
    assert!(matches!(error, LinkError::Unasked(9)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn late_answers_of_owing_units_are_thrown_away() {
    let (near, mut far) = duplex(1024);
    let connector = Once(Arc::new(Mutex::new(Some(near))));
    let mut link = Link::open(&connector, "line", Framing::Rtu, LIMIT).await.expect("quiet");
    link.owed_by([1, 9]);
    far.write_all(&answer(1, 2)).await.expect("there");
    let ask = Request::Read { table: Table::Holding, start: 0, count: 1 };
    let mut wanted = vec![2, 3, 2, 0, 5];
    wanted.extend(crate::bus::frame::crc16(&wanted).to_le_bytes());
    let after = [answer(3, 4), wanted].concat();
    let tracker = TaskTracker::new();
    tracker.spawn(async move {
        let mut request = [0; 8];
        far.read_exact(&mut request).await.expect("asked");
        for piece in after.chunks(4) {
            far.write_all(piece).await.expect("there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(LIMIT * 2).await;
    });
    let (_, answered) = link.exchange(2, ask, LIMIT).await.expect("an answer");
    assert_eq!((answered.reply, answered.late), (Reply::Words(vec![5]), 2));
}

/// Asks unit 1 over Modbus TCP; the far end answers with these frames, under its request's transaction plus the first.
async fn exchange_tcp(frames: Vec<(u16, Vec<u8>)>) -> Result<Reply, LinkError> {
    let (near, mut far) = duplex(1024);
    let tracker = TaskTracker::new();
    tracker.spawn(async move {
        let mut request = [0; 12];
        far.read_exact(&mut request).await.expect("asked");
        let transaction = u16::from_be_bytes([request[0], request[1]]);
        for (ahead, rest) in frames {
            let mut frame = transaction.wrapping_add(ahead).to_be_bytes().to_vec();
            frame.extend([0, 0, 0, u8::try_from(rest.len()).expect("short")]);
            frame.extend(rest);
            far.write_all(&frame).await.expect("there");
        }
        tokio::time::sleep(LIMIT * 2).await;
    });
    let connector = Once(Arc::new(Mutex::new(Some(near))));
    let link = Link::open(&connector, "line", Framing::Tcp, LIMIT).await?;
    link.exchange(1, ASK, LIMIT).await.map(|(_, answered)| answered.reply)
}

#[tokio::test(start_paused = true)]
async fn on_modbus_tcp_transaction_unit_function_and_length_must_fit() {
    let right = vec![1, 3, 4, 0, 7, 0, 8];
    let stale = vec![1, 3, 4, 0, 1, 0, 2];
    let reply = exchange_tcp(vec![(u16::MAX, stale.clone()), (0, right.clone())]).await;
    assert_eq!(reply.expect("the stale one is skipped"), Reply::Words(vec![7, 8]));
    let error = exchange_tcp(vec![(1, right.clone())]).await.expect_err("another transaction");
    assert!(matches!(error, LinkError::Timeout(_)), "{error:?}");
    let wrong = [
        vec![2, 3, 4, 0, 7, 0, 8],
        vec![1, 4, 4, 0, 7, 0, 8],
        vec![1, 3, 2, 0, 7],
        vec![1, 3, 4, 0, 7, 0, 8, 0],
        vec![1, 0x83, 2, 0],
    ];
    for frame in wrong {
        let error = exchange_tcp(vec![(0, frame.clone())]).await.expect_err("no answer");
        assert!(matches!(error, LinkError::Frame(_)), "{frame:?}: {error:?}");
    }
}

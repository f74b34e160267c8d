//! The way to InfluxDB with a fault in it: slow, answering for the database what one likes, or swallowing its answers.
//!
//! Only writes are touched. HTTP/1.1 by hand, one request after the other on a connection, bodies with a length: what the
//! centre sends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longest body.
const BODY_MAX: usize = 64 << 20;

/// What happens to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// It goes through.
    Open,
    /// It goes through after this time.
    Slow(Duration),
    /// The database never sees it; this is answered.
    Answers {
        /// Status.
        status: u16,
        /// `Retry-After`, s.
        retry_after: Option<u32>,
    },
    /// The database takes it, and the connection breaks before the answer.
    Swallows,
}

/// A door that stands until it is dropped.
#[derive(Debug)]
pub struct DoorWay {
    /// Where the centre connects to.
    pub address: SocketAddr,
    door: Arc<watch::Sender<Door>>,
    hit: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl DoorWay {
    /// Stands before the database at `target`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> Result<DoorWay> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let door = Arc::new(watch::Sender::new(Door::Open));
        let (hit, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let (state, counted, stopped) = (door.subscribe(), Arc::clone(&hit), stop.clone());
        let tasks = TaskTracker::new();
        let spawner = tasks.clone();
        tasks.spawn(async move {
            let accept = async {
                while let Ok((client, _)) = listener.accept().await {
                    let (state, counted) = (state.clone(), Arc::clone(&counted));
                    spawner.spawn(async move {
                        // Either side's end is the end of the connection, as with any proxy.
                        serve(client, target, &state, &counted).await.ok();
                    });
                }
            };
            tokio::select! {
                () = accept => {}
                () = stopped.cancelled() => {}
            }
        });
        Ok(DoorWay { address, door, hit, stop })
    }

    /// Sets what happens to writes from now on.
    pub fn set(&self, door: Door) {
        self.hit.store(0, Ordering::Relaxed);
        self.door.send_replace(door);
    }

    /// Writes that met the present fault.
    #[must_use]
    pub fn met(&self) -> u64 {
        self.hit.load(Ordering::Relaxed)
    }
}

impl Drop for DoorWay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(
    client: TcpStream,
    target: SocketAddr,
    state: &watch::Receiver<Door>,
    hit: &AtomicU64,
) -> Result<()> {
    let mut client = BufReader::new(client);
    let mut server: Option<BufReader<TcpStream>> = None;
    loop {
        let request = message(&mut client).await?;
        let is_write = request.head.starts_with("POST /api/v2/write");
        let door = if is_write { *state.borrow() } else { Door::Open };
        if door != Door::Open {
            hit.fetch_add(1, Ordering::Relaxed);
        }
        if let Door::Answers { status, retry_after } = door {
            let after = retry_after.map_or_else(String::new, |s| format!("retry-after: {s}\r\n"));
            let body =
                format!("{{\"code\":\"fault\",\"message\":\"answered {status} by a test\"}}");
            let answer = format!(
                "HTTP/1.1 {status} Fault\r\n{after}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            client.write_all(answer.as_bytes()).await?;
            continue;
        }
        if let Door::Slow(time) = door {
            tokio::time::sleep(time).await;
        }
        let upstream = match &mut server {
            Some(upstream) => upstream,
            none => none.insert(BufReader::new(TcpStream::connect(target).await?)),
        };
        upstream.write_all(request.head.as_bytes()).await?;
        upstream.write_all(&request.body).await?;
        let answer = message(upstream).await?;
        ensure!(door != Door::Swallows, "the answer is swallowed");
        client.write_all(answer.head.as_bytes()).await?;
        client.write_all(&answer.body).await?;
    }
}

struct Message {
    head: String,
    body: Vec<u8>,
}

async fn message(from: &mut BufReader<TcpStream>) -> Result<Message> {
    let (mut head, mut length, mut chunked) = (String::new(), 0usize, false);
    loop {
        let start = head.len();
        ensure!(from.read_line(&mut head).await? > 0, "the connection ended");
        let line = head[start..].trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
    }
    ensure!(length <= BODY_MAX, "a body of {length} bytes");
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    while chunked {
        let start = body.len();
        let mut size = String::new();
        ensure!(from.read_line(&mut size).await? > 0, "the connection ended in a body");
        body.extend_from_slice(size.as_bytes());
        let text = size.trim().split(';').next().unwrap_or_default();
        let bytes = usize::from_str_radix(text, 16).context("a chunk's length")?;
        ensure!(start + bytes <= BODY_MAX, "a body without an end");
        let mut chunk = vec![0; bytes + 2];
        from.read_exact(&mut chunk).await?;
        body.extend_from_slice(&chunk);
        chunked = bytes > 0;
    }
    Ok(Message { head, body })
}

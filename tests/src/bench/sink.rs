//! A database that takes everything and keeps nothing: answers like InfluxDB 2 and counts lines, so that what is left is
//! our own cost. It unpacks only as far as it must to count.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::influx::{BUCKET, ORG};

/// Longest body taken, bytes.
const BODY_MAX: usize = 64 << 20;

/// The running sink; ends when dropped.
#[derive(Debug)]
pub struct Sink {
    /// Address to give as the database's.
    pub url: String,
    lines: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Sink {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When no port is left.
    pub async fn start() -> Result<Sink> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let lines = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lines);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let lines = Arc::clone(&counted);
                // A connection that breaks is the client's business.
                connections.spawn(async move { drop(serve(stream, &lines).await) });
            }
        });
        Ok(Sink { url, lines, _tasks: tasks })
    }

    /// Lines taken so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }
}

async fn serve(stream: TcpStream, lines: &AtomicU64) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut body = Vec::new();
    loop {
        let (mut first, mut length) = (String::new(), 0_usize);
        if stream.read_line(&mut first).await? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            if line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("header")?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        anyhow::ensure!(length <= BODY_MAX, "body of {length} bytes");
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
        let answer = if first.contains("/api/v2/write") {
            lines.fetch_add(count(&body)?, Ordering::Relaxed);
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        } else {
            let json = format!(
                "{{\"buckets\":[{{\"name\":{BUCKET:?},\"orgID\":{ORG:?},\"retentionRules\":[]}}]}}"
            );
            let length = json.len();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
            )
        };
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
}

fn count(body: &[u8]) -> Result<u64> {
    let newlines = |bytes: &[u8]| bytes.iter().filter(|b| **b == b'\n').count() as u64;
    if !body.starts_with(&[0x1f, 0x8b]) {
        return Ok(newlines(body));
    }
    let mut decoder = GzDecoder::new(body);
    let (mut buffer, mut lines) = (vec![0; 64 << 10], 0);
    loop {
        match decoder.read(&mut buffer)? {
            0 => return Ok(lines),
            n => lines += newlines(&buffer[..n]),
        }
    }
}

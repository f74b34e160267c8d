//! A loopback HTTP door through which a browser test acts on the plant and on the centre.
//!
//! `POST /drive?device=gas-1&channel=0&value=58&per_s=20`, `POST /run?device=line-1&share=0`,
//! `POST /answer?device=gas-1&answers=false`, `POST /kill` and `POST /start` (the centre). Answers 200 when done, 400 with
//! the reason.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::plant::site::Site;

/// What may be done to the centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CentreOrder {
    /// SIGKILL.
    Kill,
    /// Start it again.
    Start,
}

/// Serves until the listener fails; one request a connection.
///
/// # Errors
/// When the listener fails.
pub async fn serve<F, O>(listener: TcpListener, site: &Site, mut centre: O) -> Result<()>
where
    O: FnMut(CentreOrder) -> F,
    F: Future<Output = Result<()>>,
{
    loop {
        let (mut stream, _) = listener.accept().await?;
        let Ok(target) = request(&mut stream).await else { continue };
        let done = match target.as_str() {
            "/kill" => centre(CentreOrder::Kill).await,
            "/start" => centre(CentreOrder::Start).await,
            other => act(site, other),
        };
        let answer = match done {
            Ok(()) => {
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned()
            }
            Err(e) => {
                let words = format!("{e:#}");
                format!(
                    "HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{words}",
                    words.len()
                )
            }
        };
        // A client that has gone needs no answer.
        stream.write_all(answer.as_bytes()).await.ok();
    }
}

/// Reads a request and gives its target; headers and body are passed over.
async fn request(stream: &mut TcpStream) -> Result<String> {
    let mut reader = BufReader::new(stream).take(16 << 10);
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let target = line.split(' ').nth(1).context("a request line")?.to_owned();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).await? == 0 || header.trim().is_empty() {
            return Ok(target);
        }
    }
}

fn act(site: &Site, target: &str) -> Result<()> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let values: BTreeMap<&str, &str> =
        query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let text = |name: &str| values.get(name).copied().with_context(|| format!("{name} is missing"));
    let number = |name: &str| -> Result<f64> { Ok(text(name)?.parse()?) };
    let device = text("device")?;
    match path {
        "/drive" => {
            let channel: usize = text("channel")?.parse()?;
            site.drive(device, channel, number("value")?, number("per_s")?);
        }
        "/run" => site.run(device, number("share")?),
        "/answer" => site.answer(device, text("answers")? == "true"),
        other => bail!("{other} is unknown"),
    }
    Ok(())
}

/// Binds the door.
///
/// # Errors
/// When no port is free.
pub async fn bind() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

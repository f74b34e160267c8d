//! Between a store and its database: lets so many writes through, and ends the connection of every later one unanswered.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Everything but writes always passes.
#[derive(Debug)]
pub(crate) struct Door {
    port: u16,
    left: Arc<AtomicUsize>,
}

impl Door {
    /// In front of a server on this port; open.
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let passes = Arc::clone(&left);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let passes = Arc::clone(&passes);
                // A peer that went away, or a server that is being killed: the connection just ends.
                std::thread::spawn(move || pass(stream?, server, &passes));
            }
        });
        Self { port, left }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lets so many more writes through.
    pub(crate) fn lets(&self, writes: usize) {
        self.left.store(writes, Ordering::SeqCst);
    }

    pub(crate) fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }
}

/// Carries one request and its answer.
fn pass(mut stream: TcpStream, server: u16, left: &AtomicUsize) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0_usize);
    let start = request.len();
    request.resize(start + length, 0);
    stream.read_exact(&mut request[start..])?;
    let fewer = |n: usize| if n == usize::MAX { Some(n) } else { n.checked_sub(1) };
    let is_write = head.contains(" /write");
    if is_write && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_err() {
        return Ok(());
    }
    let line_end = request.windows(2).position(|two| two == b"\r\n").map_or(0, |at| at + 2);
    request.splice(line_end..line_end, *b"Connection: close\r\n");
    let mut behind = TcpStream::connect(("127.0.0.1", server))?;
    behind.write_all(&request)?;
    let mut answer = Vec::new();
    behind.read_to_end(&mut answer)?;
    stream.write_all(&answer)
}

//! A database that answers what a real one will not on demand: 413, 429, 500, 503, and silence after it has stored.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What the fake does with a write.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// 204, stored.
    Take,
    /// This status with this message, nothing stored.
    Answer(u16, &'static str),
    /// This status and `Retry-After` in seconds, nothing stored; the next request without a body gets the same.
    AskFor(u16, u32),
    /// Stored, then the connection is closed without an answer.
    TakeAndBreak,
}

/// Decides about a write from its lines.
pub(crate) type Script = Box<dyn FnMut(&[String]) -> Act + Send>;

#[derive(Default)]
struct Seen {
    /// Line without its fields → the line: a rewrite of the same series and time replaces.
    stored: BTreeMap<String, String>,
    /// What was asked for last.
    asked: Option<(u16, u32)>,
    /// Lines of each request.
    requests: Vec<usize>,
}

/// The fake; ends with the test.
pub(crate) struct Fake {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, is_over) =
            (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let script = Arc::new(Mutex::new(script));
        let (seen_by, over) = (Arc::clone(&seen), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let (seen, script) = (Arc::clone(&seen_by), Arc::clone(&script));
                let stream = stream.unwrap();
                std::thread::spawn(move || serve(stream, &seen, &script));
            }
        });
        let url = format!("http://{address}");
        Self { url, seen, is_over, thread: Some(thread) }
    }

    /// All lines that are stored.
    pub(crate) fn stored(&self) -> Vec<String> {
        self.seen.lock().unwrap().stored.values().cloned().collect()
    }

    /// How many lines each write had.
    pub(crate) fn requests(&self) -> Vec<usize> {
        self.seen.lock().unwrap().requests.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener so that it sees the end.
        TcpStream::connect(self.url.trim_start_matches("http://")).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Seen>, script: &Mutex<Script>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(Request { path, body, is_gzip }) = request(&mut reader) {
        let mut headers = String::new();
        let answer = if path.starts_with("/api/v2/write") && body.is_empty() {
            match seen.lock().unwrap().asked {
                Some((status, seconds)) => {
                    headers = format!("Retry-After: {seconds}\r\n");
                    (status, String::new())
                }
                None => (204, String::new()),
            }
        } else if path.starts_with("/api/v2/query") {
            // More than anybody reads.
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nConnection: close\r\n\r\n,result,table,_time,_value\r\n";
            let row = ",value,0,2023-11-15T00:00:00Z,1.5\r\n".repeat(30_000);
            writer.write_all(head.as_bytes()).ok();
            while writer.write_all(row.as_bytes()).is_ok() {}
            return;
        } else if path.starts_with("/api/v2/write") {
            // Like the real one: the header decides, and what does not fit it is an error.
            let text = match is_gzip {
                true => {
                    let mut text = String::new();
                    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
                    text
                }
                false => String::from_utf8(body).unwrap(),
            };
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let act = (script.lock().unwrap())(&lines);
            let mut seen = seen.lock().unwrap();
            seen.requests.push(lines.len());
            seen.asked = match act {
                Act::AskFor(status, seconds) => Some((status, seconds)),
                _ => None,
            };
            if !matches!(act, Act::Answer(..) | Act::AskFor(..)) {
                for line in lines {
                    let (rest, time) = line.rsplit_once(' ').unwrap();
                    let (series, fields) = rest.rsplit_once(' ').unwrap();
                    let names: Vec<&str> =
                        fields.split(',').map(|f| f.split('=').next().unwrap()).collect();
                    seen.stored.insert(format!("{series} {time} {names:?}"), line);
                }
            }
            match act {
                Act::Take => (204, String::new()),
                Act::Answer(status, message) => {
                    (status, format!("{{\"code\":\"x\",\"message\":\"{message}\"}}"))
                }
                Act::AskFor(status, _) => (status, String::new()),
                Act::TakeAndBreak => return,
            }
        } else {
            let bucket = r#"{"buckets":[{"name":"b","retentionRules":[]}]}"#;
            (200, bucket.to_owned())
        };
        let (status, body) = answer;
        let head = format!(
            "HTTP/1.1 {status} X\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if writer.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

struct Request {
    path: String,
    body: Vec<u8>,
    is_gzip: bool,
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
    let path = first.split(' ').nth(1)?.to_owned();
    let (mut length, mut is_gzip) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        match line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim())) {
            Some((name, value)) if name == "content-length" => length = value.parse().ok()?,
            Some((name, value)) if name == "content-encoding" => is_gzip = value == "gzip",
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, body, is_gzip })
}

//! One connection to one endpoint: a request, its answer, nothing else in flight.
//!
//! Owned by one bus task. An answer to an older transaction is dropped and reading goes on to the deadline, so a late
//! answer is never taken for the next value. After any error the link must be dropped, because bytes of an unread
//! answer may still be on their way; [`Link::exchange`] says so by taking itself apart. Serial frames have no
//! transaction: `link/serial.rs` has what keeps their answers apart.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::frame::{FrameError, HEADER_BYTES, Reply, Request, header};

mod serial;

/// A byte stream to an endpoint.
pub trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// Makes connections; the seam by which tests put a line of their own under a bus.
pub trait Connect: Send + Sync + std::fmt::Debug {
    /// Connects to `host:port`.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Pin<Box<dyn Stream>>>>;
}

/// Connects over TCP: no delay, keepalive after 10 s, dead peers dropped by the kernel after 15 s.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Pin<Box<dyn Stream>>>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let keepalive = socket2::TcpKeepalive::new()
                .with_time(Duration::from_secs(10))
                .with_interval(Duration::from_secs(5));
            let socket = socket2::SockRef::from(&stream);
            socket.set_tcp_keepalive(&keepalive)?;
            #[cfg(target_os = "linux")]
            socket.set_tcp_user_timeout(Some(Duration::from_secs(15)))?;
            Ok(Box::pin(stream) as Pin<Box<dyn Stream>>)
        })
    }
}

/// Why an exchange gave no answer. The link is gone in every case.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing (or nothing for us) came in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Bytes were there before anything was asked: nobody can tell what answers what on this connection.
    #[error("{0} bytes came unasked: a very late answer, or another master on the line")]
    Unasked(usize),
    /// The connection broke.
    #[error("connection lost")]
    Lost(#[source] io::Error),
    /// An answer that answers something else.
    #[error("not an answer to the request")]
    Frame(#[source] FrameError),
}

/// The cause below an error, in words.
#[must_use]
pub fn cause(error: &LinkError) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}

/// An error with its cause, in words for a person.
#[must_use]
pub fn words(error: &LinkError) -> String {
    let zh = match error {
        LinkError::Timeout(_) => "无应答",
        LinkError::Unasked(_) => "线路上有多余的数据",
        LinkError::Lost(_) => "连接中断",
        LinkError::Frame(_) => "应答不符",
    };
    match cause(error) {
        Some(cause) => format!("{zh} {error}: {cause}"),
        None => format!("{zh} {error}"),
    }
}

/// How frames are told apart on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Modbus TCP: a header with transaction and length.
    #[default]
    Tcp,
    /// Serial frames through a transparent serial server (4G DTU): checksum, no transaction.
    Rtu,
}

/// An open connection.
pub struct Link {
    stream: Pin<Box<dyn Stream>>,
    framing: Framing,
    transaction: u16,
    /// Units whose answer to an earlier request may still come.
    owing: Vec<u8>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link(transaction {})", self.transaction)
    }
}

/// An answer with its times.
#[derive(Debug, Clone)]
pub struct Answered {
    /// What the device said.
    pub reply: Reply,
    /// When its last byte was here.
    pub arrived: Instant,
    /// From the request's first byte to the answer's last.
    pub round_trip: Duration,
    /// Answers of other units to earlier requests that were thrown away on the way.
    pub late: u32,
    /// It shows that the device is there and nothing else: it may answer an earlier request.
    pub is_sign: bool,
}

/// Answers to older transactions dropped during one exchange before the peer counts as broken.
const LATE_ANSWERS_MAX: usize = 16;

impl Link {
    /// Connects, within `limit`. A serial line is then listened to until it is quiet: frames there carry no
    /// transaction, and the answer to a request of the connection before may still be on its way.
    ///
    /// # Errors
    /// [`LinkError::Timeout`] and [`LinkError::Lost`].
    pub async fn open(
        connector: &dyn Connect,
        address: &str,
        framing: Framing,
        limit: Duration,
    ) -> Result<Self, LinkError> {
        let mut link = match timeout_at(Instant::now() + limit, connector.connect(address)).await {
            Ok(Ok(stream)) => Self { stream, framing, transaction: 0, owing: Vec::new() },
            Ok(Err(source)) => return Err(LinkError::Lost(source)),
            Err(_) => return Err(LinkError::Timeout(limit)),
        };
        if framing == Framing::Rtu {
            link.listen_until_quiet(serial::QUIET).await?;
        }
        Ok(link)
    }

    /// Sends one request and waits for its answer. Gives the link back only with a whole answer.
    ///
    /// # Errors
    /// [`LinkError`]; the connection is closed.
    ///
    /// # Cancel safety
    /// None, and none needed: a dropped exchange has closed the connection.
    pub async fn exchange(
        mut self,
        unit: u8,
        request: Request,
        limit: Duration,
    ) -> Result<(Self, Answered), LinkError> {
        self.transaction = self.transaction.wrapping_add(1);
        let mut late = 0;
        if self.framing == Framing::Rtu {
            late += self.nothing_unasked().await?;
        }
        let sent = Instant::now();
        let whole = async {
            let frame = match self.framing {
                Framing::Tcp => request.encode(self.transaction, unit),
                Framing::Rtu => request.encode_rtu(unit),
            };
            self.stream.write_all(&frame).await.map_err(LinkError::Lost)?;
            self.stream.flush().await.map_err(LinkError::Lost)?;
            match self.framing {
                Framing::Tcp => self.receive(unit, request).await,
                Framing::Rtu => self.receive_serial(unit, request, &mut late).await,
            }
        };
        let reply =
            timeout_at(sent + limit, whole).await.map_err(|_| LinkError::Timeout(limit))??;
        let arrived = Instant::now();
        let round_trip = arrived - sent;
        Ok((self, Answered { reply, arrived, round_trip, late, is_sign: false }))
    }

    async fn receive(&mut self, unit: u8, request: Request) -> Result<Reply, LinkError> {
        for _ in 0..LATE_ANSWERS_MAX {
            let mut head = [0; HEADER_BYTES];
            self.stream.read_exact(&mut head).await.map_err(LinkError::Lost)?;
            let head = header(head).map_err(LinkError::Frame)?;
            let mut pdu = [0; super::frame::PDU_BYTES_MAX];
            let pdu = &mut pdu[..head.pdu_bytes];
            self.stream.read_exact(pdu).await.map_err(LinkError::Lost)?;
            if head.transaction != self.transaction {
                continue;
            }
            if head.unit != unit {
                let wrong = FrameError::Unit { asked: unit, found: head.unit };
                return Err(LinkError::Frame(wrong));
            }
            return request.answer(pdu).map_err(LinkError::Frame);
        }
        Err(LinkError::Lost(io::Error::other("answers of other transactions only")))
    }
}

#[cfg(test)]
mod tests;

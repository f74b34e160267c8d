//! One connection to one endpoint: a request, its answer, nothing else in flight.
//!
//! Owned by one bus task. An answer to an older transaction is dropped and reading goes on to the deadline, so a late
//! answer is never taken for the next value. After any error the link must be dropped, because bytes of an unread
//! answer may still be on their way; [`Link::exchange`] says so by taking itself apart.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::frame::{FrameError, HEADER_BYTES, Reply, Request, header};

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

/// How frames are told apart on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Modbus TCP: a header with transaction and length.
    #[default]
    Tcp,
    /// Serial frames through a transparent serial server (4G DTU): checksum, no transaction.
    Rtu,
}

/// Silence after which a serial line has said all it had to say to somebody else.
const RTU_QUIET: Duration = Duration::from_millis(100);

/// Longest wait for that silence; a line that talks on is not ours.
const RTU_QUIET_MAX: Duration = Duration::from_secs(2);

/// An open connection.
pub struct Link {
    stream: Pin<Box<dyn Stream>>,
    framing: Framing,
    transaction: u16,
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
}

/// Bytes of the longest serial frame.
const RTU_BYTES_MAX: usize = 256;

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
            Ok(Ok(stream)) => Self { stream, framing, transaction: 0 },
            Ok(Err(source)) => return Err(LinkError::Lost(source)),
            Err(_) => return Err(LinkError::Timeout(limit)),
        };
        if framing == Framing::Rtu {
            link.listen_until_quiet(RTU_QUIET).await?;
        }
        Ok(link)
    }

    /// Throws away what comes until nothing came for `quiet`.
    async fn listen_until_quiet(&mut self, quiet: Duration) -> Result<(), LinkError> {
        let end = Instant::now() + RTU_QUIET_MAX;
        let mut noise = [0; 256];
        while Instant::now() < end {
            match timeout_at(Instant::now() + quiet, self.stream.read(&mut noise)).await {
                Err(_) => return Ok(()),
                Ok(Ok(0)) => return Err(LinkError::Lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(_)) => {}
                Ok(Err(source)) => return Err(LinkError::Lost(source)),
            }
        }
        Err(LinkError::Lost(io::Error::other("the line is never quiet: another master on it?")))
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
                Framing::Rtu => self.receive_rtu(unit, request).await,
            }
        };
        let reply =
            timeout_at(sent + limit, whole).await.map_err(|_| LinkError::Timeout(limit))??;
        let arrived = Instant::now();
        Ok((self, Answered { reply, arrived, round_trip: arrived - sent }))
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

    /// Serial servers cut answers into pieces as they like: the length in the frame says when it is whole.
    async fn receive_rtu(&mut self, unit: u8, request: Request) -> Result<Reply, LinkError> {
        let mut frame = Vec::with_capacity(64);
        loop {
            let whole = request.rtu_bytes(unit, &frame).map_err(LinkError::Frame)?;
            if let Some(whole) = whole.filter(|whole| *whole <= frame.len()) {
                // Bytes behind a whole answer belong to nobody: the link cannot be trusted with the next one.
                return match frame.len() == whole {
                    true => request.answer_rtu(&frame).map_err(LinkError::Frame),
                    false => Err(LinkError::Frame(FrameError::Bytes {
                        wanted: whole,
                        found: frame.len(),
                    })),
                };
            }
            if frame.len() > RTU_BYTES_MAX {
                return Err(LinkError::Frame(FrameError::Bytes {
                    wanted: RTU_BYTES_MAX,
                    found: frame.len(),
                }));
            }
            let mut piece = [0; 256];
            match self.stream.read(&mut piece).await.map_err(LinkError::Lost)? {
                0 => return Err(LinkError::Lost(io::ErrorKind::UnexpectedEof.into())),
                count => frame.extend(&piece[..count]),
            }
        }
    }
}

#[cfg(test)]
mod tests;

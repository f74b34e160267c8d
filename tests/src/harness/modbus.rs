//! A Modbus TCP server for simulated devices: it answers functions 1–4, as many units as one likes behind one endpoint.
//!
//! What a unit answers is decided by an [`Units`]; nothing here knows a register map.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One read request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Unit id, 0–255.
    pub unit: u8,
    /// Function code 1–4.
    pub function: u8,
    /// First address, 0-based as on the wire.
    pub address: u16,
    /// Number of registers or bits.
    pub count: u16,
}

/// What a unit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Registers, for functions 3 and 4.
    Words(Vec<u16>),
    /// Bits, for functions 1 and 2.
    Bits(Vec<bool>),
    /// An exception code.
    Exception(u8),
    /// Nothing at all, as an absent unit.
    Silence,
}

/// The devices behind one endpoint.
pub trait Units: std::fmt::Debug + Send + Sync + 'static {
    /// Answers one request. Called once a request, in the order of arrival on each connection.
    fn answer(&self, request: Request) -> Answer;
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Where clients connect to.
    pub address: SocketAddr,
    stop: CancellationToken,
}

impl Server {
    /// Listens on `listen` (port 0 for a free one) on the present runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(listen: SocketAddr, units: Arc<dyn Units>) -> Result<Server> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (stopped, spawner) = (stop.clone(), tasks.clone());
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stopped.cancelled() => return,
                };
                let Ok((stream, _)) = accepted else { continue };
                let (units, stopped) = (Arc::clone(&units), stopped.clone());
                spawner.spawn(async move {
                    tokio::select! {
                        // The client's end or nonsense from it ends its connection, nothing else.
                        _ = serve(stream, &*units) => {}
                        () = stopped.cancelled() => {}
                    }
                });
            }
        });
        Ok(Server { address, stop })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(mut stream: TcpStream, units: &dyn Units) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        // MBAP: transaction u16 | protocol u16 = 0 | length u16 (unit and PDU) | unit u8, then the PDU.
        let mut head = [0u8; 7];
        stream.read_exact(&mut head).await?;
        let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
        if head[2..4] != [0, 0] || !(2..=254).contains(&length) {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let mut pdu = vec![0u8; length - 1];
        stream.read_exact(&mut pdu).await?;
        let Some(body) = reply(head[6], &pdu, units) else { continue };
        let mut frame = Vec::with_capacity(7 + body.len());
        frame.extend_from_slice(&head[..4]);
        frame.extend_from_slice(&u16::try_from(body.len() + 1).unwrap_or(u16::MAX).to_be_bytes());
        frame.push(head[6]);
        frame.extend_from_slice(&body);
        stream.write_all(&frame).await?;
    }
}

/// The reply's PDU, or nothing where the unit stays silent.
fn reply(unit: u8, pdu: &[u8], units: &dyn Units) -> Option<Vec<u8>> {
    let function = pdu[0];
    let exception = |code: u8| Some(vec![function | 0x80, code]);
    if !(1..=4).contains(&function) || pdu.len() != 5 {
        return exception(1);
    }
    let address = u16::from_be_bytes([pdu[1], pdu[2]]);
    let count = u16::from_be_bytes([pdu[3], pdu[4]]);
    let most = if function <= 2 { 2000 } else { 125 };
    if count == 0 || count > most {
        return exception(3);
    }
    let data: Vec<u8> = match units.answer(Request { unit, function, address, count }) {
        Answer::Silence => return None,
        Answer::Exception(code) => return exception(code),
        Answer::Words(words) => words.iter().flat_map(|w| w.to_be_bytes()).collect(),
        Answer::Bits(bits) => bits
            .chunks(8)
            .map(|c| c.iter().enumerate().fold(0u8, |byte, (i, bit)| byte | (u8::from(*bit) << i)))
            .collect(),
    };
    let mut body = vec![function, u8::try_from(data.len()).unwrap_or(u8::MAX)];
    body.extend_from_slice(&data);
    Some(body)
}

//! Modbus frames: the only bytes this program can put on a field bus.
//!
//! ```text
//! TCP  transaction u16 | protocol u16 = 0 | length u16 | unit u8 | function u8 | …
//! RTU                                                    unit u8 | function u8 | … | CRC-16, low byte first
//! ```
//!
//! Read-only by construction: [`Request`] has reads of the four tables and device identification, and nothing else can
//! be encoded. That is why the client is our own and not tokio-modbus, whose request type has every write in it; the
//! other reasons are that transaction, unit, function and byte count must all match in release builds too, and that a
//! late answer must be told from the next value. Called by `link.rs`; it does no I/O and never panics on what it reads.

use crate::profile::Table;

/// Everything that may be asked of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Function codes 1 to 4, by table.
    Read {
        /// Which table.
        table: Table,
        /// First address, 0-based.
        start: u16,
        /// How many registers or bits.
        count: u16,
    },
    /// Function code 0x2B/0x0E: basic device identification, from this object on.
    Identify {
        /// First object id.
        object: u8,
    },
}

/// What a device answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Registers, or bits as 0 and 1.
    Words(Vec<u16>),
    /// Identification objects: id and text.
    Identity(Vec<(u8, String)>),
    /// A refusal; the link is healthy.
    Exception(Exception),
}

/// A Modbus exception code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception(pub u8);

impl Exception {
    /// Whether a converter says that the unit behind it does not answer (0x0A, 0x0B).
    #[must_use]
    pub const fn is_unit_down(self) -> bool {
        matches!(self.0, 0x0A | 0x0B)
    }

    /// Whether the device refuses these registers for good (2, 3).
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(self.0, 2 | 3)
    }

    /// What it means, for a person, in Chinese and English.
    #[must_use]
    pub const fn meaning(self) -> (&'static str, &'static str) {
        match self.0 {
            1 => ("不支持该功能码", "function not supported"),
            2 => ("没有这个寄存器地址", "no such register address"),
            3 => ("寄存器数量或取值不被接受", "number of registers not accepted"),
            4 => ("设备内部故障", "device failure"),
            5 => ("已接受，处理中", "accepted, still working"),
            6 => ("设备忙", "device busy"),
            7 => ("设备不能执行该请求", "negative acknowledge"),
            8 => ("设备存储校验错", "memory parity error"),
            0x0A => ("网关通道不可用", "gateway path unavailable"),
            0x0B => ("网关后的设备无应答", "unit behind the gateway does not answer"),
            _ => ("未知异常码", "unknown exception"),
        }
    }
}

/// Bytes that are no answer to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not Modbus: the protocol field is not 0.
    #[error(
        "protocol field is {0}, not 0: this is no Modbus TCP endpoint (a serial server in RTU mode?)"
    )]
    Protocol(u16),
    /// A length outside 3..=254.
    #[error("length field {0} is outside 3..=254")]
    Length(u16),
    /// Answer of another unit under our transaction.
    #[error("unit {found} answered a request to unit {asked}")]
    Unit {
        /// Unit asked.
        asked: u8,
        /// Unit in the answer.
        found: u8,
    },
    /// Another function than the one asked.
    #[error("function {found} answered a request of function {asked}")]
    Function {
        /// Function asked.
        asked: u8,
        /// Function in the answer.
        found: u8,
    },
    /// An RTU frame whose checksum does not fit: noise, a wrong speed or parity, two devices at once.
    #[error(
        "checksum is {found:04X}, not {wanted:04X}: noise, wrong speed or parity, or two devices answering"
    )]
    Checksum {
        /// Checksum of the bytes received.
        wanted: u16,
        /// Checksum in the frame.
        found: u16,
    },
    /// More bytes than the answer has: one of the two is the answer to another request, and nothing tells which.
    #[error("{0} bytes came behind the answer: it may answer an earlier request")]
    Surplus(usize),
    /// A byte count that does not fit the request or the frame.
    #[error("answer has {found} bytes of data where the request needs {wanted}")]
    Bytes {
        /// Bytes the request needs.
        wanted: usize,
        /// Bytes in the answer.
        found: usize,
    },
}

/// Bytes of a header, unit included.
pub const HEADER_BYTES: usize = 7;

/// Bytes of the longest answer behind the header.
pub const PDU_BYTES_MAX: usize = 253;

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Transaction.
    pub transaction: u16,
    /// Unit.
    pub unit: u8,
    /// Bytes that follow.
    pub pdu_bytes: usize,
}

impl Request {
    /// The function code: 1, 2, 3, 4 or 0x2B.
    #[must_use]
    pub const fn function(self) -> u8 {
        match self {
            Self::Read { table: Table::Coil, .. } => 1,
            Self::Read { table: Table::Discrete, .. } => 2,
            Self::Read { table: Table::Holding, .. } => 3,
            Self::Read { table: Table::Input, .. } => 4,
            Self::Identify { .. } => 0x2B,
        }
    }

    fn pdu(self) -> Vec<u8> {
        let mut pdu = vec![self.function()];
        match self {
            Self::Read { start, count, .. } => {
                pdu.extend(start.to_be_bytes());
                pdu.extend(count.to_be_bytes());
            }
            Self::Identify { object } => pdu.extend([0x0E, 0x01, object]),
        }
        pdu
    }

    /// The frame on Modbus TCP.
    #[must_use]
    pub fn encode(self, transaction: u16, unit: u8) -> Vec<u8> {
        let pdu = self.pdu();
        let mut frame = Vec::with_capacity(HEADER_BYTES + pdu.len());
        frame.extend(transaction.to_be_bytes());
        frame.extend([0, 0, 0, if pdu.len() == 4 { 5 } else { 6 }, unit]);
        frame.extend(pdu);
        frame
    }

    /// The frame on a serial line.
    #[must_use]
    pub fn encode_rtu(self, unit: u8) -> Vec<u8> {
        let mut frame = vec![unit];
        frame.extend(self.pdu());
        let checksum = crc16(&frame);
        frame.extend(checksum.to_le_bytes());
        frame
    }

    /// How long the serial answer that begins with these bytes is; `None` while too few of them are known.
    ///
    /// # Errors
    /// [`FrameError`] when it already cannot be an answer to this request.
    pub fn rtu_bytes(self, unit: u8, begin: &[u8]) -> Result<Option<usize>, FrameError> {
        let asked = self.function();
        match begin {
            [found, ..] if *found != unit => Err(FrameError::Unit { asked: unit, found: *found }),
            [_, function, ..] if *function == asked | 0x80 => Ok(Some(5)),
            [_, function, ..] if *function != asked => {
                Err(FrameError::Function { asked, found: *function })
            }
            [_, _, bytes, ..] if asked <= 4 => Ok(Some(5 + usize::from(*bytes))),
            // Identification objects say their lengths one by one.
            [_, _, _, _, _, _, _, objects, rest @ ..] => {
                let mut length = 10;
                for _ in 0..*objects {
                    match rest.get(length - 10 + 1) {
                        Some(bytes) => length += 2 + usize::from(*bytes),
                        None => return Ok(None),
                    }
                }
                Ok(Some(length))
            }
            _ => Ok(None),
        }
    }

    /// Reads the answer out of a whole serial frame.
    ///
    /// # Errors
    /// [`FrameError`] when it answers something else or is damaged.
    pub fn answer_rtu(self, frame: &[u8]) -> Result<Reply, FrameError> {
        let Some((body, [low, high])) = frame.split_last_chunk::<2>() else {
            return Err(FrameError::Bytes { wanted: 5, found: frame.len() });
        };
        let (wanted, found) = (crc16(body), u16::from_le_bytes([*low, *high]));
        if wanted != found {
            return Err(FrameError::Checksum { wanted, found });
        }
        self.answer(body.get(1..).unwrap_or(&[]))
    }

    /// Reads the answer to this request out of what follows the header.
    ///
    /// # Errors
    /// [`FrameError`] when it answers something else.
    pub fn answer(self, pdu: &[u8]) -> Result<Reply, FrameError> {
        let asked = self.function();
        match pdu {
            [found, code] if *found == asked | 0x80 => Ok(Reply::Exception(Exception(*code))),
            [found, ..] if *found == asked | 0x80 => {
                Err(FrameError::Bytes { wanted: 2, found: pdu.len() })
            }
            [found, data @ ..] if *found == asked => match self {
                Self::Read { table, count, .. } => words(table, count, data).map(Reply::Words),
                Self::Identify { .. } => identity(data).map(Reply::Identity),
            },
            [found, ..] => Err(FrameError::Function { asked, found: *found }),
            [] => Err(FrameError::Bytes { wanted: 2, found: 0 }),
        }
    }
}

/// How long the serial answer is, whatever was asked, that begins with these bytes; `None` while too few are known.
///
/// # Errors
/// [`FrameError::Function`] where it answers nothing that can be asked.
pub fn any_serial_bytes(begin: &[u8]) -> Result<Option<usize>, FrameError> {
    match begin {
        [_, function, ..] if function & 0x80 != 0 => Ok(Some(5)),
        [_, 1..=4, bytes, ..] => Ok(Some(5 + usize::from(*bytes))),
        [] | [_] | [_, 1..=4] => Ok(None),
        [_, found, ..] => Err(FrameError::Function { asked: 3, found: *found }),
    }
}

/// Whether a whole serial frame is undamaged.
#[must_use]
pub fn is_undamaged(frame: &[u8]) -> bool {
    let checked = |(body, sum): (&[u8], &[u8; 2])| crc16(body).to_le_bytes() == *sum;
    frame.split_last_chunk::<2>().is_some_and(checked)
}

/// Reads a header.
///
/// # Errors
/// [`FrameError::Protocol`] and [`FrameError::Length`].
pub fn header(bytes: [u8; HEADER_BYTES]) -> Result<Header, FrameError> {
    let [t0, t1, p0, p1, l0, l1, unit] = bytes;
    let protocol = u16::from_be_bytes([p0, p1]);
    let length = u16::from_be_bytes([l0, l1]);
    if protocol != 0 {
        return Err(FrameError::Protocol(protocol));
    }
    if !(3..=254).contains(&length) {
        return Err(FrameError::Length(length));
    }
    let transaction = u16::from_be_bytes([t0, t1]);
    Ok(Header { transaction, unit, pdu_bytes: usize::from(length) - 1 })
}

/// CRC-16 of Modbus: polynomial 0xA001 reflected, begun with ones.
pub(crate) fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 }
            },
        )
    })
}

fn words(table: Table, count: u16, data: &[u8]) -> Result<Vec<u16>, FrameError> {
    let count = usize::from(count);
    let wanted = if table.is_bits() { count.div_ceil(8) } else { count * 2 };
    let (declared, data) =
        data.split_first().map_or((0, data), |(n, rest)| (usize::from(*n), rest));
    if declared != wanted || data.len() != wanted {
        return Err(FrameError::Bytes { wanted, found: data.len().min(declared) });
    }
    if table.is_bits() {
        let bit = |i: usize| u16::from(data[i / 8] >> (i % 8) & 1);
        return Ok((0..count).map(bit).collect());
    }
    Ok(data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
}

/// `MEI type, read code, conformity, more, next, number, (id, length, text)…`
fn identity(data: &[u8]) -> Result<Vec<(u8, String)>, FrameError> {
    let short = FrameError::Bytes { wanted: 6, found: data.len() };
    let mut rest = data.get(6..).ok_or(short)?;
    let mut objects = Vec::new();
    while let [id, length, tail @ ..] = rest {
        let text = tail.get(..usize::from(*length)).ok_or(short)?;
        objects.push((*id, String::from_utf8_lossy(text).trim().to_owned()));
        rest = &tail[usize::from(*length)..];
    }
    Ok(objects)
}

#[cfg(test)]
mod tests;

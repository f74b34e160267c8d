//! A stream of integers: values, differences or second differences, packed to bits or as varints, whichever is smaller.
//! Times, reply indexes and scaled values all go through it. All arithmetic wraps, so every i64 round-trips.

use super::read::{Reader, put_varint, put_zigzag, unzigzag, varint_bytes, zigzag};
use crate::error::DecodeError;

/// Residuals that share a least value and a width.
const CHUNK: usize = 64;
const PACKING_BITS: u8 = 0;
const PACKING_VARINT: u8 = 1;

/// Which packings an encoding may use: bits are the smallest as they are, varints compress better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packings {
    /// Whichever is smaller before compression.
    Any,
    /// Varints only.
    Varint,
}

/// A way to write a stream, and what it costs.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    head: u8,
    residuals: Vec<i64>,
    /// Bytes before compression.
    pub(super) bytes: usize,
}

impl Plan {
    /// The cheapest way to write `values`.
    pub(super) fn new(values: &[i64], packings: Packings) -> Self {
        let mut best: Option<Self> = None;
        for transform in 0..3 {
            if values.len() < usize::from(transform) {
                break;
            }
            let residuals = residuals(values, transform);
            let (firsts, rest) = residuals.split_at(usize::from(transform));
            let head_bytes = 1 + varints_bytes(firsts);
            let mut candidates =
                [(PACKING_VARINT, varints_bytes(rest)), (PACKING_BITS, bits_bytes(rest))];
            let candidates = if packings == Packings::Varint {
                &mut candidates[..1]
            } else {
                &mut candidates[..]
            };
            candidates.sort_by_key(|c| c.1);
            let (packing, bytes) = candidates[0];
            if best.as_ref().is_none_or(|b| head_bytes + bytes < b.bytes) {
                best = Some(Self {
                    head: transform + 4 * packing,
                    residuals,
                    bytes: head_bytes + bytes,
                });
            }
        }
        best.expect("the values themselves are always a candidate")
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.head);
        let (firsts, rest) = self.residuals.split_at(usize::from(self.head & 3));
        for &first in firsts {
            put_zigzag(first, out);
        }
        if self.head >> 2 == PACKING_VARINT {
            rest.iter().for_each(|&r| put_zigzag(r, out));
        } else {
            rest.chunks(CHUNK).for_each(|chunk| pack(chunk, out));
        }
    }
}

/// Differences taken `transform` times, in place of everything but the first `transform` values.
fn residuals(values: &[i64], transform: u8) -> Vec<i64> {
    let mut residuals = values.to_vec();
    for done in 0..usize::from(transform) {
        for i in (done + 1..residuals.len()).rev() {
            residuals[i] = residuals[i].wrapping_sub(residuals[i - 1]);
        }
    }
    residuals
}

fn varints_bytes(values: &[i64]) -> usize {
    values.iter().map(|&v| varint_bytes(zigzag(v))).sum()
}

fn bits_bytes(values: &[i64]) -> usize {
    let chunks = values.chunks(CHUNK).map(|chunk| {
        let (least, width) = frame(chunk);
        varint_bytes(zigzag(least)) + 1 + (chunk.len() * width as usize).div_ceil(8)
    });
    chunks.sum()
}

/// The least value of a chunk and the bits that the distance to the greatest needs.
fn frame(chunk: &[i64]) -> (i64, u32) {
    let least = chunk.iter().copied().min().unwrap_or(0);
    let most = chunk.iter().copied().max().unwrap_or(0);
    (least, 64 - most.wrapping_sub(least).cast_unsigned().leading_zeros())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low eight bits are meant; a width is at most 64"
)]
fn pack(chunk: &[i64], out: &mut Vec<u8>) {
    let (least, width) = frame(chunk);
    put_zigzag(least, out);
    out.push(width as u8);
    let (mut pending, mut filled) = (0_u128, 0);
    for &value in chunk {
        pending |= u128::from(value.wrapping_sub(least).cast_unsigned()) << filled;
        filled += width;
        while filled >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(pending as u8);
    }
}

/// Reads `count` integers into `out`, in place of what was in it. The caller has bounded `count`.
pub(super) fn decode(
    r: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    out.clear();
    let head = r.u8()?;
    let transform = usize::from(head & 3);
    if transform > 2 || transform > count {
        return Err(r.wrong("an unknown transform"));
    }
    for _ in 0..transform {
        out.push(r.zigzag()?);
    }
    match head >> 2 {
        PACKING_VARINT => {
            for _ in transform..count {
                out.push(r.zigzag()?);
            }
        }
        PACKING_BITS => {
            while out.len() < count {
                unpack(r, (count - out.len()).min(CHUNK), out)?;
            }
        }
        _ => return Err(r.wrong("an unknown packing")),
    }
    for done in (0..transform).rev() {
        let mut sum = out[done];
        for value in &mut out[done + 1..] {
            sum = sum.wrapping_add(*value);
            *value = sum;
        }
    }
    Ok(())
}

fn unpack(r: &mut Reader<'_>, count: usize, out: &mut Vec<i64>) -> Result<(), DecodeError> {
    let least = unzigzag(r.varint()?);
    let width = usize::from(r.u8()?);
    if width > 64 {
        return Err(r.wrong("a width of more than 64 bits"));
    }
    let packed = r.take((count * width).div_ceil(8))?;
    // Room after the last value, so that every value can be read with one wide load.
    let mut padded = [0_u8; CHUNK * 8 + 16];
    padded[..packed.len()].copy_from_slice(packed);
    if width <= 56 {
        let mask = (1_u64 << width) - 1;
        out.extend((0..count).map(|i| {
            let bit = i * width;
            let word: [u8; 8] = padded[bit / 8..bit / 8 + 8].try_into().expect("eight bytes");
            least.wrapping_add((u64::from_le_bytes(word) >> (bit % 8) & mask).cast_signed())
        }));
    } else {
        let mask = u128::from(u64::MAX >> (64 - width));
        out.extend((0..count).map(|i| {
            let bit = i * width;
            let word: [u8; 16] = padded[bit / 8..bit / 8 + 16].try_into().expect("sixteen bytes");
            let value = u64::try_from(u128::from_le_bytes(word) >> (bit % 8) & mask)
                .expect("masked to 64 bits");
            least.wrapping_add(value.cast_signed())
        }));
    }
    Ok(())
}

/// Writes a varint count; beside the streams because tables open with two of them.
pub(super) fn put_count(count: usize, out: &mut Vec<u8>) {
    put_varint(count as u64, out);
}

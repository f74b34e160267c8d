//! What the columns of a gateway's blocks mean: its list of replies with device, quantities and units.
//! The gateway makes one at each change of its configuration and keeps it while a block refers to it; the centre logs it
//! before the first such block. It must never be changed in place: its key is the hash of its bytes as sent.

use prost::Message as _;
use sha2::{Digest, Sha256};

use crate::error::{DecodeError, at_most, between};
use crate::ids::{GatewayName, ManifestKey};
use crate::limits::{BLOCK_BYTES_MAX, REPLIES_MAX, REPLY_POINTS_MAX, SERIES_MAX, TEXT_BYTES_MAX};
use crate::proto;

/// A gateway's list of series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The gateway.
    pub gateway: GatewayName,
    /// The site's enterprise code.
    pub site: String,
    /// Index = the reply number in [`Table::replies`](crate::columns::Table::replies).
    pub replies: Vec<Reply>,
    /// The gateway that this one replaces.
    pub replaces: Option<GatewayName>,
}

/// One request of the poll plan: the quantities that one answer of one device carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Unique in its site.
    pub device: String,
    /// Planned interval in milliseconds; 0 = the device reports by itself.
    pub period_ms: u32,
    /// Index = the column number. At least one.
    pub points: Vec<Point>,
    /// Profile id.
    pub profile: String,
    /// Version of the profile.
    pub profile_version: String,
}

/// One quantity of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// A name of the vocabulary ([`quantity::lookup`](crate::quantity::lookup)); the centre alone decides what to do
    /// about one that it does not know.
    pub quantity: String,
    /// The unit as the gateway understands it.
    pub unit: String,
}

/// The key of a manifest: the first 16 bytes of the SHA-256 of its bytes as sent.
#[must_use]
pub fn key(bytes: &[u8]) -> ManifestKey {
    let digest = Sha256::digest(bytes);
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    ManifestKey(key)
}

impl Manifest {
    /// Number of series: points over all replies.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.replies.iter().map(|r| r.points.len()).sum()
    }

    /// The bytes to store and send; [`key`] of them names the manifest.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let reply = |r: &Reply| proto::Reply {
            device: r.device.clone(),
            period_ms: r.period_ms,
            points: r
                .points
                .iter()
                .map(|p| proto::Point { quantity: p.quantity.clone(), unit: p.unit.clone() })
                .collect(),
            profile: r.profile.clone(),
            profile_version: r.profile_version.clone(),
        };
        proto::Manifest {
            gateway: self.gateway.to_string(),
            site: self.site.clone(),
            replies: self.replies.iter().map(reply).collect(),
            replaces: self.replaces.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
        .encode_to_vec()
    }

    /// Reads the bytes of a manifest.
    ///
    /// # Errors
    /// [`DecodeError`] on anything that is no manifest within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        at_most("manifest bytes", bytes.len(), BLOCK_BYTES_MAX)?;
        let m = proto::Manifest::decode(bytes)
            .map_err(|source| DecodeError::Protobuf { what: "a manifest", source })?;
        at_most("replies", m.replies.len(), REPLIES_MAX)?;
        between("length of the site's code", m.site.len() as u64, 1, TEXT_BYTES_MAX as u64)?;
        let replies = m.replies.into_iter().map(decode_reply).collect::<Result<Vec<_>, _>>()?;
        let replaces = (!m.replaces.is_empty()).then_some(m.replaces);
        let manifest = Self {
            gateway: GatewayName::new(m.gateway).map_err(DecodeError::Name)?,
            site: m.site,
            replies,
            replaces: replaces.map(GatewayName::new).transpose().map_err(DecodeError::Name)?,
        };
        at_most("series", manifest.series_count(), SERIES_MAX)?;
        Ok(manifest)
    }
}

fn decode_reply(reply: proto::Reply) -> Result<Reply, DecodeError> {
    between("length of a device's id", reply.device.len() as u64, 1, TEXT_BYTES_MAX as u64)?;
    at_most("length of a profile's id", reply.profile.len(), TEXT_BYTES_MAX)?;
    at_most("length of a profile's version", reply.profile_version.len(), TEXT_BYTES_MAX)?;
    between("points of a reply", reply.points.len() as u64, 1, REPLY_POINTS_MAX as u64)?;
    let points = reply.points.into_iter().map(|p| {
        between("length of a quantity's name", p.quantity.len() as u64, 1, TEXT_BYTES_MAX as u64)?;
        at_most("length of a unit", p.unit.len(), TEXT_BYTES_MAX)?;
        Ok(Point { quantity: p.quantity, unit: p.unit })
    });
    Ok(Reply {
        device: reply.device,
        period_ms: reply.period_ms,
        points: points.collect::<Result<_, DecodeError>>()?,
        profile: reply.profile,
        profile_version: reply.profile_version,
    })
}

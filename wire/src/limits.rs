//! Every bound of the wire format, in one place: decoders refuse what exceeds them, encoders stay below them.
//! Called by all modules of the crate and by the programs that size their buffers. A bound may grow, never shrink:
//! blocks written under the old one lie on disks for weeks.

/// Largest frame that may be published or accepted, bytes. MQTT clients on both ends set it as their packet bound
/// (plus topic and header); mosquitto, EMQX and NATS all take it by default.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// Encoded size at which a gateway closes a block, bytes: small enough to pass a 4G link in a second.
pub const BLOCK_BYTES_TARGET: usize = 64 * 1024;

/// Largest encoded block or manifest, bytes: a frame less its head, MAC and stamp.
pub const BLOCK_BYTES_MAX: usize = FRAME_BYTES_MAX - 1024;

/// Largest size of the columns of one block before compression, bytes.
/// What [`POINTS_MAX`] and [`ROWS_MAX`] can need at worst: 11 bytes a sample, 15 bytes a row.
pub const RAW_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Most rows (replies of devices) in one block.
pub const ROWS_MAX: usize = 65_536;

/// Most samples (rows × columns) in one block: 1 MiB once decoded.
pub const POINTS_MAX: usize = 131_072;

/// Most tables (shapes of replies) in one block.
pub const TABLES_MAX: usize = 1_024;

/// Worst-case bytes at which [`columns::Builder`](crate::columns::Builder) calls itself full: whatever the values, the
/// block then fits in [`BLOCK_BYTES_MAX`].
pub const BUILDER_BYTES_MAX: usize = 160 * 1024;

/// Most replies in a manifest.
pub const REPLIES_MAX: usize = 16_384;

/// Most points in one reply: a Modbus request carries 125 registers; an MQTT sensor message may carry more.
pub const REPLY_POINTS_MAX: usize = 1_024;

/// Most series (points over all replies) in a manifest.
pub const SERIES_MAX: usize = 131_072;

/// Most epochs in a list, and in an ack.
pub const LIST_MAX: usize = 1_024;

/// Most intervals in one interval set (design §4), hence most ranges in a list entry or an ack entry.
pub const INTERVALS_MAX: usize = 4_096;

/// Most ranges in one gap record.
pub const GAP_RANGES_MAX: usize = 4_096;

/// Most rejected blocks named in one ack entry; the others follow in the next ack.
pub const REJECTED_MAX: usize = 256;

/// Most manifest keys asked for in one ack.
pub const NEED_MANIFEST_MAX: usize = 16;

/// Most devices in a state message.
pub const DEVICES_MAX: usize = 4_096;

/// Longest gateway name, bytes.
pub const GATEWAY_NAME_BYTES_MAX: usize = 64;

/// Longest device id, site code, quantity, unit, profile, version, reason or code, bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 256;

/// Longest comment of a person, bytes of UTF-8.
pub const COMMENT_BYTES_MAX: usize = 4_096;

//! The same readings for every contender: as sealed frames for Davy, as wide lines for Telegraf and InfluxDB.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Result;
use ingest::log::DecodedBlock;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use wire::block::{Body, Clock, ClockState};
use wire::columns::Builder;
use wire::frame::{self, Kind};
use wire::manifest::{Point, Reply};
use wire::message::{Item, Stamp, Uplink};
use wire::{Block, Boot, Epoch, GatewayName, Key, Manifest, Mark};

/// Twenty quantities of a three-phase meter with a start value and the decimals it has.
pub const QUANTITIES: [(&str, f64, i32); 20] = [
    ("p_total", 118.4, 2),
    ("u_a", 231.2, 1),
    ("u_b", 230.4, 1),
    ("u_c", 232.0, 1),
    ("i_a", 171.5, 2),
    ("i_b", 169.2, 2),
    ("i_c", 173.8, 2),
    ("p_a", 39.1, 2),
    ("p_b", 38.7, 2),
    ("p_c", 40.6, 2),
    ("q_total", 21.3, 2),
    ("s_total", 120.3, 2),
    ("pf_total", 0.984, 3),
    ("freq", 50.01, 2),
    ("u_ab", 400.1, 1),
    ("u_bc", 399.8, 1),
    ("u_ca", 401.3, 1),
    ("ep_imp", 183_211.4, 1),
    ("i_n", 3.4, 2),
    ("unb_u", 0.4, 2),
];

/// Meters of one gateway, each read once a second.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Meters.
    pub meters: usize,
    /// Quantities of a reading, at most 20.
    pub quantities: usize,
    /// Readings in all.
    pub readings: usize,
    /// Readings in a block or message.
    pub per_message: usize,
}

impl Shape {
    /// Samples in all.
    #[must_use]
    pub fn points(&self) -> usize {
        self.readings * self.quantities
    }
}

/// Readings of a fleet: random walks with a meter's decimals.
#[derive(Debug)]
pub struct Load {
    /// How many of what.
    pub shape: Shape,
    /// What they mean.
    pub manifest: Manifest,
    /// Event time of the first reading, ms.
    pub start: i64,
    /// Row-major values.
    values: Vec<f64>,
}

/// Site of the load.
pub const SITE: &str = "bench-site";
/// Gateway of the load.
pub const GATEWAY: &str = "bench-gw";

/// Name of a meter.
#[must_use]
pub fn meter(index: usize) -> String {
    format!("meter-{index:04}")
}

impl Load {
    /// Readings whose last one is just before `end` (ms).
    ///
    /// # Errors
    /// Never for a valid shape.
    pub fn new(shape: Shape, end: i64, seed: u64) -> Result<Load> {
        let seconds = i64::try_from(shape.readings.div_ceil(shape.meters))?;
        let start = end - seconds * 1_000;
        let quantities = &QUANTITIES[..shape.quantities];
        let points = || {
            quantities.iter().map(|(q, _, _)| Point { quantity: (*q).to_owned(), unit: unit(q) })
        };
        let replies = (0..shape.meters).map(|i| Reply {
            device: meter(i),
            period_ms: 1_000,
            points: points().collect(),
            profile: "bench".to_owned(),
            profile_version: "1".to_owned(),
        });
        let gateway = GatewayName::new(GATEWAY)?;
        let manifest =
            Manifest { gateway, site: SITE.to_owned(), replies: replies.collect(), replaces: None };
        let mut random = SmallRng::seed_from_u64(seed);
        let mut walk: Vec<f64> = Vec::with_capacity(shape.meters * shape.quantities);
        for _ in 0..shape.meters {
            walk.extend(quantities.iter().map(|(_, start, _)| *start));
        }
        let mut values = Vec::with_capacity(shape.points());
        for reading in 0..shape.readings {
            let base = reading % shape.meters * shape.quantities;
            for (q, (name, _, decimals)) in quantities.iter().enumerate() {
                let value = &mut walk[base + q];
                let unit = 10f64.powi(*decimals);
                let step = if *name == "ep_imp" {
                    random.random_range(0..2)
                } else {
                    random.random_range(-9..=9)
                };
                *value = ((*value * unit).round() + f64::from(step)) / unit;
                values.push(*value);
            }
        }
        Ok(Load { shape, manifest, start, values })
    }

    /// Event time of a reading, ms: each meter once a second, the meters spread over it.
    #[must_use]
    pub fn time(&self, reading: usize) -> i64 {
        let (second, meter) = (reading / self.shape.meters, reading % self.shape.meters);
        let offset = meter * 1_000 / self.shape.meters;
        self.start + i64::try_from(second * 1_000 + offset).unwrap_or(0)
    }

    fn row(&self, reading: usize) -> &[f64] {
        let width = self.shape.quantities;
        &self.values[reading * width..(reading + 1) * width]
    }

    fn messages(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let (all, step) = (self.shape.readings, self.shape.per_message);
        (0..all).step_by(step).map(move |from| from..(from + step).min(all))
    }

    /// The blocks, not yet encoded.
    ///
    /// # Errors
    /// When a message is larger than a block may be.
    pub fn blocks(&self) -> Result<Vec<Block>> {
        let key = wire::manifest::key(&self.manifest.encode());
        let mut builder = Builder::new(&self.manifest, key);
        let mut samples = Vec::new();
        let mut blocks = Vec::new();
        for (index, range) in self.messages().enumerate() {
            let last = range.end - 1;
            for reading in range {
                samples.clear();
                samples.extend(self.row(reading).iter().map(|v| (*v, Mark::GOOD)));
                let reply = u32::try_from(reading % self.shape.meters)?;
                builder.push(reply, self.time(reading), &samples)?;
            }
            let closed_at = self.time(last) + 1;
            blocks.push(Block {
                gateway: self.manifest.gateway.clone(),
                epoch: Epoch(0x5eed),
                seq: index as u64 + 1,
                link: None,
                clock: Clock {
                    state: ClockState::Synced,
                    closed_at,
                    mono_ms: u64::try_from(closed_at - self.start)? + 1_000_000,
                    boot: Boot(7),
                    segment: 0,
                    boot_offset: Some(self.start - 1_000_000),
                    error_ms: 5,
                },
                fact_revision: 0,
                list: None,
                body: Body::Readings(builder.take()),
            });
        }
        Ok(blocks)
    }

    /// Blocks as the log hands them to a store.
    ///
    /// # Errors
    /// When a message is larger than a block may be.
    pub fn decoded(&self) -> Result<Vec<Arc<DecodedBlock>>> {
        let manifest = Arc::new(self.manifest.clone());
        let decoded = self.blocks()?.into_iter().map(|mut block| {
            let empty = Body::Readings(wire::Readings::default());
            let readings = match std::mem::replace(&mut block.body, empty) {
                Body::Readings(readings) => Arc::new(readings),
                Body::Gap(_) => Arc::default(),
            };
            Arc::new(DecodedBlock {
                position: block.seq,
                gateway: block.gateway.clone(),
                site: SITE.to_owned(),
                manifest: Arc::clone(&manifest),
                received_at: block.clock.closed_at,
                block,
                readings,
                masked_rows: Vec::new(),
                is_ahead: false,
            })
        });
        Ok(decoded.collect())
    }

    /// Frames for the broker: the manifest first, then the blocks.
    ///
    /// # Errors
    /// When a message is larger than a block may be.
    pub fn frames(&self, key: &Key) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        let mut seal = |item: Item| {
            let counter = frames.len() as u64 + 1;
            let stamp = Stamp {
                gateway: self.manifest.gateway.clone(),
                boot: Boot(7),
                counter,
                mono_ms: counter,
            };
            frames.push(frame::seal(key, Kind::Uplink, &Uplink { stamp, item }.encode()));
        };
        seal(Item::Manifest(self.manifest.encode()));
        for block in self.blocks()? {
            seal(Item::Block(block.encode()));
        }
        Ok(frames)
    }

    /// Wide lines, a message each, ms.
    #[must_use]
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let message = |range: std::ops::Range<usize>| {
            let mut text = String::new();
            range.for_each(|reading| self.line(reading, &mut text));
            text.into_bytes()
        };
        self.messages().map(message).collect()
    }

    fn line(&self, reading: usize, out: &mut String) {
        let meter = reading % self.shape.meters;
        let mut put =
            |args: std::fmt::Arguments<'_>| out.write_fmt(args).expect("a String takes all");
        put(format_args!("electric,device=meter-{meter:04},site={SITE} "));
        for (i, (value, (name, _, _))) in self.row(reading).iter().zip(QUANTITIES).enumerate() {
            let comma = if i == 0 { "" } else { "," };
            put(format_args!("{comma}{name}={value:?}"));
        }
        put(format_args!(" {}\n", self.time(reading)));
    }
}

/// Unit of a quantity, from the vocabulary.
fn unit(quantity: &str) -> String {
    wire::quantity::lookup(quantity).map(|q| q.unit.to_owned()).unwrap_or_default()
}

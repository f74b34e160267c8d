//! A recording of one's own as a meter of the demo: `REPLAY=<csv>`, its columns mapped by a small TOML beside it
//! (`<csv>.toml`, or the file that `REPLAY_MAP` names).
//!
//! ```toml
//! model = "eastron-sdm630"     # whose registers carry it
//! delimiter = ","
//! [[column]]
//! name = "global_active_power" # in the file's header
//! quantity = "p_total"         # in Davy's vocabulary
//! times = 1                    # whole factor, e.g. 4 for kWh a quarter hour to kW
//! ```

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use serde::Deserialize;

use crate::meters::{MODELS, Model};
use crate::recordings::times;
use crate::replay::Recording;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    model: String,
    #[serde(default = "comma")]
    delimiter: char,
    column: Vec<Column>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    quantity: String,
    #[serde(default = "one")]
    times: u32,
}

fn comma() -> char {
    ','
}

fn one() -> u32 {
    1
}

/// Reads the recording that `REPLAY` names, if it is set.
///
/// # Errors
/// When a file is absent, the map names an unknown model, quantity or column, or no row can be read: with what to mend.
pub fn from_environment() -> Result<Option<Recording>> {
    let Some(path) = std::env::var_os("REPLAY").map(PathBuf::from) else { return Ok(None) };
    let map = std::env::var_os("REPLAY_MAP")
        .map_or_else(|| PathBuf::from(format!("{}.toml", path.display())), PathBuf::from);
    let text = std::fs::read_to_string(&map).with_context(|| {
        format!(
            "{}: REPLAY needs a TOML that maps its columns; docs/OPERATIONS.md shows one",
            map.display()
        )
    })?;
    let map: Map = toml::from_str(&text).with_context(|| map.display().to_string())?;
    read(&path, &map).map(Some)
}

fn read(path: &Path, map: &Map) -> Result<Recording> {
    let Some(model) = MODELS.into_iter().find(|m| m.profile == map.model) else {
        let known: Vec<&str> = MODELS.iter().map(|m| m.profile).collect();
        bail!("model {:?} is unknown; known: {}", map.model, known.join(", "));
    };
    let columns =
        map.column.iter().map(|c| quantity(model, &c.quantity)).collect::<Result<Vec<_>>>()?;
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let bytes: Box<dyn Read> = if path.extension().is_some_and(|e| e == "gz") {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let delimiter = u8::try_from(map.delimiter).context("the delimiter is one byte")?;
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(bytes);
    let header = reader.headers()?.clone();
    let mut places = Vec::new();
    for column in &map.column {
        let place = header.iter().position(|h| h.trim_start_matches('\u{feff}') == column.name);
        places.push(
            place.with_context(|| format!("{}: no column {:?}", path.display(), column.name))?,
        );
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        let row: Option<Vec<String>> = places
            .iter()
            .zip(&map.column)
            .map(|(place, column)| times(record.get(*place)?, column.times).ok())
            .collect();
        rows.extend(row);
    }
    ensure!(!rows.is_empty(), "{}: no row has a number in every mapped column", path.display());
    Ok(Recording { model: only(model, &columns), columns, rows })
}

/// The model with just the registers that the recording fills: a quantity that was never recorded must not read 0.
fn only(model: &'static Model, columns: &[&str]) -> &'static Model {
    let places = model.places.iter().filter(|place| columns.contains(&place.quantity)).copied();
    let places: Vec<_> = places.collect();
    // Once in a process, and needed until it ends.
    Box::leak(Box::new(Model { places: Vec::leak(places), ..*model }))
}

fn quantity(model: &'static Model, name: &str) -> Result<&'static str> {
    let known = model.places.iter().find(|p| p.quantity == name);
    known.map(|p| p.quantity).with_context(|| {
        let all: Vec<&str> = model.places.iter().map(|p| p.quantity).collect();
        format!("{} has no {name:?}; it has {}", model.profile, all.join(", "))
    })
}

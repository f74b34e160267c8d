//! Reads the public recordings (`DAVY_DATA`, default `../shared/data` beside the checkout) as columns of a meter.
//! Values stay the file's own text, so that a test compares with the file and not with a copy that went through floats.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;

use crate::meters::{self, Model, shift};
use crate::replay::Recording;

/// Folder of the recordings.
///
/// # Errors
/// When it does not exist: with what to set.
pub fn folder() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("DAVY_DATA").map_or(root, PathBuf::from);
    if !folder.is_dir() {
        bail!(
            "no recordings at {}; set DAVY_DATA to the folder that holds household_power/, transformer/ and steel/",
            folder.display()
        );
    }
    Ok(folder)
}

/// A column of a file that becomes a quantity: its name in the file, ours, and the factor that turns the file's
/// number into our unit (a small whole number or a power of ten, so that the product stays exact).
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name in the file's header.
    pub name: &'static str,
    /// Name in the product's vocabulary.
    pub quantity: &'static str,
    /// Whole factor.
    pub times: u32,
}

const fn column(name: &'static str, quantity: &'static str, times: u32) -> Column {
    Column { name, quantity, times }
}

/// A recording's file and how its columns are read.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Path inside the folder.
    pub path: &'static str,
    /// Whose registers carry it.
    pub model: &'static Model,
    /// Columns with a quantity of ours.
    pub columns: &'static [Column],
}

/// One real single-phase meter, 1 min: kW, kvar, V, A.
pub const HOUSEHOLD: Source = Source {
    path: "household_power/household_power_2007-02.csv.gz",
    model: &meters::SDM630,
    columns: &[
        column("global_active_power", "p_total", 1),
        column("global_reactive_power", "q_total", 1),
        column("voltage", "u_a", 1),
        column("global_intensity", "i_a", 1),
    ],
};

/// Currents and voltages of a real distribution transformer.
pub const TRANSFORMER: Source = Source {
    path: "transformer/CurrentVoltage_to_2019-08-10.csv.gz",
    model: &meters::PM5100,
    columns: &[
        column("VL1", "u_a", 1),
        column("VL2", "u_b", 1),
        column("VL3", "u_c", 1),
        column("IL1", "i_a", 1),
        column("IL2", "i_b", 1),
        column("IL3", "i_c", 1),
        column("VL12", "u_ab", 1),
        column("VL23", "u_bc", 1),
        column("VL31", "u_ca", 1),
        column("INUT", "i_n", 1),
    ],
};

/// Temperatures of the same transformer.
pub const TRANSFORMER_OIL: Source = Source {
    path: "transformer/Overview_to_2019-08-10.csv.gz",
    model: &meters::PT100X8,
    columns: &[column("OTI", "t_1", 1), column("WTI", "t_2", 1), column("ATI", "t_3", 1)],
};

/// A real steel works, 15 min; power is the quarter hour's energy × 4.
pub const STEEL: Source = Source {
    path: "steel/Steel_industry_data.csv.gz",
    model: &meters::DTSU666,
    columns: &[column("Usage_kWh", "p_total", 4)],
};

impl Source {
    /// Reads `count` rows from row `first` on. Rows with a missing value are passed over.
    ///
    /// # Errors
    /// When the file or a column is absent.
    pub fn read(&self, first: usize, count: usize) -> Result<Recording> {
        let path = folder()?.join(self.path);
        let file = std::fs::File::open(&path).with_context(|| path.display().to_string())?;
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(GzDecoder::new(file));
        let header = reader.headers()?.clone();
        let place = |name: &str| {
            let found = header.iter().position(|h| h.trim_start_matches('\u{feff}') == name);
            found.with_context(|| format!("{}: no column {name}", self.path))
        };
        let places = self.columns.iter().map(|c| place(c.name)).collect::<Result<Vec<_>>>()?;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record?;
            let row: Option<Vec<String>> = places
                .iter()
                .zip(self.columns)
                .map(|(i, c)| times(record.get(*i)?, c.times).ok())
                .collect();
            rows.extend(row);
        }
        let rows: Vec<_> = rows.into_iter().skip(first).take(count).collect();
        anyhow::ensure!(!rows.is_empty(), "{}: no row from {first} on", self.path);
        let columns = self.columns.iter().map(|c| c.quantity).collect();
        Ok(Recording { model: self.model, columns, rows })
    }

    /// Columns of the file that have no quantity of ours.
    ///
    /// # Errors
    /// When the file is absent.
    pub fn unused(&self) -> Result<Vec<String>> {
        let path = folder()?.join(self.path);
        let file = std::fs::File::open(&path).with_context(|| path.display().to_string())?;
        let mut reader = csv::Reader::from_reader(GzDecoder::new(file));
        let header = reader.headers()?.clone();
        let used = |name: &str| self.columns.iter().any(|c| c.name == name);
        Ok(header.iter().filter(|h| !used(h)).map(str::to_owned).collect())
    }
}

/// `text` × `factor`, exactly, as decimal text.
///
/// # Errors
/// When `text` is no plain decimal number.
pub fn times(text: &str, factor: u32) -> Result<String> {
    let places = text.split_once('.').map_or(0, |(_, part)| part.len());
    let power = i32::try_from(places)?;
    let whole: i64 = shift(text, power)?.parse()?;
    shift(&(whole * i64::from(factor)).to_string(), -power)
}

#[cfg(test)]
mod tests {
    use super::times;

    #[test]
    fn a_factor_keeps_the_decimals_exact() {
        assert_eq!(times("3.17", 4).expect("a number"), "12.68");
        assert_eq!(times("0.326", 1).expect("a number"), "0.326");
        assert_eq!(times("4", 4).expect("a number"), "16");
    }
}

//! Configuration files of gateways for simulated devices.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::meters::{Encoding, Model};

/// One device of a bus.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    /// Id in the site.
    pub id: &'a str,
    /// Modbus unit.
    pub unit: u8,
    /// Its map, and so its profile.
    pub model: &'static Model,
}

/// What a gateway's file says besides its devices.
#[derive(Debug, Clone)]
pub struct GatewayFile<'a> {
    /// Name, as provisioned.
    pub name: &'a str,
    /// Site, as registered.
    pub site: &'a str,
    /// Key in hex.
    pub key: &'a str,
    /// Folder of its spool.
    pub spool_dir: PathBuf,
    /// `host:port` of the broker.
    pub broker: String,
    /// Port of its status page.
    pub status_port: u16,
    /// Poll period of every class, ms.
    pub period_ms: u32,
    /// Time-out of a request, ms.
    pub timeout_ms: u32,
}

impl GatewayFile<'_> {
    /// The file's text, with one bus a list of devices.
    ///
    /// # Errors
    /// When a profile does not exist.
    pub fn text(&self, buses: &[(String, Vec<Unit<'_>>)]) -> Result<String> {
        let mut text = format!(
            "[gateway]\nname = {:?}\nsite = {:?}\nkey = {:?}\nspool_dir = {:?}\nkeep_free_mb = 0\n\n\
             [broker]\nurl = \"mqtt://{}\"\n\n[status]\nlisten = \"127.0.0.1:{}\"\n",
            self.name, self.site, self.key, self.spool_dir, self.broker, self.status_port
        );
        for (number, (address, units)) in buses.iter().enumerate() {
            text.push_str(&format!(
                "\n[[bus]]\nname = \"bus-{number}\"\nkind = \"modbus-tcp\"\naddress = {address:?}\ntimeout_ms = {}\n",
                self.timeout_ms
            ));
            for unit in units {
                text.push_str(&device(unit, self.period_ms)?);
            }
        }
        Ok(text)
    }
}

/// The device's table: quantities that the simulated map lacks are skipped, every poll class has the same period.
fn device(unit: &Unit<'_>, period_ms: u32) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../gateway/profiles/{}.toml", unit.model.profile));
    let profile = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let profile: toml::Table = toml::from_str(&profile)?;
    let served = |quantity: &str| unit.model.places.iter().any(|p| p.quantity == quantity);
    let points = profile.get("point").and_then(|p| p.as_array()).map_or(&[][..], Vec::as_slice);
    // A status point governs others: it stays, and its fixed registers are served.
    let skip: Vec<String> = points
        .iter()
        .filter(|point| point.get("governs").is_none())
        .filter_map(|point| point.get("quantity")?.as_str())
        .filter(|quantity| !served(quantity))
        .map(|quantity| format!("{quantity:?}"))
        .collect();
    let classes = profile.get("period_ms").and_then(|p| p.as_table()).context("[period_ms]")?;
    let periods: Vec<String> =
        classes.keys().map(|class| format!("{class} = {period_ms}")).collect();
    let mut text = format!(
        "\n[[bus.device]]\nid = {:?}\nunit = {}\nprofile = {:?}\nperiod_ms = {{ {} }}\n",
        unit.id,
        unit.unit,
        unit.model.profile,
        periods.join(", ")
    );
    if !skip.is_empty() {
        text.push_str(&format!("skip = [{}]\n", skip.join(", ")));
    }
    let side = profile.get("profile").and_then(|p| p.get("side")).and_then(|s| s.as_str());
    if side == Some("secondary") {
        text.push_str("ct = 1\npt = 1\n");
    }
    if unit.model.profile == "generic" {
        for place in unit.model.places {
            text.push_str(&site_point(place));
        }
    }
    Ok(text)
}

fn site_point(place: &crate::meters::Place) -> String {
    let kind = match place.encoding {
        Encoding::F32 | Encoding::F32LowFirst => "f32",
        Encoding::U16 => "u16",
        Encoding::I16 => "i16",
        Encoding::U32 => "u32",
        Encoding::I32 => "i32",
        Encoding::I64 => "i64",
    };
    let table = if place.function == 4 { "input" } else { "holding" };
    let unit = if place.quantity == "level_pct" { "%" } else { "m" };
    let scale = crate::meters::shift("1", -place.power).unwrap_or_else(|_| "1".to_owned());
    format!(
        "[[bus.device.point]]\nquantity = {:?}\ntable = \"{table}\"\nreg = {}\ntype = \"{kind}\"\nscale = {scale}\n\
         unit = \"{unit}\"\nclass = \"fast\"\n",
        place.quantity, place.address
    )
}

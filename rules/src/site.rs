//! What the registry knows of a site: devices with role and ratings, pairs, groups, overrides.
//!
//! Made by the centre's registry (and sent to the gateway for its edge copy); read when the engine is compiled.
//! It is the source of expectations: a device that never sent anything is expected all the same.

use crate::evidence::Origin;
use crate::series::Ms;
use crate::text::Text;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Roles of devices that the catalogue selects by. A device may have any other role; no rule then asks for it.
pub mod role {
    /// Supply of the site; its power counts towards the site's power.
    pub const INCOMER: &str = "incomer";
    /// Own generation (PV, genset) with a meter; its power counts towards the site's power.
    pub const GENERATION: &str = "generation";
    /// Production machine.
    pub const PRODUCTION: &str = "production";
    /// Dust collector's fan.
    pub const DUST_FAN: &str = "dust_fan";
    /// Main ventilator of a mine.
    pub const MAIN_FAN: &str = "main_fan";
    /// Main drainage pump.
    pub const DRAIN_PUMP: &str = "drain_pump";
    /// Pollution treatment.
    pub const TREATMENT: &str = "treatment";
    /// Fixed gas detector.
    pub const GAS_DETECTOR: &str = "gas_detector";
    /// Pressure or flow of a mine's main ventilation, where no fan's own device has it.
    pub const AIR_SENSOR: &str = "air_sensor";
    /// Storage tank with its level sensor.
    pub const TANK: &str = "tank";
}

/// Names of ratings.
pub mod rating {
    /// Rated current, A.
    pub const I_N: &str = "I_N";
    /// Nominal line-to-line voltage in the unit and on the side of the readings, V.
    pub const U_N: &str = "U_N";
    /// Rated apparent power, kVA.
    pub const S_N: &str = "S_N";
    /// Span of the instrument, in the unit of its quantity.
    pub const SPAN: &str = "span";
    /// Power of the site in production, kW.
    pub const P_REF: &str = "P_ref";
    /// Security load of the site, kW.
    pub const P_BASE: &str = "P_base";
    /// Power of the idle machine, kW.
    pub const P_IDLE: &str = "P_idle";
    /// Power of the running machine, kW.
    pub const P_RUN: &str = "P_run";
    /// What a fan's differential pressure usually is, Pa.
    pub const DP_REF: &str = "dp_ref";
    /// High, high-high, low, low-low limit from the site's sheet, in the unit of the quantity.
    pub const LIMITS: [&str; 4] = ["H", "HH", "L", "LL"];
}

/// One site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiteModel {
    /// Site id.
    pub site: String,
    /// Name.
    pub name: Text,
    /// County code (GB/T 2260).
    pub county: String,
    /// Sector tags (危化, 非煤矿山, 粉尘涉爆, …).
    pub sector_tags: Vec<String>,
    /// Fixed offset from UTC in minutes for the times in sentences (480 in China).
    pub utc_offset_min: i32,
    /// Revision of the registry this was taken from.
    pub revision: u64,
    /// Ratings of the site itself: `P_ref`, `P_base` (kW).
    pub ratings: BTreeMap<String, f64>,
    /// Ratings still being learnt, with the time the learning ends.
    pub learning: BTreeMap<String, Ms>,
    /// Grid feeder that supplies the site, as the grid company names it; sites with the same one are neighbours.
    pub feeder: Option<String>,
    /// Devices.
    pub devices: Vec<Device>,
    /// Which protective device belongs to which production device.
    pub pairs: Vec<Pair>,
    /// Devices that belong together.
    pub groups: Vec<Group>,
    /// Parameters set for a sector, for the site, for an asset.
    pub overrides: Vec<Override>,
}

/// One device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// Id, unique in the site.
    pub id: String,
    /// Name.
    pub name: Text,
    /// Role, see [`role`].
    pub role: String,
    /// Gateway that reads it.
    pub gateway: String,
    /// Tags (铝镁, …).
    pub tags: Vec<String>,
    /// Ratings, see [`rating`].
    pub ratings: BTreeMap<String, f64>,
    /// What it measures.
    pub points: Vec<Point>,
    /// The object this device protects (a mine, a tank, a workshop); `None` where a pair or group says it.
    pub protects: Option<String>,
    /// Since when it is expected to report.
    pub expected_since: Ms,
}

/// One measured quantity of a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Name from the fixed vocabulary.
    pub quantity: String,
    /// Poll period, ms.
    pub period_ms: Ms,
}

/// A production device and the device that must run with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// What kind of pair: `dust`, `treatment`.
    pub kind: String,
    /// Production device.
    pub production: String,
    /// Protective device.
    pub protective: String,
}

impl Pair {
    /// What alarms call it: the object of their scope.
    #[must_use]
    pub fn object(&self) -> String {
        format!("{}>{}", self.production, self.protective)
    }
}

/// Devices that belong together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What kind of group: `main_ventilation` (fans that stand in for each other), `gas_cell` (detectors of one cell),
    /// `tank_transfer` (a tank with every pump and valve that moves its content).
    pub kind: String,
    /// Id, unique in the site.
    pub id: String,
    /// Name.
    pub name: Text,
    /// Members.
    pub devices: Vec<String>,
}

/// A parameter set otherwise than the catalogue's default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Rule id.
    pub rule: String,
    /// Parameter's name.
    pub parameter: String,
    /// Value in the parameter's unit.
    pub value: f64,
    /// How wide it holds; the narrowest wins.
    pub origin: Origin,
    /// The object it is for, when `origin` is [`Origin::Asset`]; the tag, when [`Origin::Sector`].
    pub target: String,
}

impl SiteModel {
    /// Returns the name shown to people: the given one, or the id.
    pub fn label(&self) -> Text {
        if self.name.zh.is_empty() && self.name.en.is_empty() {
            Text::same(self.site.clone())
        } else {
            self.name.clone()
        }
    }

    /// Finds a device by its id.
    pub fn device(&self, id: &str) -> Option<&Device> {
        self.devices.iter().find(|d| d.id == id)
    }
}

impl Device {
    /// Finds a point by its quantity.
    pub fn point(&self, quantity: &str) -> Option<&Point> {
        self.points.iter().find(|p| p.quantity == quantity)
    }

    /// Returns the name shown to people: the given one, or the id.
    pub fn label(&self) -> Text {
        if self.name.zh.is_empty() && self.name.en.is_empty() {
            Text::same(self.id.clone())
        } else {
            self.name.clone()
        }
    }
}

//! A simulated prefecture: twelve plants in three counties and four sectors, with what the registry and each gateway
//! must know of them. Names are made up; the social credit codes have valid check digits and belong to nobody.

use crate::meters::{self, Model};
use crate::plant::machine::{Level, Load};
use crate::plant::site::{Device, Measured, Site};

/// What kind of plant it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Wood or metal dust: a production line, its dust collector's fan.
    Dust,
    /// Hazardous chemicals: gas detector, tank level, pump.
    Hazchem,
    /// Non-coal mine: two main fans, a hoist.
    Mine,
    /// Furnace with temperatures.
    Metallurgy,
}

/// One plant of the prefecture.
#[derive(Debug, Clone, Copy)]
pub struct Plant {
    /// Site id.
    pub id: &'static str,
    /// Name.
    pub zh: &'static str,
    /// Name in English.
    pub en: &'static str,
    /// GB/T 2260.
    pub county: &'static str,
    /// Unified social credit code.
    pub uscc: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Whether a stop order is in force from the start.
    pub stopped: bool,
}

const fn plant(
    id: &'static str,
    zh: &'static str,
    en: &'static str,
    county: &'static str,
    uscc: &'static str,
    kind: Kind,
) -> Plant {
    Plant { id, zh, en, county, uscc, kind, stopped: false }
}

const SHANGRILA: &str = "533401";
const DEQIN: &str = "533422";
const WEIXI: &str = "533423";

/// Where the dust collector stops.
pub const DUST_STORY: &str = "wx-jiaju";
/// Where power is drawn under a stop order.
pub const ORDER_STORY: &str = "dq-yangla";
/// Where gas rises past two limits.
pub const GAS_STORY: &str = "xg-ranqi";
/// Whose gateway loses its link.
pub const LINK_STORY: &str = "xg-youku";

/// The plants.
pub const PLANTS: [Plant; 12] = [
    plant(
        GAS_STORY,
        "香格里拉燃气储配站",
        "Shangri-La gas storage",
        SHANGRILA,
        "91533401MA6N801A0Q",
        Kind::Hazchem,
    ),
    plant(
        "xg-guitie",
        "建塘硅铁厂",
        "Jiantang ferrosilicon works",
        SHANGRILA,
        "91533401MA6N802A74",
        Kind::Metallurgy,
    ),
    plant(
        "xg-pulang",
        "普朗二号铜矿",
        "Pulang No. 2 copper mine",
        SHANGRILA,
        "91533401MA6N803A3D",
        Kind::Mine,
    ),
    plant(
        "xg-muye",
        "小中甸木业",
        "Xiaozhongdian timber",
        SHANGRILA,
        "91533401MA6N804AXK",
        Kind::Dust,
    ),
    plant(
        LINK_STORY,
        "虎跳峡油库",
        "Hutiaoxia oil depot",
        SHANGRILA,
        "91533401MA6N805A62",
        Kind::Hazchem,
    ),
    Plant {
        stopped: true,
        ..plant(
            ORDER_STORY,
            "羊拉三号铜矿",
            "Yangla No. 3 copper mine",
            DEQIN,
            "91533422MA6N807A94",
            Kind::Mine,
        )
    },
    plant(
        "dq-benzilan",
        "奔子栏石料厂",
        "Benzilan quarry mill",
        DEQIN,
        "91533422MA6N808A5D",
        Kind::Dust,
    ),
    plant(
        "dq-lng",
        "升平LNG气化站",
        "Shengping LNG station",
        DEQIN,
        "91533422MA6N809A1N",
        Kind::Hazchem,
    ),
    plant(
        "dq-yelian",
        "佛山电冶厂",
        "Foshan electric smelter",
        DEQIN,
        "91533422MA6N810A7D",
        Kind::Metallurgy,
    ),
    plant(
        DUST_STORY,
        "塔城家具厂",
        "Tacheng furniture works",
        WEIXI,
        "91533423MA6N811A35",
        Kind::Dust,
    ),
    plant(
        "wx-tongkuang",
        "维西楚格扎铁矿",
        "Chugezha iron mine",
        WEIXI,
        "91533423MA6N812AXB",
        Kind::Mine,
    ),
    plant(
        "wx-guiye",
        "白济汛工业硅厂",
        "Baijixun silicon works",
        WEIXI,
        "91533423MA6N813A6R",
        Kind::Metallurgy,
    ),
];

/// A device as the registry and the gateway know it.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Id in the site.
    pub id: &'static str,
    /// Modbus unit.
    pub unit: u8,
    /// Name.
    pub zh: &'static str,
    /// Name in English.
    pub en: &'static str,
    /// Role.
    pub role: &'static str,
    /// Its map, and so its profile.
    pub model: &'static Model,
    /// Ratings as TOML.
    pub ratings: &'static str,
    /// Quantities that the registry expects.
    pub expected: &'static [&'static str],
}

const PHASES: &[&str] = &["u_a", "u_b", "u_c", "i_a", "i_b", "i_c", "p_total"];
const MACHINE: &[&str] = &["i_a", "i_b", "i_c", "p_total"];

const INCOMER: Known = Known {
    id: "incomer-1",
    unit: 1,
    zh: "1号进线",
    en: "Incomer 1",
    role: "incomer",
    model: &meters::SDM630,
    ratings: r#"U_N = "400 V", I_N = "1250 A""#,
    expected: PHASES,
};

const fn machine(
    id: &'static str,
    unit: u8,
    zh: &'static str,
    en: &'static str,
    role: &'static str,
    ratings: &'static str,
) -> Known {
    Known { id, unit, zh, en, role, model: &meters::ADW300, ratings, expected: MACHINE }
}

impl Kind {
    /// Sector tag of the registry.
    #[must_use]
    pub fn sector(self) -> &'static str {
        match self {
            Kind::Dust => "粉尘涉爆",
            Kind::Hazchem => "危化",
            Kind::Mine => "非煤矿山",
            Kind::Metallurgy => "冶金",
        }
    }

    /// The devices of such a plant.
    #[must_use]
    pub fn devices(self) -> Vec<Known> {
        let mut devices = vec![INCOMER];
        match self {
            Kind::Dust => devices.extend([
                machine(
                    "line-1",
                    2,
                    "1号生产线",
                    "Production line 1",
                    "production",
                    r#"I_N = "150 A""#,
                ),
                machine(
                    "dust-fan-1",
                    3,
                    "1号除尘风机",
                    "Dust fan 1",
                    "dust_fan",
                    r#"I_N = "60 A""#,
                ),
            ]),
            Kind::Hazchem => devices.extend([
                machine(
                    "pump-1",
                    2,
                    "1号输送泵",
                    "Transfer pump 1",
                    "production",
                    r#"I_N = "60 A""#,
                ),
                Known {
                    id: "gas-1",
                    unit: 3,
                    zh: "1号可燃气体探测器",
                    en: "Combustible gas detector 1",
                    role: "gas_detector",
                    model: &meters::MIDAS_LEL,
                    ratings: "",
                    expected: &["gas_lel"],
                },
                Known {
                    id: "tank-1",
                    unit: 4,
                    zh: "1号储罐",
                    en: "Tank 1",
                    role: "tank",
                    model: &meters::LEVEL,
                    ratings: r#"span = "100 %", H = "85 %", HH = "92 %", L = "10 %", LL = "5 %""#,
                    expected: &["level_pct"],
                },
            ]),
            Kind::Mine => devices.extend([
                machine("hoist-1", 2, "主提升机", "Main hoist", "production", r#"I_N = "300 A""#),
                machine("fan-1", 3, "1号主通风机", "Main fan 1", "main_fan", r#"I_N = "120 A""#),
                machine("fan-2", 4, "2号主通风机", "Main fan 2", "main_fan", r#"I_N = "120 A""#),
            ]),
            Kind::Metallurgy => devices.extend([
                // 700 A a phase: more than the integer register of the machines' meter holds.
                Known {
                    model: &meters::PM5100,
                    ..machine(
                        "furnace-1",
                        2,
                        "1号电炉",
                        "Furnace 1",
                        "production",
                        r#"I_N = "800 A""#,
                    )
                },
                Known {
                    id: "temp-1",
                    unit: 3,
                    zh: "冷却水测温",
                    en: "Cooling water temperatures",
                    role: "temperature",
                    model: &meters::PT100X8,
                    ratings: "",
                    expected: &["t_1", "t_2"],
                },
            ]),
        }
        devices
    }

    /// Power in production and security load, kW.
    fn power(self) -> (u32, u32) {
        match self {
            Kind::Dust => (110, 8),
            Kind::Hazchem => (35, 6),
            Kind::Mine => (260, 85),
            Kind::Metallurgy => (450, 30),
        }
    }
}

impl Plant {
    /// Name of its gateway.
    #[must_use]
    pub fn gateway(&self) -> String {
        format!("{}-gw1", self.id)
    }

    /// The machines behind the devices, running as on a normal day (or standing still under an order).
    #[must_use]
    pub fn simulate(&self, seed: u64) -> Site {
        let on = if self.stopped { 0.0 } else { 1.0 };
        let devices = self.kind.devices().into_iter().map(|known| {
            let measured = match known.id {
                "incomer-1" => Measured::Incomer { own_kw: 5.0, energy_kwh: 52_000.0 },
                "line-1" => Measured::Load(Load::new(75.0, 0.85, on)),
                "dust-fan-1" => Measured::Load(Load::new(30.0, 0.87, on)),
                "pump-1" => Measured::Load(Load::new(30.0, 0.86, on)),
                "hoist-1" => Measured::Load(Load::new(150.0, 0.88, on)),
                "fan-1" => Measured::Load(Load::new(55.0, 0.86, 1.0)),
                "fan-2" => Measured::Load(Load::new(55.0, 0.86, 0.0)),
                "furnace-1" => Measured::Load(Load::new(420.0, 0.92, on)),
                "gas-1" => Measured::Levels(vec![Level::new(1.5, 1.0, 0.2)]),
                "tank-1" => Measured::Levels(vec![Level::new(61.0, 0.05, 0.1)]),
                _ => Measured::Levels((0..8).map(|_| Level::new(34.0, 0.5, 0.2)).collect()),
            };
            Device::new(known.id, known.unit, known.model, measured)
        });
        Site::new(self.id, seed, devices.collect())
    }

    /// Its part of the registry's seed file.
    #[must_use]
    pub fn registry(&self) -> String {
        let (reference, base) = self.kind.power();
        let mut text = format!(
            "[[site]]\nid = {:?}\nname = {:?}\nname_en = {:?}\nuscc = {:?}\ncounty = {:?}\nsectors = [{:?}]\n\
             zone = \"Asia/Shanghai\"\nratings = {{ P_ref = \"{reference} kW\", P_base = \"{base} kW\" }}\n\
             contact = [{{ name = \"示例安全员\", role = \"安全员\", phone = \"+86 000 0000 0000\" }}]\n\n\
             [[site.gateway]]\nname = {:?}\n\n",
            self.id,
            self.zh,
            self.en,
            self.uscc,
            self.county,
            self.kind.sector(),
            self.gateway()
        );
        for known in self.kind.devices() {
            let points: Vec<String> = known
                .expected
                .iter()
                .map(|q| format!("{{ quantity = {q:?}, period_ms = 1000 }}"))
                .collect();
            text.push_str(&format!(
                "[[site.device]]\nid = {:?}\nname = {:?}\nname_en = {:?}\nrole = {:?}\ngateway = {:?}\n\
                 ratings = {{ {} }}\npoints = [{}]\n\n",
                known.id,
                known.zh,
                known.en,
                known.role,
                self.gateway(),
                known.ratings,
                points.join(", ")
            ));
        }
        match self.kind {
            Kind::Dust => text.push_str(
                "[[site.pair]]\nkind = \"dust\"\nproduction = \"line-1\"\nprotective = \"dust-fan-1\"\n\n",
            ),
            Kind::Mine => text.push_str(
                "[[site.group]]\nkind = \"main_ventilation\"\nid = \"main-fans\"\nname = \"主通风机\"\n\
                 devices = [\"fan-1\", \"fan-2\"]\n\n",
            ),
            Kind::Hazchem | Kind::Metallurgy => {}
        }
        text
    }
}

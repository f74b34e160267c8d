//! The fixed vocabulary of quantities (`u_a`, `gas_lel`, `di_…`) with unit, names and family.
//! Profiles, manifests, rules, store and console all take their names from here; nobody invents another.
//! Numbers are always in the unit of this table: a profile converts, nobody after it does.

/// Which measurement of the store, and which kind of page, a quantity belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Electrical quantities.
    Electric,
    /// Gas concentrations.
    Gas,
    /// Temperatures, levels, pressures, flows.
    Process,
    /// Switches, states, counters of events.
    State,
}

impl Family {
    /// The measurement's name in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Electric => "electric",
            Self::Gas => "gas",
            Self::Process => "process",
            Self::State => "state",
        }
    }
}

/// One entry of the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantityInfo {
    /// The name, or for a family of names the part before `_`.
    pub name: &'static str,
    /// The unit, empty for switches and counts.
    pub unit: &'static str,
    /// The Chinese name.
    pub zh: &'static str,
    /// The English name.
    pub en: &'static str,
    /// The measurement it belongs to.
    pub family: Family,
    /// Whether `name_x` is allowed too, `x` being any of `a-z 0-9 _`: `t_oil`, `di_airlock`, `gas_ppm_co`.
    pub suffixed: bool,
}

/// Longest name of a quantity, suffix included, bytes.
pub const NAME_BYTES_MAX: usize = 48;

/// The entry of a name, exact or with a suffix where the entry allows one; `None` if the name is not in the vocabulary.
///
/// `t` and `di` are families only: they need a suffix (`t_oil`, `di_1`).
#[must_use]
pub fn lookup(name: &str) -> Option<&'static QuantityInfo> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    if let Some(info) = QUANTITIES.iter().find(|q| q.name == name) {
        return (!needs_suffix(info)).then_some(info);
    }
    // The longest family wins: `level_pct_2` is of `level_pct`, not of `level`.
    QUANTITIES
        .iter()
        .filter(|q| q.suffixed && name.strip_prefix(q.name).is_some_and(is_suffix))
        .max_by_key(|q| q.name.len())
}

/// Whether the bare name means nothing: which temperature, which switch?
fn needs_suffix(info: &QuantityInfo) -> bool {
    matches!(info.name, "t" | "di")
}

fn is_suffix(rest: &str) -> bool {
    rest.strip_prefix('_').is_some_and(|word| {
        !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    })
}

const fn one(
    name: &'static str,
    unit: &'static str,
    zh: &'static str,
    en: &'static str,
    family: Family,
) -> QuantityInfo {
    QuantityInfo { name, unit, zh, en, family, suffixed: false }
}

const fn many(
    name: &'static str,
    unit: &'static str,
    zh: &'static str,
    en: &'static str,
    family: Family,
) -> QuantityInfo {
    QuantityInfo { name, unit, zh, en, family, suffixed: true }
}

/// The whole vocabulary, grouped by family. Entries may be added, never renamed: series are named by them for ever.
pub const QUANTITIES: &[QuantityInfo] = &[
    one("u_a", "V", "A相电压", "Voltage, phase A", Family::Electric),
    one("u_b", "V", "B相电压", "Voltage, phase B", Family::Electric),
    one("u_c", "V", "C相电压", "Voltage, phase C", Family::Electric),
    one("u_ab", "V", "AB线电压", "Voltage, line AB", Family::Electric),
    one("u_bc", "V", "BC线电压", "Voltage, line BC", Family::Electric),
    one("u_ca", "V", "CA线电压", "Voltage, line CA", Family::Electric),
    one("i_a", "A", "A相电流", "Current, phase A", Family::Electric),
    one("i_b", "A", "B相电流", "Current, phase B", Family::Electric),
    one("i_c", "A", "C相电流", "Current, phase C", Family::Electric),
    one("i_n", "A", "零线电流", "Current, neutral", Family::Electric),
    one("p_total", "kW", "总有功功率", "Active power, total", Family::Electric),
    one("p_a", "kW", "A相有功功率", "Active power, phase A", Family::Electric),
    one("p_b", "kW", "B相有功功率", "Active power, phase B", Family::Electric),
    one("p_c", "kW", "C相有功功率", "Active power, phase C", Family::Electric),
    one("q_total", "kvar", "总无功功率", "Reactive power, total", Family::Electric),
    one("q_a", "kvar", "A相无功功率", "Reactive power, phase A", Family::Electric),
    one("q_b", "kvar", "B相无功功率", "Reactive power, phase B", Family::Electric),
    one("q_c", "kvar", "C相无功功率", "Reactive power, phase C", Family::Electric),
    one("s_total", "kVA", "总视在功率", "Apparent power, total", Family::Electric),
    one("s_a", "kVA", "A相视在功率", "Apparent power, phase A", Family::Electric),
    one("s_b", "kVA", "B相视在功率", "Apparent power, phase B", Family::Electric),
    one("s_c", "kVA", "C相视在功率", "Apparent power, phase C", Family::Electric),
    one("pf_total", "1", "总功率因数", "Power factor, total", Family::Electric),
    one("pf_a", "1", "A相功率因数", "Power factor, phase A", Family::Electric),
    one("pf_b", "1", "B相功率因数", "Power factor, phase B", Family::Electric),
    one("pf_c", "1", "C相功率因数", "Power factor, phase C", Family::Electric),
    one("freq", "Hz", "频率", "Frequency", Family::Electric),
    one("ep_imp", "kWh", "正向有功电能", "Active energy, imported", Family::Electric),
    one(
        "ep_imp_1",
        "kWh",
        "正向有功电能(尖)",
        "Active energy, imported, sharp rate",
        Family::Electric,
    ),
    one(
        "ep_imp_2",
        "kWh",
        "正向有功电能(峰)",
        "Active energy, imported, peak rate",
        Family::Electric,
    ),
    one(
        "ep_imp_3",
        "kWh",
        "正向有功电能(平)",
        "Active energy, imported, flat rate",
        Family::Electric,
    ),
    one(
        "ep_imp_4",
        "kWh",
        "正向有功电能(谷)",
        "Active energy, imported, valley rate",
        Family::Electric,
    ),
    one("ep_exp", "kWh", "反向有功电能", "Active energy, exported", Family::Electric),
    one(
        "ep_exp_1",
        "kWh",
        "反向有功电能(尖)",
        "Active energy, exported, sharp rate",
        Family::Electric,
    ),
    one(
        "ep_exp_2",
        "kWh",
        "反向有功电能(峰)",
        "Active energy, exported, peak rate",
        Family::Electric,
    ),
    one(
        "ep_exp_3",
        "kWh",
        "反向有功电能(平)",
        "Active energy, exported, flat rate",
        Family::Electric,
    ),
    one(
        "ep_exp_4",
        "kWh",
        "反向有功电能(谷)",
        "Active energy, exported, valley rate",
        Family::Electric,
    ),
    one("eq_imp", "kvarh", "正向无功电能", "Reactive energy, imported", Family::Electric),
    one("eq_exp", "kvarh", "反向无功电能", "Reactive energy, exported", Family::Electric),
    one("eq_q1", "kvarh", "第一象限无功电能", "Reactive energy, quadrant 1", Family::Electric),
    one("eq_q2", "kvarh", "第二象限无功电能", "Reactive energy, quadrant 2", Family::Electric),
    one("eq_q3", "kvarh", "第三象限无功电能", "Reactive energy, quadrant 3", Family::Electric),
    one("eq_q4", "kvarh", "第四象限无功电能", "Reactive energy, quadrant 4", Family::Electric),
    one("dmd", "kW", "需量", "Demand", Family::Electric),
    one("dmd_max", "kW", "最大需量", "Maximum demand", Family::Electric),
    one("thd_u", "%", "电压谐波畸变率", "Harmonic distortion of voltage", Family::Electric),
    one(
        "thd_u_a",
        "%",
        "A相电压谐波畸变率",
        "Harmonic distortion of voltage, phase A",
        Family::Electric,
    ),
    one(
        "thd_u_b",
        "%",
        "B相电压谐波畸变率",
        "Harmonic distortion of voltage, phase B",
        Family::Electric,
    ),
    one(
        "thd_u_c",
        "%",
        "C相电压谐波畸变率",
        "Harmonic distortion of voltage, phase C",
        Family::Electric,
    ),
    one("thd_i", "%", "电流谐波畸变率", "Harmonic distortion of current", Family::Electric),
    one(
        "thd_i_a",
        "%",
        "A相电流谐波畸变率",
        "Harmonic distortion of current, phase A",
        Family::Electric,
    ),
    one(
        "thd_i_b",
        "%",
        "B相电流谐波畸变率",
        "Harmonic distortion of current, phase B",
        Family::Electric,
    ),
    one(
        "thd_i_c",
        "%",
        "C相电流谐波畸变率",
        "Harmonic distortion of current, phase C",
        Family::Electric,
    ),
    one("unb_u", "%", "电压不平衡度", "Voltage unbalance", Family::Electric),
    one("unb_i", "%", "电流不平衡度", "Current unbalance", Family::Electric),
    one("i_res", "mA", "剩余电流", "Residual current", Family::Electric),
    one("vfd_f", "Hz", "变频器频率", "Drive output frequency", Family::Electric),
    many("gas_lel", "%LEL", "可燃气体浓度", "Combustible gas", Family::Gas),
    many("gas_lelm", "LEL·m", "可燃气体(线型)", "Combustible gas, open path", Family::Gas),
    many("gas_ppm", "ppm", "有毒气体浓度", "Toxic gas", Family::Gas),
    many("gas_mgm3", "mg/m³", "有毒气体浓度", "Toxic gas, by mass", Family::Gas),
    one("o2", "%VOL", "氧气浓度", "Oxygen", Family::Gas),
    one("ch4", "%VOL", "甲烷浓度", "Methane", Family::Gas),
    many("t", "°C", "温度", "Temperature", Family::Process),
    many("level", "m", "液位", "Level", Family::Process),
    many("level_pct", "%", "液位(百分比)", "Level, share of span", Family::Process),
    many("pressure", "MPa", "压力", "Pressure", Family::Process),
    many("dp", "Pa", "压差", "Differential pressure", Family::Process),
    many("flow", "m³/h", "流量", "Flow", Family::Process),
    many("di", "", "开关量", "Switch", Family::State),
    one("det_status", "", "探测器状态", "Detector status", Family::State),
    one("cover_count", "", "开盖次数", "Cover openings", Family::State),
    one("prog_count", "", "编程次数", "Programming count", Family::State),
    one("meter_clock", "s", "表钟", "Meter clock", Family::State),
];

#[cfg(test)]
mod tests;

//! Numbers, times and names as a duty officer reads them.

use crate::series::Ms;
use crate::text::Lang;

const DAY_MS: Ms = 86_400_000;

/// (month, day) of a moment in a fixed offset from UTC.
fn month_day(t: Ms, offset_min: i32) -> (i64, i64) {
    let days = t.saturating_add(Ms::from(offset_min) * 60_000).div_euclid(DAY_MS);
    // Civil date from days since 1970-01-01: years counted from 1 March of year 0, 146,097 days in 400 years.
    let z = days + 719_468;
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    (if m < 10 { m + 3 } else { m - 9 }, day_of_year - (153 * m + 2) / 5 + 1)
}

/// Writes month and day: `9-30`.
pub(super) fn date(t: Ms, offset_min: i32) -> String {
    let (month, day) = month_day(t, offset_min);
    format!("{month}-{day}")
}

/// Writes the time of day: `02:15`, with seconds if `fine`.
pub(super) fn time(t: Ms, offset_min: i32, fine: bool) -> String {
    let s = t.saturating_add(Ms::from(offset_min) * 60_000).rem_euclid(DAY_MS) / 1000;
    let (hour, minute) = (s / 3600, s / 60 % 60);
    if fine {
        format!("{hour:02}:{minute:02}:{:02}", s % 60)
    } else {
        format!("{hour:02}:{minute:02}")
    }
}

/// Writes a moment: `9-30 02:15:07`.
pub(super) fn moment(t: Ms, offset_min: i32) -> String {
    format!("{} {}", date(t, offset_min), time(t, offset_min, true))
}

/// Writes a length of time: `30 分钟`, `1 小时 5 分钟`, `3 秒`.
pub(super) fn span(ms: Ms, lang: Lang) -> String {
    let (h, min, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let units = match lang {
        Lang::Zh => ["小时", "分钟", "秒"],
        Lang::En => ["h", "min", "s"],
    };
    let parts: Vec<String> = [(h, units[0]), (min, units[1]), (s, units[2])]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n} {unit}"))
        .collect();
    match (parts.is_empty(), ms) {
        (true, 0) => format!("0 {}", units[2]),
        (true, _) => format!("{ms} ms"),
        _ => parts.join(" "),
    }
}

/// Writes a number as it is if that is short, else rounded to what an eye takes in.
pub(super) fn number(value: f64) -> String {
    let exact = format!("{value}");
    if exact.len() <= 6 || !value.is_finite() {
        return exact;
    }
    match value.abs() {
        a if a < 10.0 => format!("{value:.3}"),
        a if a < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Writes a share as per cent.
pub(super) fn share(value: f64) -> String {
    let percent = value * 100.0;
    if (percent - percent.round()).abs() < 1e-9 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.1} %")
    }
}

/// Names a quantity of the fixed vocabulary.
pub(super) fn quantity(name: &str, lang: Lang) -> String {
    let (zh, en) = match name {
        "u_a" | "u_b" | "u_c" => ("相电压", "phase voltage"),
        "u_ab" | "u_bc" | "u_ca" => ("线电压", "line voltage"),
        "i_a" | "i_b" | "i_c" => ("电流", "current"),
        "p_total" => ("有功功率", "active power"),
        "gas_lelm" => ("可燃气体积分浓度", "combustible gas along the path"),
        "gas_lel" => ("可燃气体浓度", "combustible gas"),
        "gas_ppm" | "gas_mgm3" => ("有毒气体浓度", "toxic gas"),
        "o2" => ("氧气", "oxygen"),
        "ch4" => ("甲烷", "methane"),
        "level" | "level_pct" => ("液位", "level"),
        "pressure" => ("压力", "pressure"),
        "dp" => ("压差", "differential pressure"),
        "flow" => ("流量", "flow"),
        "freq" => ("频率", "frequency"),
        n if n.starts_with("t_") => ("温度", "temperature"),
        n => return n.to_string(),
    };
    let phase = match name.split_once('_') {
        Some((_, p @ ("a" | "b" | "c" | "ab" | "bc" | "ca"))) => p.to_uppercase(),
        _ => String::new(),
    };
    match lang {
        Lang::Zh => {
            format!("{phase}{}{zh}", if phase.len() == 1 && zh == "电流" { "相" } else { "" })
        }
        Lang::En => format!("{en} {phase}").trim_end().to_string(),
    }
}

//! County codes (GB/T 2260), six digits: a check of form, the names of the counties served, and codes that have passed.

/// First two digits in use.
const PROVINCES: [&str; 34] = [
    "11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41",
    "42", "43", "44", "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71",
    "81", "82",
];

/// Counties with names: code, Chinese, English.
const NAMES: [(&str, &str, &str); 4] = [
    ("533400", "迪庆藏族自治州", "Dêqên Prefecture"),
    ("533401", "香格里拉市", "Shangri-La"),
    ("533422", "德钦县", "Dêqên County"),
    ("533423", "维西傈僳族自治县", "Weixi County"),
];

/// Codes that have passed, with the one that took over: 香格里拉县 became a city in December 2014.
const PASSED: [(&str, &str); 1] = [("533421", "533401")];

/// The code in force for a code that may have passed.
///
/// # Errors
/// A sentence saying what a county code is, when the text is none.
pub fn in_force(code: &str) -> Result<&str, String> {
    let form = code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit());
    if !form || !PROVINCES.contains(&&code[..2]) || code.ends_with("0000") {
        return Err(format!(
            "{code:?} is no county code: six digits of GB/T 2260, e.g. \"533401\""
        ));
    }
    Ok(PASSED.iter().find(|(old, _)| *old == code).map_or(code, |(_, new)| new))
}

/// Name of a county in Chinese; the code itself where the name is not known here.
#[must_use]
pub fn name_zh(code: &str) -> &str {
    NAMES.iter().find(|(known, _, _)| *known == code).map_or(code, |(_, zh, _)| zh)
}

/// Name of a county in English; the code itself where the name is not known here.
#[must_use]
pub fn name_en(code: &str) -> &str {
    NAMES.iter().find(|(known, _, _)| *known == code).map_or(code, |(_, _, en)| en)
}

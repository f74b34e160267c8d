//! The site file: the example loads, and every problem of a broken one is listed with its line.

use std::path::Path;

use super::Config;

const EXAMPLE: &str = include_str!("../../gateway.example.toml");

/// Loads a text; the problems as one string each.
fn problems(text: &str) -> Vec<String> {
    match Config::parse(Path::new("gateway.toml"), text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_example_is_a_configuration() {
    // Goal: the file that users copy loads whole. Method: load it and look at one value of each kind.
    let config = Config::parse(Path::new("gateway.toml"), EXAMPLE).expect("the example loads");
    assert_eq!(config.gateway.name.as_str(), "gw-jinsha-01");
    assert_eq!((config.broker.tls, config.broker.port), (false, 1883));
    assert_eq!(config.buses.len(), 2);
    let ids: Vec<&str> = config.devices().map(|(_, device)| &*device.id).collect();
    assert_eq!(ids, ["incomer-1", "dust-fan-1", "gas-1", "tank-1"]);
    let tank = &config.buses[1].devices[1];
    assert_eq!(tank.index, 3);
    assert_eq!(tank.points[1].range, Some((0.0, 1.6)), "kPa became MPa");
    let fan = &config.buses[0].devices[1];
    let current = fan.points.iter().find(|p| p.quantity.as_deref() == Some("i_a"));
    assert_eq!(current.and_then(|p| p.range), Some((0.0, 9600.0)), "120 A at CT 400/5");
}

#[test]
fn all_problems_are_listed_at_once_with_their_lines() {
    // Goal: one look mends the file. Method: break seven things, expect seven problems, each with its line.
    let broken = EXAMPLE
        .replace("flush_ms = 100 ", "flush_ms = 5 ")
        .replace("url = \"mqtt://", "url = \"http://")
        .replace("profile = \"eastron-sdm630\"", "profile = \"eastron-sdm360\"")
        .replace("ct = \"400/5\"  ", "")
        .replace("role = \"gas_detector\"", "rolle = \"gas_detector\"")
        .replace("unit = 5\n", "unit = 300\n")
        .replace("quantity = \"level\"", "quantity = \"levle\"");
    let found = problems(&broken);
    for (line, part) in [
        (11, "flush_ms = 5"),
        (19, "mqtt://host"),
        (39, "did you mean eastron-sdm630?"),
        (42, "ct = \"400/5\""),
        (62, "did you mean role?"),
        (66, "unit = 300"),
        (71, "did you mean level?"),
    ] {
        let at = format!("gateway.toml:{line}:");
        assert!(
            found.iter().any(|text| text.starts_with(&at) && text.contains(part)),
            "{at} {part} is not in\n{}",
            found.join("\n")
        );
    }
    assert_eq!(found.len(), 7, "{}", found.join("\n"));
}

#[test]
fn syntax_errors_have_their_line() {
    let found = problems("[gateway]\nname = gw\n[broker\nurl = 1");
    assert!(found.iter().any(|text| text.starts_with("gateway.toml:2:")), "{found:?}");
    assert!(found.iter().any(|text| text.starts_with("gateway.toml:3:")), "{found:?}");
}

#[test]
fn a_secret_is_in_no_message_and_no_dump() {
    let digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let config = Config::parse(Path::new("gateway.toml"), EXAMPLE).expect("the example loads");
    assert!(!format!("{config:?}").contains("1b1c1d"));
    let found = problems(&EXAMPLE.replace(digits, &digits[..60])).join("\n");
    assert!(found.contains("64"), "{found}");
    assert!(!found.contains("0a0b0c"), "{found}");
}

#[test]
fn names_and_endpoints_are_unique() {
    let twice = EXAMPLE
        .replace("id = \"tank-1\"", "id = \"gas-1\"")
        .replace("192.168.1.11:502", "192.168.1.10:502")
        .replace("name = \"tank-farm\"", "name = \"switchroom\"");
    let found = problems(&twice);
    assert_eq!(found.len(), 3, "{}", found.join("\n"));
}

#[test]
fn ratios_that_do_nothing_are_refused() {
    let text = EXAMPLE.replace("role = \"incomer\"", "role = \"incomer\"\nct = 80");
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{}", found.join("\n"));
    assert!(found[0].contains("primary"), "{}", found[0]);
}

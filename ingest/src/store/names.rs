//! Which names a store can hold. Both stores refuse the same ones, so that data can move from one to the other.

use wire::quantity::{self, Family};

/// Longest site or device name, bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Checks a site or device name.
///
/// # Errors
/// The reason, for a name that line protocol cannot carry: empty, control characters, a backslash at the end.
pub fn check_tag(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "a name needs 1 to {NAME_BYTES_MAX} bytes, this one has {}",
            name.len()
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("control character in {name:?}"));
    }
    if name.ends_with('\\') {
        return Err(format!("{name:?} ends with a backslash"));
    }
    Ok(())
}

/// Checks a quantity's name.
///
/// # Errors
/// The reason: empty, anything but `a-z 0-9 _`, or the ending `_q`, which names quality fields.
pub fn check_quantity(name: &str) -> Result<(), String> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fine) {
        return Err(format!("quantity {name:?} is not made of a-z 0-9 _"));
    }
    if name.starts_with('_') || name.ends_with("_q") {
        return Err(format!("quantity {name:?}: a leading _ and the ending _q are reserved"));
    }
    Ok(())
}

/// The measurement a quantity is kept under. A name that this program does not know yet is a process value: a newer
/// gateway must not lose data on an older centre.
pub fn family(quantity: &str) -> Family {
    quantity::lookup(quantity).map_or(Family::Process, |info| info.family)
}

//! The unified social credit code 统一社会信用代码 (GB 32100-2015) and the organisation code inside it (GB 11714).

/// Characters of the code; I, O, S, V and Z are left out.
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
/// Weights of the first 17 characters: 3^(i-1) mod 31.
const WEIGHTS: [u32; 17] = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];
/// Weights of the organisation code's first 8 characters.
const ORGANISATION_WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];

/// Why a text is no such code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsccError {
    /// Not 18 characters.
    #[error("a unified social credit code has 18 characters, this has {0}")]
    Length(usize),
    /// A character that does not occur in such codes.
    #[error(
        "{0:?} does not occur in a unified social credit code (no I, O, S, V, Z, no lower case)"
    )]
    Character(char),
    /// The organisation code inside does not check.
    #[error("characters 9 to 17 are no organisation code: the check character would be {0:?}")]
    Organisation(char),
    /// The last character does not check.
    #[error("the last character does not check: it would be {0:?}")]
    Check(char),
}

/// Checks a code.
///
/// # Errors
/// What is wrong first, with the character that would be right.
pub fn check(code: &str) -> Result<(), UsccError> {
    let count = code.chars().count();
    if count != 18 {
        return Err(UsccError::Length(count));
    }
    let mut values = Vec::with_capacity(18);
    for character in code.chars() {
        values.push(value_of(character).ok_or(UsccError::Character(character))?);
    }
    let expected = organisation_check(&code.as_bytes()[8..16]);
    if code.as_bytes()[16] != expected {
        return Err(UsccError::Organisation(char::from(expected)));
    }
    let sum: u32 = values.iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum();
    let check = (31 - sum % 31) % 31;
    if values[17] != check {
        return Err(UsccError::Check(char::from(ALPHABET[check as usize])));
    }
    Ok(())
}

fn value_of(character: char) -> Option<u32> {
    let found = ALPHABET.iter().position(|known| char::from(*known) == character)?;
    u32::try_from(found).ok()
}

/// Check character of an organisation code: digits are themselves, A is 10 … Z is 35.
fn organisation_check(first: &[u8]) -> u8 {
    let value = |byte: u8| char::from(byte).to_digit(36).unwrap_or(0);
    let sum: u32 = first.iter().zip(ORGANISATION_WEIGHTS).map(|(b, w)| value(*b) * w).sum();
    match 11 - sum % 11 {
        10 => b'X',
        11 => b'0',
        digit => b'0' + u8::try_from(digit).unwrap_or(0),
    }
}

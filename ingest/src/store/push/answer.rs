//! What a database's answer to a write means. Pure; from what InfluxDB 2.7.12, InfluxDB 1.6.7 and VictoriaMetrics 1.140
//! really answer.

use influxdb2::RequestError;

/// Longest piece of the database's words that is kept, bytes.
const WORDS_MAX: usize = 500;

/// The meaning of an answer to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Answer {
    /// Everything is stored.
    Stored,
    /// Everything is stored but this many points older than the bucket keeps; sending them again changes nothing.
    Dropped(u64),
    /// At least one line is malformed: nothing is stored.
    Malformed(String),
    /// At least one point has a field of another type: the others are stored.
    Conflict(String),
    /// The database takes no more series: points of those that it has are stored.
    TooMany(String),
    /// The request is too large.
    TooLarge(String),
    /// Too busy, down, unreachable, or no answer in time: perhaps stored, perhaps not. Send the same again.
    Busy {
        /// Its words.
        words: String,
        /// The pause that it asked for (`Retry-After`), ms; 0 where it said nothing.
        pause_ms: u64,
    },
    /// 500: passing trouble, a full disk, or a request it can never take.
    Broken(String),
    /// Our configuration does not fit the database.
    Denied(u16, String),
}

impl Answer {
    /// Points that the database dropped because its bucket keeps less.
    pub(super) fn dropped(&self) -> u64 {
        if let Self::Dropped(points) = self { *points } else { 0 }
    }
}

/// Longest pause that a database may ask for, ms: what is longer is a mistake, and the log fills meanwhile.
const PAUSE_MAX_MS: u64 = 300_000;

/// Reads the result of a write through `influxdb2`, which loses headers.
pub(in crate::store) fn read(result: Result<(), RequestError>) -> Answer {
    match result {
        Ok(()) => Answer::Stored,
        Err(RequestError::Http { status, text }) => of_status(status.as_u16(), &text),
        Err(RequestError::ReqwestProcessing { source }) => busy(chain(&source)),
        Err(other) => busy(other.to_string()),
    }
}

/// Nobody answered, or not in time.
pub(in crate::store) fn busy(words: String) -> Answer {
    Answer::Busy { words, pause_ms: 0 }
}

/// Reads a status. InfluxDB 1 says 400 where InfluxDB 2 says 422, in nearly the same words.
pub(in crate::store) fn of_status(status: u16, text: &str) -> Answer {
    let words = words(text);
    match status {
        200 | 204 => Answer::Stored,
        400 | 422 if words.contains("limit exceeded") => Answer::TooMany(words),
        400 | 422 if words.contains("type conflict") => Answer::Conflict(words),
        422 if words.contains("outside retention policy") => Answer::Dropped(dropped(&words)),
        400 if words.contains("beyond retention policy") => Answer::Dropped(counted(&words)),
        400 | 422 => Answer::Malformed(words),
        413 => Answer::TooLarge(words),
        429 | 502 | 503 | 504 => busy(format!("{status}: {words}")),
        500 | 501 | 505..=599 => Answer::Broken(words),
        _ => Answer::Denied(status, words),
    }
}

/// The pause that a `Retry-After` in seconds asks for, ms.
pub(in crate::store) fn pause_ms(retry_after: Option<&str>) -> u64 {
    let seconds = retry_after.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    seconds.saturating_mul(1_000).min(PAUSE_MAX_MS)
}

/// The number after `dropped=` of InfluxDB 1, at least 1.
fn counted(words: &str) -> u64 {
    let after = words.rsplit("dropped=").next().unwrap_or_default();
    after.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// The number before `points outside retention policy`, at least 1.
fn dropped(words: &str) -> u64 {
    let before = words.split(" points outside retention policy").next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// The `message` (InfluxDB 2) or `error` (InfluxDB 1) of its JSON, or the text itself, shortened.
pub(in crate::store) fn words(text: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let message = json.as_ref().and_then(|j| j.get("message").or_else(|| j.get("error"))?.as_str());
    let message = message.unwrap_or(text);
    let mut end = message.len().min(WORDS_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].trim().to_owned()
}

/// An error with all its causes.
pub(in crate::store) fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        out.push_str(": ");
        out.push_str(&cause.to_string());
        next = cause.source();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_influxdb_2_means_by_them() {
        let json = |m: &str| format!("{{\"code\":\"x\",\"message\":\"{m}\"}}");
        let conflict = "failure writing points to database: partial write: field type conflict: \
            input field \\\"v\\\" on measurement \\\"m\\\" is type integer, already exists as type float dropped=1";
        let retention =
            "partial write: dropped 17 points outside retention policy of duration 1h0m0s";
        assert_eq!(
            of_status(400, &json("unable to parse 'x'")),
            Answer::Malformed("unable to parse 'x'".into())
        );
        assert!(matches!(of_status(422, &json(conflict)), Answer::Conflict(_)));
        assert_eq!(of_status(422, &json(retention)), Answer::Dropped(17));
        assert!(matches!(of_status(413, "large"), Answer::TooLarge(_)));
        for busy in [429, 503, 502, 504] {
            assert!(matches!(of_status(busy, ""), Answer::Busy { .. }));
        }
        assert!(matches!(of_status(500, ""), Answer::Broken(_)));
        // InfluxDB 1.
        let json = |m: &str| format!("{{\"error\":\"{m}\"}}");
        let beyond = json("partial write: points beyond retention policy dropped=17");
        assert_eq!(of_status(400, &beyond), Answer::Dropped(17));
        let limit = json(
            "partial write: max-values-per-tag limit exceeded (9/9): measurement=\\\"m\\\" dropped=2",
        );
        assert!(matches!(of_status(400, &limit), Answer::TooMany(_)));
        assert!(matches!(of_status(400, &json(conflict)), Answer::Conflict(_)));
        for denied in [401, 403, 404, 301, 405] {
            assert!(matches!(of_status(denied, ""), Answer::Denied(_, _)));
        }
    }

    #[test]
    fn a_pause_is_seconds_and_bounded() {
        let pauses = [Some("3"), Some(" 7 "), Some("soon"), None, Some("99999999")].map(pause_ms);
        assert_eq!(pauses, [3_000, 7_000, 0, 0, PAUSE_MAX_MS]);
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        assert_eq!(words(&"电".repeat(400)).chars().count(), 166);
    }
}

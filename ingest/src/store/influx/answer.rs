//! What an answer of InfluxDB 2 to a write means. Pure; from what 2.7.12 really answers.

use influxdb2::RequestError;

use super::{StoreError, refused, unavailable};

/// Longest piece of the database's words that is kept, bytes.
const WORDS_MAX: usize = 500;

/// The meaning of an answer to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Everything is stored.
    Stored,
    /// Everything is stored but this many points older than the bucket keeps; sending them again changes nothing.
    Dropped(u64),
    /// At least one line is malformed: nothing is stored.
    Malformed(String),
    /// At least one point has a field of another type: the others are stored.
    Conflict(String),
    /// The request is too large.
    TooLarge(String),
    /// Too busy, down, unreachable, or no answer in time: perhaps stored, perhaps not. Send the same again.
    Busy(String),
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

/// Reads the result of a write.
pub(super) fn read(result: Result<(), RequestError>) -> Answer {
    match result {
        Ok(()) => Answer::Stored,
        Err(RequestError::Http { status, text }) => of_status(status.as_u16(), &text),
        Err(RequestError::ReqwestProcessing { source }) => Answer::Busy(chain(&source)),
        Err(other) => Answer::Busy(other.to_string()),
    }
}

/// Reads a status other than 204.
fn of_status(status: u16, text: &str) -> Answer {
    let words = words(text);
    match status {
        400 => Answer::Malformed(words),
        422 if words.contains("type conflict") => Answer::Conflict(words),
        422 if words.contains("outside retention policy") => Answer::Dropped(dropped(&words)),
        422 => Answer::Malformed(words),
        413 => Answer::TooLarge(words),
        429 | 502 | 503 | 504 => Answer::Busy(format!("{status}: {words}")),
        500 | 501 | 505..=599 => Answer::Broken(words),
        _ => Answer::Denied(status, words),
    }
}

/// The number before `points outside retention policy`, at least 1.
fn dropped(words: &str) -> u64 {
    let before = words.split(" points outside retention policy").next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// The `message` of InfluxDB's JSON, or the text itself, shortened.
pub(super) fn words(text: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let message = json.as_ref().and_then(|j| j.get("message")?.as_str()).unwrap_or(text);
    let mut end = message.len().min(WORDS_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].trim().to_owned()
}

/// An error with all its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        out.push_str(": ");
        out.push_str(&cause.to_string());
        next = cause.source();
    }
    out
}

/// What a person does about a refusal.
pub(super) fn denied(status: u16, words: &str, org: &str, bucket: &str) -> StoreError {
    let mend = match status {
        401 | 403 => format!(
            "put a token that may read and write bucket {bucket:?} into the file that [store] token_file names (influx auth create --org {org:?} --read-buckets --write-buckets) and restart davy-ingest"
        ),
        404 => format!(
            "check [store] org = {org:?} and bucket = {bucket:?} (influx org list, influx bucket list) and restart davy-ingest"
        ),
        300..=399 => "give the address that the redirect points to".to_owned(),
        _ => "check that the address is that of an InfluxDB 2".to_owned(),
    };
    refused(format!("status {status}: {words}"), mend)
}

/// The error of a request that is not a write.
pub(super) fn of_request(error: RequestError, org: &str, bucket: &str) -> StoreError {
    match read(Err(error)) {
        Answer::Denied(status, words) => denied(status, &words, org, bucket),
        Answer::Malformed(words) => denied(400, &words, org, bucket),
        Answer::Busy(words) | Answer::Broken(words) => unavailable(words),
        other => unavailable(format!("{other:?}")),
    }
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
            assert!(matches!(of_status(busy, ""), Answer::Busy(_)));
        }
        assert!(matches!(of_status(500, ""), Answer::Broken(_)));
        for denied in [401, 403, 404, 301, 405] {
            assert!(matches!(of_status(denied, ""), Answer::Denied(_, _)));
        }
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        assert_eq!(words(&"电".repeat(400)).chars().count(), 166);
    }
}

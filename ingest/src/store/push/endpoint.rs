//! Where lines are sent: InfluxDB 2 through `influxdb2`, the others as plain requests.

use bytes::Bytes;
use influxdb2::api::write::TimestampPrecision;

use super::answer::{self, Answer};
use super::token::Token;
use super::{Limits, http};
use crate::secret::Secret;
use crate::store::StoreError;

/// An HTTP status that says that we may not.
const UNAUTHORIZED: u16 = 401;

/// Writes to an InfluxDB 2.
#[derive(Debug)]
pub(in crate::store) struct V2 {
    pub(in crate::store) url: String,
    pub(in crate::store) org: String,
    pub(in crate::store) bucket: String,
    pub(in crate::store) token: Token,
    pub(in crate::store) limits: Limits,
    /// Whether bodies are gzipped.
    gzip: bool,
    /// Sends bodies that are gzipped already where `gzip` says so: its requests say it too, so it serves nothing else.
    client: influxdb2::Client,
    /// The token that `client` has.
    used: Secret,
    /// Asks for what the client loses: the headers of a refusal.
    plain: reqwest011::Client,
    is_refused: std::sync::atomic::AtomicBool,
}

/// Writes to a database that takes lines at an address.
#[derive(Debug)]
pub(in crate::store) struct Plain {
    pub(in crate::store) name: &'static str,
    /// With everything but the login.
    pub(in crate::store) url: reqwest011::Url,
    pub(in crate::store) login: Option<(String, Token)>,
    /// Its requests say that they are gzipped where `gzip` says so.
    pub(in crate::store) client: reqwest011::Client,
    /// Whether bodies are gzipped.
    pub(in crate::store) gzip: bool,
    /// What to check when we are refused.
    pub(in crate::store) mend: String,
}

/// See the module.
#[derive(Debug)]
pub(in crate::store) enum Endpoint {
    V2(Box<V2>),
    Plain(Box<Plain>),
}

pub(in crate::store) const INFLUX: &str = "InfluxDB";

impl V2 {
    pub(in crate::store) fn new(
        url: &str,
        (org, bucket): (&str, &str),
        token: Token,
        limits: Limits,
        gzip: bool,
    ) -> Result<Self, StoreError> {
        let used = token.current();
        let plain = http(&limits, false).build().map_err(|e| {
            let reason = answer::chain(&e);
            StoreError::Unavailable { store: INFLUX, reason, pause_ms: 0 }
        })?;
        Ok(Self {
            client: client(url, org, &used, &limits, gzip)?,
            url: url.to_owned(),
            org: org.to_owned(),
            bucket: bucket.to_owned(),
            token,
            limits,
            gzip,
            used,
            plain,
            is_refused: false.into(),
        })
    }

    /// A client for what is not a write, with the token of now.
    pub(in crate::store) fn admin(&self) -> Result<influxdb2::Client, StoreError> {
        client(&self.url, &self.org, &self.token.current(), &self.limits, false)
    }

    async fn post(&self, body: Bytes) -> Answer {
        let (org, bucket) = (self.org.as_str(), self.bucket.as_str());
        let precision = TimestampPrecision::Milliseconds;
        let sent = self.client.write_line_protocol_with_precision(org, bucket, body, precision);
        match sent.await {
            Err(influxdb2::RequestError::Http { status, .. })
                if matches!(status.as_u16(), 429 | 503) =>
            {
                let status = status.as_u16();
                let pause_ms = self.retry_after().await;
                Answer::Busy { words: format!("{status}: too many requests"), pause_ms }
            }
            result => {
                let answer = answer::read(result);
                let is_refused = matches!(answer, Answer::Denied(UNAUTHORIZED, _));
                self.is_refused.store(is_refused, std::sync::atomic::Ordering::Relaxed);
                answer
            }
        }
    }

    /// The crate gives no headers of an answer, so one empty write asks again how long to wait: 204 where the pressure is
    /// over, the same refusal with its `Retry-After` where it is not.
    async fn retry_after(&self) -> u64 {
        let request = self
            .plain
            .post(format!("{}/api/v2/write", self.url.trim_end_matches('/')))
            .query(&[("org", &self.org), ("bucket", &self.bucket)])
            .header("Authorization", format!("Token {}", self.used.reveal()));
        match request.send().await {
            Ok(response) => pause_of(&response),
            Err(_) => 0,
        }
    }
}

impl Endpoint {
    /// Name of the database for messages.
    pub(in crate::store) fn name(&self) -> &'static str {
        match self {
            Self::V2(_) => INFLUX,
            Self::Plain(plain) => plain.name,
        }
    }

    /// Takes a token that was exchanged meanwhile.
    pub(in crate::store) fn refresh(&mut self) -> Result<(), StoreError> {
        let Self::V2(v2) = self else { return Ok(()) };
        let is_refused = std::mem::take(v2.is_refused.get_mut());
        let token = if is_refused { v2.token.reread() } else { v2.token.current() };
        if token != v2.used {
            v2.client = client(&v2.url, &v2.org, &token, &v2.limits, v2.gzip)?;
            v2.used = token;
        }
        Ok(())
    }

    /// Whether it wants its bodies gzipped.
    pub(in crate::store) fn is_gzip(&self) -> bool {
        match self {
            Self::V2(v2) => v2.gzip,
            Self::Plain(plain) => plain.gzip,
        }
    }

    /// Sends a body of lines, gzipped where [`Endpoint::is_gzip`] says so.
    pub(in crate::store) async fn post(&self, body: Bytes) -> Answer {
        match self {
            Self::V2(v2) => v2.post(body).await,
            Self::Plain(plain) => plain.post(body).await,
        }
    }

    /// What a person does about a refusal.
    pub(in crate::store) fn denied(&self, status: u16, words: &str) -> StoreError {
        match self {
            Self::V2(v2) => denied(status, words, &v2.org, &v2.bucket),
            Self::Plain(plain) => StoreError::Refused {
                store: plain.name,
                reason: format!("status {status}: {words}"),
                mend: plain.mend.clone(),
            },
        }
    }
}

impl Plain {
    async fn post(&self, body: Bytes) -> Answer {
        let mut request = self.client.post(self.url.clone()).body(body);
        if let Some((user, password)) = &self.login {
            request = request.basic_auth(user, Some(password.current().reveal()));
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return answer::busy(answer::chain(&error)),
        };
        let (status, pause) = (response.status().as_u16(), pause_of(&response));
        let text = response.text().await.unwrap_or_default();
        match answer::of_status(status, &text) {
            Answer::Busy { words, .. } => Answer::Busy { words, pause_ms: pause },
            answer => answer,
        }
    }
}

/// Reads a body that may be no longer than `most` bytes.
pub(in crate::store) async fn body_of(
    store: &'static str,
    mut response: reqwest011::Response,
    most: usize,
) -> Result<Vec<u8>, StoreError> {
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|e| {
            let reason = answer::chain(&e);
            StoreError::Unavailable { store, reason, pause_ms: 0 }
        })?;
        let Some(chunk) = chunk else { return Ok(body) };
        if body.len() + chunk.len() > most {
            let reason = format!("the answer is longer than {most} bytes: ask for a shorter range");
            return Err(StoreError::Query { reason });
        }
        body.extend_from_slice(&chunk);
    }
}

fn pause_of(response: &reqwest011::Response) -> u64 {
    let header = response.headers().get("Retry-After");
    answer::pause_ms(header.and_then(|value| value.to_str().ok()))
}

fn client(
    url: &str,
    org: &str,
    token: &Secret,
    limits: &Limits,
    gzip: bool,
) -> Result<influxdb2::Client, StoreError> {
    let builder = http(limits, gzip);
    let client = influxdb2::ClientBuilder::with_builder(builder, url, org, token.reveal()).build();
    client.map_err(|e| StoreError::Refused {
        store: INFLUX,
        reason: e.to_string(),
        mend: "check the address and the token for odd characters".to_owned(),
    })
}

/// What a person does about a refusal of InfluxDB 2.
pub(in crate::store) fn denied(status: u16, words: &str, org: &str, bucket: &str) -> StoreError {
    let mend = match status {
        401 | 403 => format!(
            "put a token that may read and write bucket {bucket:?} into the file that [store] token_file names (influx auth create --org {org:?} --read-buckets --write-buckets); it is read again at once, no restart is needed"
        ),
        404 => format!(
            "check [store] org = {org:?} and bucket = {bucket:?} (influx org list, influx bucket list); an InfluxDB 1 needs [store] kind = \"influxdb1\""
        ),
        300..=399 => "give the address that the redirect points to".to_owned(),
        _ => "check that the address is that of an InfluxDB 2".to_owned(),
    };
    StoreError::Refused { store: INFLUX, reason: format!("status {status}: {words}"), mend }
}

/// The error of a request to InfluxDB 2 that is not a write.
pub(in crate::store) fn of_request(
    error: influxdb2::RequestError,
    org: &str,
    bucket: &str,
) -> StoreError {
    let unavailable = |reason| StoreError::Unavailable { store: INFLUX, reason, pause_ms: 0 };
    match answer::read(Err(error)) {
        Answer::Denied(status, words) => denied(status, &words, org, bucket),
        Answer::Malformed(words) => denied(400, &words, org, bucket),
        Answer::Busy { words, .. } | Answer::Broken(words) => unavailable(words),
        other => unavailable(format!("{other:?}")),
    }
}

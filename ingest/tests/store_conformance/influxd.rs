//! A real InfluxDB 2 for one test.

use std::path::Path;

use ingest::secret::Secret;
use ingest::store::influx::{InfluxOptions, Token};

use crate::server::{Kind, Server};

pub(crate) const ORG: &str = "davy";
pub(crate) const TOKEN: &str = "token-of-one-test";

const KIND: Kind = Kind { name: "influxd", variable: "INFLUXD", ready: "/health", arguments };

#[derive(Debug)]
pub(crate) struct Influxd(pub(crate) Server);

impl Influxd {
    pub(crate) fn start() -> Self {
        let influxd = Self(Server::start(KIND));
        let setup = format!(
            "{{\"username\":\"davy\",\"password\":\"password-of-one-test\",\"org\":\"{ORG}\",\
             \"bucket\":\"first\",\"token\":\"{TOKEN}\",\"retentionPeriodSeconds\":0}}"
        );
        let answer = influxd.0.request("POST", "/api/v2/setup", &[], &setup).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        influxd
    }

    /// Options for a bucket of its own, created on request. Nothing is condensed by itself: tests say when.
    pub(crate) fn options(&self, bucket: &str) -> InfluxOptions {
        let cursor = self.0.folder.path().join(format!("{bucket}.cursor"));
        let token = Token::from(Secret::new(TOKEN.to_owned()));
        let options = InfluxOptions::new(&self.0.url(), ORG, bucket, token, cursor);
        let never = std::time::Duration::from_secs(100 * 365 * 86_400);
        InfluxOptions { create_bucket: true, settle: never, ..options }
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> String {
        let token = format!("Authorization: Token {TOKEN}");
        self.0.request(method, path, &[&token, "Content-Type: text/plain"], body).unwrap()
    }

    /// Writes lines past our store, ms.
    pub(crate) fn write_line(&self, bucket: &str, line: &str) {
        let path = format!("/api/v2/write?org={ORG}&bucket={bucket}&precision=ms");
        let answer = self.request("POST", &path, line);
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }
}

fn arguments(folder: &Path, port: u16) -> Vec<String> {
    let at = |name: &str| folder.join(name).display().to_string();
    let bind = format!("127.0.0.1:{port}");
    let pairs = [
        ("--bolt-path", at("bolt")),
        ("--engine-path", at("engine")),
        ("--sqlite-path", at("sqlite")),
        ("--http-bind-address", bind),
    ];
    let mut all: Vec<String> = pairs.into_iter().flat_map(|(k, v)| [k.to_owned(), v]).collect();
    all.push("--reporting-disabled".to_owned());
    all
}

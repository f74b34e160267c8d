//! The committed OpenAPI document is the one the handlers make.

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

// The console's types are made from the committed file: it must be what the service serves.
#[test]
fn committed_document_is_fresh() {
    let made = serde_json::to_string_pretty(&ingest::api::openapi()).unwrap() + "\n";
    if std::env::var_os("DAVY_REFRESH").is_some() {
        std::fs::write(PATH, &made).unwrap();
    }
    let committed = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        committed == made,
        "ingest/openapi.json is stale: run DAVY_REFRESH=1 cargo test -p ingest --test api document"
    );
}

//! The console's files, built into the program from `dashboards/dist` (in a debug build read from there).
//!
//! The folder is made by `make console`, which needs Node; without it the program builds all the same and `/` says what
//! is missing. Files under `/assets/` carry a hash in their names and never change; everything else is asked for anew.

use std::borrow::Cow;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::ApiError;

const INDEX: &str = "index.html";
const NOT_BUILT: &str = "<!doctype html><html lang=\"zh-CN\"><meta charset=\"utf-8\"><title>Davy</title>\
<h1>控制台尚未构建</h1><p>请运行 <code>make console</code>, 然后重新启动 davy-ingest。接口 /api/v1 与报警不受影响。</p>\
<h1>The console is not built</h1><p>Run <code>make console</code>, then start davy-ingest again. \
The API /api/v1 and the alarms are not affected.</p></html>";

#[derive(RustEmbed)]
#[folder = "../dashboards/dist"]
#[allow_missing = true]
struct Dist;

/// One file with its hash.
struct File {
    bytes: Cow<'static, [u8]>,
    hash: String,
}

/// Answers everything that is no route of the API.
pub(super) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if uri.path().starts_with("/api/") {
        return ApiError::not_found().into_response();
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let find = |name: &str| {
        let file = Dist::get(name)?;
        let hash = hex::encode(&file.metadata.sha256_hash()[..16]);
        Some(File { bytes: file.data, hash })
    };
    answer(uri.path(), &headers, &find)
}

fn answer(path: &str, headers: &HeaderMap, find: &dyn Fn(&str) -> Option<File>) -> Response {
    let name = path.trim_start_matches('/');
    let Some(index) = find(INDEX) else {
        let kind = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")];
        return (StatusCode::SERVICE_UNAVAILABLE, kind, NOT_BUILT).into_response();
    };
    if name.is_empty() || name == INDEX {
        return page(index);
    }
    match find(name) {
        Some(file) => asset(name, file, headers),
        // A page of the console itself; a file that is not there is not there.
        None if !name.rsplit('/').next().is_some_and(|last| last.contains('.')) => page(index),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn page(index: File) -> Response {
    let kind = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (kind, index.bytes.into_owned()).into_response()
}

fn asset(name: &str, file: File, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", file.hash);
    let is_hashed = name.starts_with("assets/");
    let keep = if is_hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
    let kind = [
        (CONTENT_TYPE, content_type(name).to_owned()),
        (CACHE_CONTROL, keep.to_owned()),
        (ETAG, tag.clone()),
    ];
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.contains(&tag)) {
        return (StatusCode::NOT_MODIFIED, kind).into_response();
    }
    (kind, file.bytes.into_owned()).into_response()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" | "webmanifest" => "application/json",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "md" | "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;

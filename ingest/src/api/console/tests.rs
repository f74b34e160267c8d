//! Which file answers which path, and how long a browser may keep it.

use super::*;

fn dist(name: &str) -> Option<File> {
    let known = ["index.html", "assets/a-1b2c.js", "badge/0.svg"];
    known.contains(&name).then(|| File { bytes: Cow::Borrowed(b"x"), hash: "h".to_owned() })
}

fn get(path: &str) -> (u16, String) {
    let response = answer(path, &HeaderMap::new(), &dist);
    let keep = response.headers().get(CACHE_CONTROL);
    let keep = keep.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    (response.status().as_u16(), keep)
}

// Hashed files are kept for ever, the page never, other files are asked for anew, deep links get the page.
#[test]
fn each_path_gets_its_file_and_its_lifetime() {
    assert_eq!(get("/"), (200, "no-store".to_owned()));
    assert_eq!(get("/sites/a"), (200, "no-store".to_owned()));
    assert_eq!(get("/assets/a-1b2c.js").1, "public, max-age=31536000, immutable");
    assert_eq!(get("/badge/0.svg").1, "no-cache");
    assert_eq!(get("/assets/gone.js").0, 404);
    assert_eq!(get("/../secret.toml").0, 404);
}

// A browser that has the file is not sent it again.
#[test]
fn known_tag_is_not_sent_again() {
    let mut headers = HeaderMap::new();
    headers.insert(IF_NONE_MATCH, "\"h\"".parse().unwrap());
    assert_eq!(answer("/badge/0.svg", &headers, &dist).status(), StatusCode::NOT_MODIFIED);
}

// Without a built console the page says in both languages how to get one.
#[tokio::test]
async fn missing_console_says_what_to_do() {
    let response = answer("/", &HeaderMap::new(), &|_| None);
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("make console") && text.contains("尚未构建"));
}

//! Signing in and out, the first run, forged and ended sessions, guessing.

use reqwest011::Method;
use reqwest011::header::SET_COOKIE;
use serde_json::json;

use crate::rig::{NOW, Options, PASSWORD, Rig};

fn first_run() -> Options {
    Options { with_users: false, ..Options::default() }
}

// The first administrator is made once, with the token of the terminal only; then the door is shut.
#[tokio::test]
async fn set_up_works_once_and_only_with_the_token() {
    let rig = Rig::with(first_run()).await;
    let before = rig.get("", "/api/v1/session").await;
    assert_eq!((before.status, before.code()), (401, "signed_out".to_owned()));
    assert_eq!(before.json()["setup_needed"], true);
    let form = |token: &str| json!({ "name": "root", "display": "管理员", "password": PASSWORD, "setup_token": token });
    for wrong in ["", "0000"] {
        let refused = rig.post("", "/api/v1/setup", form(wrong)).await;
        assert_eq!((refused.status, refused.code()), (403, "bad_setup_token".to_owned()));
    }
    let made = rig.post("", "/api/v1/setup", form(rig.setup.reveal())).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!(made.json()["user"]["role"], "administrator");
    let who = rig.get(&made.cookie(), "/api/v1/session").await;
    assert_eq!(who.json()["user"]["display"], "管理员");
    let again = rig.post("", "/api/v1/setup", form(rig.setup.reveal())).await;
    assert_eq!(again.status, 409);
    assert_eq!(rig.get("", "/api/v1/session").await.json()["setup_needed"], false);
}

// A right password opens with a cookie no script and no other site can use; a wrong one does not say what was wrong.
#[tokio::test]
async fn sign_in_sets_a_strict_cookie_and_sign_out_ends_it() {
    let rig = Rig::start().await;
    let body = |name: &str, password: &str| json!({ "name": name, "password": password });
    for (name, password) in [("duty", "wrong password"), ("nobody", PASSWORD)] {
        let refused = rig.post("", "/api/v1/session", body(name, password)).await;
        assert_eq!((refused.status, refused.code()), (401, "bad_credentials".to_owned()));
        assert_eq!(refused.json()["message"], "the name or the password is wrong");
    }
    let opened = rig.post("", "/api/v1/session", body("duty", PASSWORD)).await;
    let set = opened.headers[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(set.contains("; HttpOnly; SameSite=Strict; Max-Age="), "{set}");
    assert!(!set.contains("Secure"), "plain HTTP here");
    let cookie = opened.cookie();
    assert_eq!(rig.get(&cookie, "/api/v1/session").await.json()["user"]["name"], "duty");
    let closed = rig.send(&cookie, Method::DELETE, "/api/v1/session", None).await;
    assert_eq!(closed.status, 204);
    assert_eq!(rig.get(&cookie, "/api/v1/session").await.status, 401);
}

// Over TLS the cookie never travels in the clear, and the browser is told to stay with TLS.
#[tokio::test]
async fn cookie_is_secure_over_tls() {
    let mut options = Options::default();
    options.config.tls = true;
    let rig = Rig::with(options).await;
    let body = json!({ "name": "duty", "password": PASSWORD });
    let opened = rig.post("", "/api/v1/session", body).await;
    assert!(opened.headers[SET_COOKIE].to_str().unwrap().ends_with("; Secure"));
    assert!(opened.headers.contains_key("strict-transport-security"));
}

// Forged tokens, sessions left alone too long and sessions of disabled users are signed out.
#[tokio::test]
async fn forged_and_ended_sessions_are_refused() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("duty").await;
    let forged = [
        "davy_session=".to_owned() + &"0".repeat(64),
        "davy_session=".to_owned(),
        cookie.replace("davy_session=", "davy_session=0"),
        cookie.to_uppercase().replace("DAVY_SESSION", "davy_session"),
    ];
    for cookie in forged {
        let refused = rig.get(&cookie, "/api/v1/alarms").await;
        assert_eq!((refused.status, refused.code()), (401, "signed_out".to_owned()), "{cookie}");
    }
    let policy = ingest::account::SessionPolicy::default();
    rig.clock.pass(policy.idle_ms);
    assert_eq!(rig.get(&cookie, "/api/v1/alarms").await.status, 200);
    rig.clock.pass(policy.idle_ms + 1);
    assert_eq!(rig.get(&cookie, "/api/v1/alarms").await.status, 401, "idle");
    let cookie = rig.sign_in("duty").await;
    rig.state.disable_user("duty", "test", 0).await.unwrap();
    assert_eq!(rig.get(&cookie, "/api/v1/alarms").await.status, 401, "disabled");
}

// A session says when it ends; using it does not put that off, signing in again does. A program's key has no end.
#[tokio::test]
async fn session_says_when_it_ends() {
    let rig = Rig::start().await;
    let policy = ingest::account::SessionPolicy::default();
    let cookie = rig.sign_in("duty").await;
    let end = || async { rig.get(&cookie, "/api/v1/session/end").await.json()["ends_at"].clone() };
    assert_eq!(end().await, NOW + policy.absolute_ms);
    rig.clock.pass(3_600_000);
    assert_eq!(end().await, NOW + policy.absolute_ms);
    let again = rig.sign_in("duty").await;
    let renewed = rig.get(&again, "/api/v1/session/end").await.json();
    assert_eq!(renewed["ends_at"], NOW + 3_600_000 + policy.absolute_ms);
    // In use the whole time, so that it ends by age and not by rest.
    for _ in 0..policy.absolute_ms / policy.idle_ms {
        rig.get(&cookie, "/api/v1/session/end").await;
        rig.clock.pass(policy.idle_ms);
    }
    rig.clock.pass(policy.idle_ms);
    assert_eq!(rig.get(&cookie, "/api/v1/session/end").await.status, 401);
}

// Guessing is slowed for the name under attack; other people still get in; every refusal is in the audit journal.
#[tokio::test]
async fn guessing_is_slowed_and_written_down() {
    let mut options = Options::default();
    options.config.sign_ins_per_minute = 3;
    let rig = Rig::with(options).await;
    let guess = json!({ "name": "duty", "password": "guess guess" });
    for _ in 0..3 {
        assert_eq!(rig.post("", "/api/v1/session", guess.clone()).await.status, 401);
    }
    let limited = rig.post("", "/api/v1/session", guess.clone()).await;
    assert_eq!((limited.status, limited.code()), (429, "too_many".to_owned()));
    let wait: u64 = limited.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    let right = json!({ "name": "duty", "password": PASSWORD });
    assert_eq!(rig.post("", "/api/v1/session", right).await.status, 429, "also the right one");
    rig.sign_in("officer").await;
    let trail = rig.state.audit_rows(None, 10).await.unwrap();
    assert_eq!(trail.iter().filter(|row| row.action == "session.refused").count(), 3);
}

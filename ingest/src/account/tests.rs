//! Users, sessions and keys: what is stored is never what was given, and everything ends.

use sea_orm::{ConnectionTrait, Statement};

use super::*;
use crate::secret::Secret;
use crate::state::State;
use crate::state::tests::open;

const NOW: i64 = 1_772_000_000_000;
const POLICY: SessionPolicy = SessionPolicy { idle_ms: 1_000_000, absolute_ms: 5_000_000 };

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn new(name: &str, role: Role, site: Option<&str>) -> NewUser {
    NewUser {
        name: name.to_owned(),
        display: "显示名".to_owned(),
        role,
        site: site.map(str::to_owned),
        password: secret("correct horse"),
    }
}

async fn dump(state: &State, table: &str) -> String {
    let db = state.reader();
    let sql = format!("SELECT * FROM {table}");
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await;
    format!("{:?}", rows.unwrap())
}

// The right password opens; a wrong one, an unknown name and a disabled user get the same answer.
#[tokio::test]
async fn only_the_right_password_opens() {
    let (state, _folder) = open().await;
    state.add_user(new("li", Role::Duty, None), "root", NOW).await.unwrap();
    let user = state.check_password("li", secret("correct horse")).await.unwrap();
    assert_eq!((user.role, user.scope()), (Role::Duty, Scope::All));
    for (name, password) in [("li", "wrong horse"), ("wang", "correct horse"), ("li", "")] {
        let refused = state.check_password(name, secret(password)).await;
        assert!(matches!(refused, Err(AccountError::BadCredentials)), "{name}");
    }
    state.disable_user("li", "root", NOW).await.unwrap();
    let refused = state.check_password("li", secret("correct horse")).await;
    assert!(matches!(refused, Err(AccountError::BadCredentials)));
    state.enable_user("li", "root", NOW).await.unwrap();
    assert!(state.check_password("li", secret("correct horse")).await.is_ok());
    let unknown = state.enable_user("wang", "root", NOW).await;
    assert!(matches!(unknown, Err(AccountError::NotFound)));
}

// A session ends by idleness, by age, by signing out, by a new password; a forged token never was one.
#[tokio::test]
async fn sessions_end() {
    let (state, _folder) = open().await;
    let user = state.add_user(new("li", Role::Duty, None), "root", NOW).await.unwrap();
    let token = state.open_session(user.clone(), NOW).await.unwrap().token;
    let seen =
        async |token: &Secret, at| state.session_user(token, POLICY, at).await.unwrap().is_some();
    assert!(seen(&token, NOW + 900_000).await);
    assert!(seen(&token, NOW + 1_800_000).await, "use prolongs");
    assert!(!seen(&token, NOW + 2_800_001).await, "idle");
    assert!(!seen(&secret("f0"), NOW).await, "forged");
    for at in (1..=5).map(|n| NOW + n * 990_000) {
        assert!(seen(&token, at).await);
    }
    assert!(!seen(&token, NOW + 5_000_001).await, "too old");
    assert_eq!(state.sweep(POLICY, NOW + 5_000_001).await.unwrap(), 1);
    let second = state.open_session(user.clone(), NOW).await.unwrap().token;
    state.close_session(&second, "li", NOW).await.unwrap();
    assert!(!seen(&second, NOW).await, "signed out");
    let third = state.open_session(user, NOW).await.unwrap().token;
    state.set_password("li", secret("another horse"), "root", NOW).await.unwrap();
    assert!(!seen(&third, NOW).await, "password changed");
}

// The oldest session ends when one user opens too many.
#[tokio::test]
async fn sessions_of_one_user_are_bounded() {
    let (state, _folder) = open().await;
    let user = state.add_user(new("li", Role::Duty, None), "root", NOW).await.unwrap();
    let first = state.open_session(user.clone(), NOW).await.unwrap().token;
    for n in 1..=SESSIONS_PER_USER_MAX {
        state.open_session(user.clone(), NOW + n.cast_signed()).await.unwrap();
    }
    assert!(state.session_user(&first, POLICY, NOW).await.unwrap().is_none());
}

// No table holds a password or a token as it was given.
#[tokio::test]
async fn nothing_secret_is_stored_as_given() {
    let (state, _folder) = open().await;
    let user = state.add_user(new("li", Role::Duty, None), "root", NOW).await.unwrap();
    let token = state.open_session(user, NOW).await.unwrap().token;
    let key = NewApiKey { name: "grafana".to_owned(), role: Role::Auditor, site: None };
    let (_, key) = state.add_api_key(key, "root", NOW).await.unwrap();
    for table in ["account", "session", "api_key", "audit"] {
        let rows = dump(&state, table).await;
        for given in ["correct horse", token.reveal(), key.reveal()] {
            assert!(!rows.contains(given), "{table}");
        }
    }
}

// A key works until it is revoked; a plant key sees its own site.
#[tokio::test]
async fn keys_work_until_revoked() {
    let (state, _folder) = open().await;
    let new = NewApiKey { name: "scada".to_owned(), role: Role::Plant, site: Some("a".to_owned()) };
    let (key, token) = state.add_api_key(new, "root", NOW).await.unwrap();
    let found = state.api_key(&token).await.unwrap().unwrap();
    assert!(found.scope().allows("a") && !found.scope().allows("b"));
    state.revoke_api_key(&key.id, "root", NOW).await.unwrap();
    assert!(state.api_key(&token).await.unwrap().is_none());
}

// Set-up works once; names, passwords and roles that do not fit are refused.
#[tokio::test]
async fn setup_is_once_and_bad_users_are_refused() {
    let (state, _folder) = open().await;
    let first = state.add_first_user(new("root", Role::Plant, Some("a")), NOW).await.unwrap();
    assert_eq!((first.role, first.site), (Role::Administrator, None));
    let second = state.add_first_user(new("eve", Role::Administrator, None), NOW).await;
    assert!(matches!(second, Err(AccountError::SetupDone)));
    let taken = state.add_user(new("root", Role::Duty, None), "root", NOW).await;
    assert!(matches!(taken, Err(AccountError::NameTaken(_))));
    let short = NewUser { password: secret("123456789"), ..new("a", Role::Duty, None) };
    let named = NewUser { password: secret("li.xiaoming"), ..new("li.xiaoming", Role::Duty, None) };
    let spaced = new("a b", Role::Duty, None);
    let homeless = new("p", Role::Plant, None);
    for bad in [short, named, spaced, homeless] {
        let refused = state.add_user(bad, "root", NOW).await;
        assert!(matches!(refused, Err(AccountError::Invalid(_))), "{refused:?}");
    }
}

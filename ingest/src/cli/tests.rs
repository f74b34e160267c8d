//! The commands as typed, against a fresh database.

use clap::Parser;

use super::*;
use crate::state::tests::open;

#[derive(Debug, Parser)]
struct Typed {
    #[command(subcommand)]
    order: Order,
}

async fn call(state: &State, typed: &str, input: &str) -> Result<String, CliError> {
    let words = std::iter::once("davy-ingest").chain(typed.split(' '));
    let order = Typed::try_parse_from(words).unwrap().order;
    let mut output = Vec::new();
    let input = input.as_bytes();
    let mut desk =
        Desk { state, now_ms: 1_000, gateway_snippet: "[broker]", input, output: &mut output };
    run(order, &mut desk).await?;
    Ok(String::from_utf8(output).unwrap())
}

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/registry.example.toml");

// From an empty database to a site, a gateway with its key, users and keys; a second seed says that nothing is new.
#[tokio::test]
async fn commands_provision_a_site() {
    let (state, _folder) = open().await;
    let seeded = call(&state, &format!("seed {EXAMPLE}"), "").await.unwrap();
    assert!(seeded.contains("sites added: xgll-fesi"), "{seeded}");
    let again = call(&state, &format!("seed {EXAMPLE}"), "").await.unwrap();
    assert_eq!(again, "nothing new in this file\n");
    let added = call(&state, "gateway add xgll-gw1 --site xgll-fesi", "").await.unwrap();
    let key = added.lines().find_map(|line| line.strip_prefix("key = \"")).unwrap();
    assert_eq!(key.trim_end_matches('"').len(), 64);
    assert!(added.ends_with("[broker]\n"));
    let twice = call(&state, "gateway add xgll-gw1 --site xgll-fesi", "").await.unwrap_err();
    assert!(twice.to_string().contains("--rekey"), "{twice}");
    assert_eq!(
        call(&state, "gateway list", "").await.unwrap(),
        "xgll-gw1  xgll-fesi  provisioned\n"
    );
    call(&state, "user add li --role duty --display 李", "correct horse\r\n").await.unwrap();
    let password = Secret::new("correct horse".to_owned());
    assert!(state.check_password("li", password).await.is_ok());
    call(&state, "user password li", "another horse\n").await.unwrap();
    let password = Secret::new("another horse".to_owned());
    assert!(state.check_password("li", password).await.is_ok());
    assert_eq!(call(&state, "user list", "").await.unwrap(), "li  duty  -  李\n");
    let key = call(&state, "key add grafana --role auditor", "").await.unwrap();
    let id = key.split(' ').next().unwrap();
    call(&state, &format!("key revoke {id}"), "").await.unwrap();
    assert!(call(&state, "key list", "").await.unwrap().contains("revoked"));
    assert!(call(&state, "audit", "").await.unwrap().contains("whole"));
}

// What is wrong is said in words that help; nothing is changed then.
#[tokio::test]
async fn commands_say_what_is_wrong() {
    let (state, folder) = open().await;
    let file = folder.path().join("password");
    std::fs::write(&file, "short\nsecond line").unwrap();
    let cases = [
        (format!("user add li --role duty --password-file {}", file.display()), "at least 10"),
        ("user add li --role duty --password-file /none".to_owned(), "password from /none"),
        ("user add li --role plant --site nowhere".to_owned(), "no site \"nowhere\""),
        ("user disable li".to_owned(), "no such account"),
        ("gateway add g --site nowhere".to_owned(), "no site"),
        ("seed /none.toml".to_owned(), "/none.toml"),
    ];
    for (typed, said) in cases {
        let error = call(&state, &typed, "correct horse").await.unwrap_err();
        assert!(error.to_string().contains(said), "{typed}: {error}");
    }
    assert!(state.users().await.unwrap().is_empty());
    assert!(state.audit_rows(None, 1).await.unwrap().is_empty());
    let unknown = Typed::try_parse_from(["davy-ingest", "user", "add", "x", "--role", "king"]);
    assert!(unknown.unwrap_err().to_string().contains("is no role"));
}

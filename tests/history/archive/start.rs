//! A gateway starts whatever is the matter with Postgres, and says what it is.

use npc_stores::Postgres;

use super::{Archive, QUICK, setting, until_drained, until_state_is};
use crate::gateway::{Client, Gateway, output, scripted};

#[tokio::test]
async fn a_server_starts_without_postgres_and_drains_when_it_comes() {
    let mut archive = Archive::start().await;
    archive.postgres.stop();
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let gateway = Gateway::start(data.path(), &[QUICK.as_slice(), &[&setting]].concat());
    until_state_is(&gateway, "away");
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    client.say("lucy", "t1", "Hi").await.unwrap();
    let (_, state) = gateway.get("/readyz");
    assert_eq!(state["postgres"]["waiting"], 1);
    archive.postgres.restart();
    until_drained(&gateway);
    let client = archive.postgres.client(&archive.database).await;
    assert_eq!(super::rows(&client).await.len(), 1);
}

#[tokio::test]
async fn a_wrong_password_is_said_and_stops_no_player() {
    let postgres = Postgres::start();
    let url = postgres.url("postgres").replace("silver", "wooden");
    let data = tempfile::tempdir().unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let setting = setting(&url);
    let mut command =
        scripted(data.path(), &["engine.script_tokens_per_second=0", "log.level=error", &setting]);
    command.stderr(log.reopen().unwrap());
    let gateway = Gateway::spawn(command);
    until_state_is(&gateway, "away");
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let (_, done) = client.say("lucy", "t1", "Hi").await.unwrap();
    assert!(done["interaction"].is_string());
    assert_eq!(gateway.history_status("lucy"), 503, "what may be in Postgres cannot be told");
    gateway.stop();
    let said = std::fs::read_to_string(log.path()).unwrap();
    assert!(said.contains("password authentication failed for user"), "{said}");
    assert_eq!(said.matches("until Postgres takes it").count(), 1, "once: {said}");
    assert!(!said.contains("wooden"), "{said}");
}

#[test]
fn what_can_never_work_is_a_bad_setting() {
    let data = tempfile::tempdir().unwrap();
    let refused = |sets: &[&str]| {
        let output = output(&mut scripted(data.path(), sets));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        said
    };
    for url in [
        "mysql://user:secret@host/d",
        "postgres://user:secret@host:port/d",
        "postgres:///d",
        "host=a secret=b",
    ] {
        let said = refused(&[&setting(url)]);
        assert!(
            said.contains("history.postgres_url") && said.contains("postgres://user:password@host"),
            "{said}"
        );
        assert!(!said.contains("secret@"), "{said}");
    }
    let url = setting("postgres://user:secret@host/d?sslmode=require");
    let said = refused(&[&url, "history.postgres_ca=/nowhere/ca.pem"]);
    assert!(said.contains("setting history.postgres_ca: /nowhere/ca.pem"), "{said}");
}

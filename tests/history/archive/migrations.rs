//! `migrate`: both databases up, down and up again.

use std::path::Path;
use std::process::Command;

use super::{Archive, QUICK, until_drained, until_state_is};
use crate::gateway::{Client, Gateway, output};

/// What `migrate` prints, or its error.
fn migrate(data: &Path, words: &[&str]) -> Result<Vec<String>, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
    command.arg("migrate").arg("--data").arg(data).args(words).env("NPC_GATEWAY__LOG__LEVEL", "off");
    let output = output(command.stdout(std::process::Stdio::piped()));
    let said = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    if output.status.success() { Ok(said.lines().map(str::to_owned).collect()) } else { Err(error) }
}

/// The migrations of a folder.
fn names(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn migrations_go_up_and_down_and_up() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let sets = ["--set", &setting];
    let shown = data.path().display().to_string();
    let all: Vec<_> = names("sqlite").iter().map(|name| format!("{shown}: ran {name}")).collect();
    let all = [all, names("postgres").iter().map(|name| format!("Postgres: ran {name}")).collect()].concat();
    assert_eq!(migrate(data.path(), &sets).unwrap(), all);
    assert_eq!(
        migrate(data.path(), &sets).unwrap(),
        [format!("{shown}: up to date"), "Postgres: up to date".into()]
    );

    // A server uses what was made, and nobody migrates meanwhile.
    let gateway = Gateway::start(data.path(), &[QUICK.as_slice(), &[&setting]].concat());
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    client.say("lucy", "t1", "Hi").await.unwrap();
    until_drained(&gateway);
    let error = migrate(data.path(), &sets).unwrap_err();
    assert!(error.contains("is in use by another server"), "{error}");
    let error = migrate(data.path(), &[&["--on", "postgres"], sets.as_slice()].concat()).unwrap_err();
    assert!(error.contains("another server drains into this database"), "{error}");
    gateway.stop();

    let down = |on: &str, count: &str| {
        migrate(data.path(), &[&["--on", on, "--down", count], sets.as_slice()].concat())
    };
    assert_eq!(down("postgres", "1").unwrap().len(), 1);
    let tables = async || {
        let query = "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace ORDER BY 1";
        let rows = archive.client.query(query, &[]).await.unwrap();
        rows.iter()
            .map(|row| row.get::<_, String>(0))
            .filter(|name| !name.starts_with("__"))
            .collect::<Vec<_>>()
    };
    let left = tables().await;
    assert!(left.contains(&"npc_interactions".into()) && !left.contains(&"npcs".into()), "{left:?}");
    assert_eq!(down("postgres", "9").unwrap().len(), names("postgres").len() - 1);
    assert_eq!(tables().await, Vec::<String>::new());
    assert_eq!(down("postgres", "1").unwrap(), ["Postgres: there was nothing to take back"]);
    assert_eq!(down("journal", "9").unwrap().len(), names("sqlite").len());
    assert_eq!(migrate(data.path(), &sets).unwrap(), all, "and everything up again");

    let error = migrate(data.path(), &["--on", "postgres"]).unwrap_err();
    assert!(error.contains("setting history.postgres_url: it names no database"), "{error}");
    let error = migrate(data.path(), &["--down", "1"]).unwrap_err();
    assert!(error.contains("--on <DATABASE>"), "{error}");
}

/// From the oldest version of each table, with rows in it, to the newest.
#[tokio::test]
async fn a_database_of_the_previous_migration_opens() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let sets = [QUICK.as_slice(), &[&setting]].concat();
    let gateway = Gateway::start(data.path(), &sets);
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let (_, told) = client.say("lucy", "t1", "Hi").await.unwrap();
    until_drained(&gateway);
    gateway.stop();
    migrate(data.path(), &["--set", &setting, "--on", "postgres", "--down", "1"]).unwrap();
    let gateway = Gateway::start(data.path(), &sets);
    until_state_is(&gateway, "up");
    assert_eq!(gateway.history("lucy")[0]["id"], told["interaction"]);
    let npcs: i64 = archive.client.query_one("SELECT count(*) FROM npcs", &[]).await.unwrap().get(0);
    assert_eq!(npcs, 0);
}

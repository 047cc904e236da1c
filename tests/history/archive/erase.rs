//! Players who are erased, and NPCs that are written to files, when most of it is in Postgres.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Archive, QUICK, until_drained, until_state_is};
use crate::gateway::{Client, Gateway, output};

const SECRET: &str = "The ring lies under the third step.";

/// How many rows have this somewhere.
async fn rows_with(archive: &tokio_postgres::Client, text: &str) -> i64 {
    let query = "SELECT count(*) FROM npc_interactions i WHERE i::text LIKE '%' || $1 || '%'";
    archive.query_one(query, &[&text]).await.unwrap().get(0)
}

#[tokio::test]
async fn nothing_is_left_in_postgres_of_a_player_who_is_erased() {
    let mut archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let gateway = Gateway::start(data.path(), &[QUICK.as_slice(), &[&setting]].concat());
    let mut anna = Client::joined(&gateway.address, "anna-of-the-well", "lucy").await.unwrap();
    let mut ben = Client::joined(&gateway.address, "ben", "lucy").await.unwrap();
    for turn in 0..5 {
        anna.say("lucy", &format!("t{turn}"), SECRET).await.unwrap();
    }
    for named in ["anna-of-the-well", "mina"] {
        let say = json!({"npc": "lucy", "turn": named, "text": "All of you!", "audience": [named, "carl"]});
        ben.send("say", say).await.unwrap();
        ben.until("turn.done").await.unwrap();
        let event = json!({"npc": "lucy", "event": named, "kind": "threat", "text": "A storm.", "witnesses": [named]});
        ben.send("event", event).await.unwrap();
        ben.until("event.recorded").await.unwrap();
    }
    until_drained(&gateway);
    assert_eq!(rows_with(&archive.client, SECRET).await, 5);
    assert_eq!(rows_with(&archive.client, "anna-of-the-well").await, 5 + 2, "her own and two that name her");

    // While Postgres is away it cannot be said that it is done.
    archive.postgres.stop();
    until_state_is(&gateway, "away");
    assert_eq!(gateway.ask("DELETE", "/api/v1/players/anna-of-the-well").0, 503);
    archive.postgres.restart();
    until_state_is(&gateway, "up");
    let (status, erased) = gateway.ask("DELETE", "/api/v1/players/anna-of-the-well");
    assert_eq!(
        (status, &erased["interactions"], &erased["mentions"]),
        (200, &json!(5), &json!(2)),
        "{erased}"
    );
    let client = archive.postgres.client(&archive.database).await;
    assert_eq!(rows_with(&client, SECRET).await, 0);
    // The turn and the event that were called by her name are ben's.
    assert_eq!(rows_with(&client, "anna-of-the-well").await, 2);
    let items = gateway.history("lucy");
    assert_eq!(items.len(), 4);
    let audiences: Vec<_> =
        items.iter().filter(|item| item["kind"] == "dialogue").map(|item| &item["audience"]).collect();
    assert_eq!(audiences, [&json!(["mina", "carl"]), &json!(["carl"])]);

    // The same name is somebody new, and so are its turns.
    let mut anna = Client::joined(&gateway.address, "anna-of-the-well", "lucy").await.unwrap();
    let (seen, _) = anna.say("lucy", "t0", "Who are you?").await.unwrap();
    assert_eq!(seen.get("turn.started"), Some(&1));
    until_drained(&gateway);
    assert_eq!(super::rows(&client).await.len(), 5);
}

#[tokio::test]
async fn an_npc_is_exported_from_both_and_restored() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let sets = [QUICK.as_slice(), &[&setting]].concat();
    let gateway = Gateway::start(data.path(), &sets);
    let mut anna = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let mut told = Vec::new();
    for turn in 0..20 {
        told.push(anna.say("lucy", &format!("t{turn}"), "And then?").await.unwrap().1);
    }
    until_drained(&gateway);
    // Some more that may be anywhere.
    for turn in 20..40 {
        told.push(anna.say("lucy", &format!("t{turn}"), "And then?").await.unwrap().1);
    }
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
        command.args(words).stdout(Stdio::piped());
        let output = output(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let folder = data.path().to_str().unwrap();
    let file = run(&["export", "lucy", "--data", folder, "--set", &setting]);
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = lines[1..lines.len() - 1].iter().map(|line| &line["id"]).collect();
    let expected: Vec<_> = told.iter().map(|done| &done["interaction"]).collect();
    assert_eq!(ids, expected, "each once, in order");
    gateway.stop();

    // Restored where it is already, nothing comes twice; elsewhere all of it is there.
    let path = data.path().join("lucy.jsonl");
    std::fs::write(&path, &file).unwrap();
    run(&["restore", path.to_str().unwrap(), "--data", folder, "--set", &setting]);
    let fresh = tempfile::tempdir().unwrap();
    run(&["restore", path.to_str().unwrap(), "--data", fresh.path().to_str().unwrap()]);
    let gateway = Gateway::start(data.path(), &sets);
    until_drained(&gateway);
    assert_eq!(archive.rows().await.len(), 40);
    let embedded = Gateway::start(fresh.path(), &QUICK);
    assert_eq!(embedded.history("lucy"), gateway.history("lucy"));
}

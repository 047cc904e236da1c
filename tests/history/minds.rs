//! What becomes of an NPC is there after a restart, and knows nothing of players who were erased.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::{Client, Gateway, output};

const QUICK: [&str; 2] = ["engine.script_tokens_per_second=0", "log.level=error"];

/// What somebody who joins the NPC is told.
async fn met(gateway: &Gateway, player: &str) -> Value {
    let mut client = Client::identified(&gateway.address, player).await.unwrap();
    client.send("npc.join", json!({"npc": "lucy", "archetype": "vampire"})).await.unwrap();
    client.until("npc.joined").await.unwrap()
}

async fn happens(gateway: &Gateway, player: &str, event: &str, kind: &str, text: &str) {
    let mut client = Client::identified(&gateway.address, player).await.unwrap();
    let event = json!({"npc": "lucy", "event": event, "kind": kind, "text": text, "importance": 1.0});
    client.send("event", event).await.unwrap();
    client.until("event.recorded").await.unwrap();
}

fn ids(goals: &Value) -> Vec<&str> {
    goals.as_array().unwrap().iter().map(|goal| goal["id"].as_str().unwrap()).collect()
}

/// The axes of two relationships are alike, but for what a minute takes away.
fn alike(one: &Value, other: &Value) -> bool {
    let near = |axis: &str| (one[axis].as_f64().unwrap() - other[axis].as_f64().unwrap()).abs() < 0.005;
    ["trust", "respect", "familiarity", "fear", "affection"].into_iter().all(near)
}

#[tokio::test]
async fn what_becomes_of_an_npc_is_there_after_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(data.path(), &QUICK);
    let born = met(&gateway, "anna").await;
    assert_eq!(born["npc"]["personality"].as_object().unwrap().len(), 50);
    assert_eq!(ids(&born["npc"]["goals"]), ["feed", "charm", "secret"]);
    happens(&gateway, "anna", "e1", "injury", "A blade cut her left cheek.").await;
    // Told once more, it does not happen once more.
    happens(&gateway, "anna", "e1", "injury", "A blade cut her left cheek.").await;
    happens(&gateway, "ben", "e1", "gift", "A ruby.").await;
    let hurt = met(&gateway, "anna").await;
    // At once: an event has done what it does before it is told.
    gateway.kill();
    let gateway = Gateway::start(data.path(), &QUICK);
    let anna = met(&gateway, "anna").await;
    for (key, part) in anna["npc"].as_object().unwrap().iter().filter(|(key, _)| *key != "goals") {
        assert_eq!(*part, hurt["npc"][key]);
    }
    assert_eq!(ids(&anna["npc"]["goals"]), ids(&hurt["npc"]["goals"]));
    assert_eq!(ids(&anna["npc"]["goals"])[0], "revenge");
    assert!(alike(&anna["relationship"], &hurt["relationship"]));
    let scars = |joined: &Value| joined["npc"]["body"]["scars"].as_array().unwrap().clone();
    let new: Vec<_> = scars(&anna).into_iter().filter(|scar| !scars(&born).contains(scar)).collect();
    assert_eq!(new.len(), 1);
    assert_eq!((&new[0]["place"], &new[0]["side"]), (&json!("cheek"), &json!("left")));
    let of = |joined: &Value, name: &str| joined["npc"]["personality"][name].as_f64().unwrap();
    assert!(of(&anna, "neo_anger") > of(&born, "neo_anger"), "it has grown");
    let axis = |joined: &Value, name: &str| joined["relationship"][name].as_f64().unwrap();
    let (ben, stranger) = (met(&gateway, "ben").await, met(&gateway, "mina").await);
    assert!(
        axis(&anna, "trust") < axis(&stranger, "trust") - 0.3
            && axis(&anna, "fear") > axis(&stranger, "fear")
    );
    assert!(axis(&ben, "affection") > axis(&stranger, "affection") + 0.3);
    let shown = gateway.get("/api/v1/npcs/lucy").1;
    assert_eq!((&shown["npc"]["body"], &shown["relationship"]), (&anna["npc"]["body"], &Value::Null));

    // Not in memory, and killed at once again.
    gateway.kill();
    let gateway = Gateway::start(data.path(), &QUICK);
    happens(&gateway, "ben", "e2", "threat", "He draws a stake.").await;
    gateway.kill();
    let gateway = Gateway::start(data.path(), &QUICK);
    assert!(axis(&met(&gateway, "ben").await, "trust") < axis(&ben, "trust") - 0.3);
}

/// Everything that is stored of the NPC.
fn export(data: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
    // Where there are no packs beside those that are built in.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.args(["export", "lucy", "--data"]).arg(data).stdout(std::process::Stdio::piped());
    let output = output(&mut command);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn an_npc_knows_nobody_who_was_erased() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(data.path(), &QUICK);
    let stranger = met(&gateway, "mina").await;
    happens(&gateway, "anna-of-the-well", "e1", "gift", "A ring of hers.").await;
    let friend = met(&gateway, "anna-of-the-well").await;
    assert!(!alike(&friend["relationship"], &stranger["relationship"]));
    assert!(export(data.path()).contains("anna-of-the-well"));
    let (status, erased) = gateway.ask("DELETE", "/api/v1/players/anna-of-the-well");
    assert_eq!((status, &erased["npcs"]), (200, &json!(1)), "{erased}");
    assert!(!export(data.path()).contains("anna-of-the-well"));
    let again = met(&gateway, "anna-of-the-well").await;
    assert!(alike(&again["relationship"], &met(&gateway, "mina").await["relationship"]));
    assert_eq!(
        again["npc"]["personality"], friend["npc"]["personality"],
        "what the gift has made of it stays"
    );
    gateway.stop();
    assert!(!export(data.path()).contains("anna-of-the-well"));
}

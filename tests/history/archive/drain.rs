//! What players are told moves into Postgres, once, and can be read from there.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Archive, QUICK, text, until_drained};
use crate::gateway::{Client, Gateway};

#[tokio::test]
async fn what_was_said_moves_and_is_read_as_before() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let sets = [QUICK.as_slice(), &[&setting]].concat();
    let gateway = Gateway::start(data.path(), &sets);
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let mut told = Vec::new();
    for turn in 0..120 {
        let (_, done) = client.say("lucy", &format!("t{turn}"), "Who are you?").await.unwrap();
        told.push(done);
    }
    until_drained(&gateway);
    let rows = archive.rows().await;
    assert_eq!(rows.len(), told.len());
    for done in &told {
        let row = rows.iter().find(|row| row.turn == text(done, "turn")).unwrap();
        assert_eq!(
            (row.id.to_string().as_str(), row.said.as_str()),
            (text(done, "interaction"), text(done, "text"))
        );
        assert_eq!((row.npc.as_str(), row.player.as_str(), row.heard), ("lucy", "anna", None));
    }
    let months = "SELECT count(*) FROM npc_interactions_default";
    let left_over: i64 = archive.client.query_one(months, &[]).await.unwrap().get(0);
    assert_eq!(left_over, 0, "there is a partition for this month");

    // Nothing is left in the journal, and everything is in the history.
    let items = gateway.history("lucy");
    let ids: Vec<_> = items.iter().rev().map(|item| &item["id"]).collect();
    let told_ids: Vec<_> = told.iter().map(|done| &done["interaction"]).collect();
    assert_eq!(ids, told_ids);
    assert_eq!((&items[0]["archetype"], &items[0]["kind"]), (&json!("vampire"), &json!("dialogue")));

    // A repeat is answered with what was stored, also after a restart.
    let again = async |client: &mut Client| {
        let (seen, again) = client.say("lucy", "t0", "Something else.").await.unwrap();
        assert_eq!((seen, &again), (BTreeMap::from([("turn.done".to_owned(), 1)]), &told[0]));
    };
    again(&mut client).await;
    gateway.stop();
    let gateway = Gateway::start(data.path(), &sets);
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    again(&mut client).await;
    assert_eq!(archive.rows().await.len(), told.len());
}

#[tokio::test]
async fn what_was_heard_later_reaches_postgres_too() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let gateway = Gateway::start(data.path(), &[QUICK.as_slice(), &[&setting]].concat());
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let (_, done) = client.say("lucy", "t1", "Who are you?").await.unwrap();
    until_drained(&gateway);
    let heard = |chars: usize| text(&done, "text").chars().take(chars).collect::<String>();
    client.send("playback", json!({"turn": "t1", "heard_offset": 3})).await.unwrap();
    client.send("playback", json!({"turn": "t1", "heard_offset": 6})).await.unwrap();
    // At once for those who read, whatever Postgres has.
    gateway.until(|gateway| {
        let item = gateway.history("lucy")[0].clone();
        if item["heard"] == heard(6) && item["said"] == done["text"] { Ok(()) } else { Err(item) }
    });
    super::until_rows(&archive.client, |rows| rows[0].heard == Some(6)).await;
    client.send("cancel", json!({"turn": "t1", "heard_offset": 4})).await.unwrap();
    client.until("turn.cancelled").await.unwrap();
    super::until_rows(&archive.client, |rows| rows[0].said == heard(4) && rows[0].heard.is_none()).await;
    assert_eq!(archive.rows().await.len(), 1);
}

#[tokio::test]
async fn a_journal_that_is_full_is_emptied_and_takes_lines_again() {
    let mut archive = Archive::start().await;
    archive.postgres.stop();
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let gateway = Gateway::start(data.path(), &[QUICK.as_slice(), &[&setting, "history.max_mb=1"]].concat());
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let long = "why ".repeat(490);
    let mut told = 0;
    loop {
        let turn = format!("t{told}");
        client.send("say", json!({"npc": "lucy", "turn": turn, "text": long})).await.unwrap();
        let done = loop {
            match client.next().await.unwrap() {
                (op, payload) if op == "turn.done" => break payload,
                _ => {}
            }
        };
        if done["reason"] == "error" {
            break;
        }
        told += 1;
        assert!(told < 2000, "it does not fill");
    }
    archive.postgres.restart();
    until_drained(&gateway);
    gateway.until(|gateway| match gateway.get("/readyz") {
        (200, _) => Ok(()),
        (_, state) => Err(state),
    });
    let (_, done) = client.say("lucy", "after", "Hi").await.unwrap();
    assert!(done["interaction"].is_string(), "{done}");
    until_drained(&gateway);
    let client = archive.postgres.client(&archive.database).await;
    assert_eq!(super::rows(&client).await.len(), told + 1);
}

#[tokio::test]
async fn npcs_are_in_postgres_as_they_are() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let gateway = Gateway::start(data.path(), &[QUICK.as_slice(), &[&setting]].concat());
    let mut client = Client::identified(&gateway.address, "anna").await.unwrap();
    let seed = u64::MAX;
    let lucy = json!({"npc": "lucy", "archetype": "lich", "seed": seed, "personality": {"neo_anger": 0.5, "dark_sadism": -0.25}});
    let mut told = Vec::new();
    for join in [lucy, json!({"npc": "mina", "archetype": "ghoul"})] {
        client.send("npc.join", join).await.unwrap();
        told.push(client.until("npc.joined").await.unwrap()["npc"].clone());
    }
    let gift = json!({"npc": "lucy", "event": "e", "kind": "gift", "text": "A book.", "importance": 1.0});
    client.send("event", gift).await.unwrap();
    client.until("event.recorded").await.unwrap();
    let query = "SELECT archetype, personality_vector, meta_data ->> 'seed', meta_data ->> 'body', goal_stack::text, \
                 relationships ->> 'anna', stats ->> 'gift' FROM npcs ORDER BY id";
    let start = std::time::Instant::now();
    let rows = loop {
        // First the tables have to be made.
        let rows = archive.client.query(query, &[]).await;
        match rows {
            Ok(rows) if rows.len() == 2 && rows[0].get::<_, Option<String>>(6).is_some() => break rows,
            rows => assert!(start.elapsed().as_secs() < 60, "{rows:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let parsed = |row: usize, column: usize| {
        let text = rows[row].get::<_, Option<String>>(column).unwrap_or_default();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    assert_eq!(rows[0].get::<_, String>(0), "lich");
    let vector = rows[0].get::<_, Vec<f32>>(1);
    // By the names of the traits, those of the dark tetrad first, cruelty last of these.
    assert_eq!((vector.len(), vector[3]), (50, -0.25));
    assert_eq!(rows[0].get::<_, String>(2), seed.to_string());
    assert_eq!(parsed(0, 3), told[0]["body"]);
    assert_eq!(parsed(0, 4).as_array().unwrap().len(), 4);
    assert!(parsed(0, 5)["affection"].as_f64().unwrap() > 0.1);
    assert_eq!(rows[0].get::<_, String>(6), "1");
    assert_eq!((rows[1].get::<_, String>(0).as_str(), rows[1].get::<_, Vec<f32>>(1).len()), ("ghoul", 50));
}

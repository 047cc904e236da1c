//! SIGKILL under load, again and again: what a client was told is over is stored, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::archive::{Archive, text, until_drained};
use crate::gateway::{Client, Gateway, scripted};

const CLIENTS: usize = 12;
const SETS: [&str; 3] = ["log.level=error", "engine.script_tokens_per_second=2000", "turn.max_tokens=24"];

/// More of them: `NPC_GATEWAY_TEST_KILLS=100`.
fn rounds() -> usize {
    std::env::var("NPC_GATEWAY_TEST_KILLS").map_or(6, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Talks until the gateway is gone; returns every `turn.done` that came.
async fn talk(address: String, client: usize, round: usize, ended: Arc<AtomicUsize>) -> Vec<Value> {
    let (player, npc) = (format!("player{client}"), format!("npc{}", client / 2));
    let mut told = Vec::new();
    let Ok(mut socket) = Client::joined(&address, &player, &npc).await else { return told };
    for turn in 0.. {
        let turn = format!("r{round}-{turn}");
        let Ok((_, done)) = socket.say(&npc, &turn, "What of the night?").await else { break };
        assert!(done["reason"] == "stop" || done["reason"] == "length", "{done}");
        told.push(done);
        ended.fetch_add(1, Ordering::Relaxed);
    }
    told
}

/// Kills a gateway again and again while clients talk to it; returns what they were told.
async fn kills(data: &Path, sets: &[&str]) -> Vec<Value> {
    kill_each(|| Gateway::start(data, sets), || {}).await
}

/// The same with gateways of the caller's; `after` each kill.
async fn kill_each(start: impl Fn() -> Gateway, mut after: impl FnMut()) -> Vec<Value> {
    let mut told: Vec<Value> = Vec::new();
    for round in 0..rounds() {
        let gateway = start();
        let ended = Arc::new(AtomicUsize::new(0));
        let talks: Vec<_> = (0..CLIENTS)
            .map(|client| tokio::spawn(talk(gateway.address.clone(), client, round, Arc::clone(&ended))))
            .collect();
        // In the midst of it, at another moment every time.
        while ended.load(Ordering::Relaxed) < CLIENTS * 4 + round * 7 % 40 {
            assert!(!talks.iter().all(JoinHandle::is_finished), "nobody talks any more");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        gateway.kill();
        for talk in talks {
            told.extend(talk.await.unwrap());
        }
        after();
    }
    assert!(told.len() >= rounds() * CLIENTS, "{}", told.len());
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_player_was_told_is_lost_or_doubled() {
    let data = tempfile::tempdir().unwrap();
    let told = kills(data.path(), &SETS).await;
    let gateway = Gateway::start(data.path(), &SETS);
    known_once(&gateway, &told).await;
}

/// The same on a disk that loses every write that was not synced when the power goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_power_goes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let told = power_cuts(&data, &SETS).await;
    let gateway = Gateway::start(&data, &SETS);
    known_once(&gateway, &told).await;
}

/// Cuts the power of a gateway again and again while clients talk to it; returns what they were told.
async fn power_cuts(data: &Path, sets: &[&str]) -> Vec<Value> {
    let undo = data.with_file_name("undo");
    for folder in [data, &undo] {
        std::fs::create_dir(folder).unwrap();
    }
    let start = || {
        let mut command = scripted(data, sets);
        command.env("LD_PRELOAD", npc_stores::disk::library());
        command.env("NPC_UNSYNCED_DATA", data).env("NPC_UNSYNCED_UNDO", &undo);
        Gateway::spawn(command)
    };
    let mut dropped = 0;
    let after = || {
        let undone = npc_stores::disk::undo(data, &undo);
        // The journal's log at the least. How much of it waits for a sync when the power goes is chance.
        assert!(undone.watched > 0, "the layer saw no file");
        dropped += undone.dropped;
    };
    let told = kill_each(start, after).await;
    println!("{} power cuts, {} turns told, {dropped} bytes dropped", rounds(), told.len());
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_in_postgres_once_wherever_the_drain_was_killed() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let sets = [SETS.as_slice(), &[&setting]].concat();
    let told = kills(data.path(), &sets).await;
    archived_once(&archive, &Gateway::start(data.path(), &sets), &told).await;
}

/// The drain forgets what Postgres has; a journal that remembers it again must not bring it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_in_postgres_once_when_the_power_goes() {
    let archive = Archive::start().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let setting = archive.setting();
    let sets = [SETS.as_slice(), &[&setting]].concat();
    let told = power_cuts(&data, &sets).await;
    archived_once(&archive, &Gateway::start(&data, &sets), &told).await;
}

/// What was told is in Postgres, once, and nothing else is there twice.
async fn archived_once(archive: &Archive, gateway: &Gateway, told: &[Value]) {
    until_drained(gateway);
    let rows = archive.rows().await;
    let ids: BTreeMap<_, _> = rows.iter().map(|row| (row.id.to_string(), row)).collect();
    let turns: BTreeSet<_> = rows.iter().map(|row| (&row.npc, &row.player, &row.turn)).collect();
    assert_eq!((ids.len(), turns.len()), (rows.len(), rows.len()), "something is there twice");
    for done in told {
        let id = done["interaction"].as_str().unwrap_or_else(|| panic!("{done}"));
        let row = ids.get(id).unwrap_or_else(|| panic!("lost: {done}"));
        assert_eq!((row.turn.as_str(), row.said.as_str()), (text(done, "turn"), text(done, "text")));
    }
    println!("{} rounds, {} turns told, {} in Postgres", rounds(), told.len(), rows.len());
    known_once(gateway, told).await;
}

/// What was told is in the history, once, and its turns are known.
async fn known_once(gateway: &Gateway, told: &[Value]) {
    let mut stored: BTreeMap<String, Value> = BTreeMap::new();
    let mut turns = BTreeSet::new();
    for npc in 0..CLIENTS.div_ceil(2) {
        for item in gateway.history(&format!("npc{npc}")) {
            let text = |key: &str| item[key].as_str().unwrap().to_owned();
            assert!(turns.insert((text("npc"), text("player"), text("turn"))), "twice: {item}");
            assert!(stored.insert(text("id"), item).is_none(), "an id twice");
        }
    }
    for done in told {
        let id = done["interaction"].as_str().unwrap_or_else(|| panic!("{done}"));
        let item = stored.get(id).unwrap_or_else(|| panic!("lost: {done}"));
        assert_eq!((&item["turn"], &item["player"]), (&done["turn"], &done["player"]));
        assert_eq!((&item["said"], &item["heard"]), (&done["text"], &done["text"]));
    }
    println!("{} kills, {} turns told, {} stored", rounds(), told.len(), stored.len());

    // The ids that were used are known after every restart, and nothing runs again.
    let done = told.first().unwrap();
    let text = |key: &str| done[key].as_str().unwrap().to_owned();
    let mut client = Client::joined(&gateway.address, &text("player"), &text("npc")).await.unwrap();
    for _ in 0..2 {
        let (seen, again) = client.say(&text("npc"), &text("turn"), "Something else.").await.unwrap();
        assert_eq!(&again, done);
        assert_eq!(seen, BTreeMap::from([("turn.done".to_owned(), 1)]));
    }
}

//! What NPCs remember, in Redis: it stops, hangs and forgets while players talk, and nobody notices.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use npc_stores::Redis;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::gateway::{Client, Gateway};

const CLIENTS: usize = 8;
/// Lines of all clients in one state of Redis.
const LINES: usize = CLIENTS * 10;

fn sets(redis: &Redis) -> Vec<String> {
    let fixed = [
        "log.level=error",
        "engine.script_tokens_per_second=2000",
        "turn.max_tokens=24",
        "turn.window_min=1",
        "turn.window_max=1",
        // A busy machine may hold up a Redis that is well.
        "history.redis_timeout_ms=1000",
    ];
    fixed.iter().map(|&set| set.to_owned()).chain([format!("history.redis_url={}", redis.url())]).collect()
}

fn start(data: &std::path::Path, redis: &Redis) -> Gateway {
    let sets = sets(redis);
    Gateway::start(data, &sets.iter().map(String::as_str).collect::<Vec<_>>())
}

fn until_redis_is(gateway: &Gateway, state: &str) {
    gateway.until(|gateway| {
        let (status, body) = gateway.get("/readyz");
        assert_eq!(status, 200, "Redis does not keep it from being ready: {body}");
        if body["redis"]["state"] == state { Ok(()) } else { Err(body) }
    });
}

/// Talks until it is enough; an error fails the test.
async fn talk(
    address: String,
    client: usize,
    enough: Arc<AtomicBool>,
    ended: Arc<AtomicUsize>,
) -> Vec<Value> {
    let (player, npc) = (format!("player{client}"), format!("npc{}", client / 2));
    let mut socket = Client::joined(&address, &player, &npc).await.unwrap();
    let mut told = Vec::new();
    for turn in 0.. {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let (seen, done) = socket.say(&npc, &format!("t{turn}"), "What of the night?").await.unwrap();
        assert!(!seen.contains_key("error") && done["interaction"].is_string(), "{done}");
        told.push(done);
        ended.fetch_add(1, Ordering::Relaxed);
    }
    told
}

/// Waits until so many more lines have ended.
async fn talked(ended: &AtomicUsize, talks: &[JoinHandle<Vec<Value>>]) {
    let before = ended.load(Ordering::Relaxed);
    while ended.load(Ordering::Relaxed) < before + LINES {
        assert!(!talks.iter().any(JoinHandle::is_finished), "somebody saw an error");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_stop_hang_and_come_back_under_load() {
    let mut redis = Redis::start();
    let data = tempfile::tempdir().unwrap();
    let gateway = start(data.path(), &redis);
    until_redis_is(&gateway, "up");
    let (enough, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let talks: Vec<_> = (0..CLIENTS)
        .map(|client| {
            tokio::spawn(talk(gateway.address.clone(), client, Arc::clone(&enough), Arc::clone(&ended)))
        })
        .collect();
    talked(&ended, &talks).await;
    assert!(redis.keys() > 0);
    redis.stop();
    talked(&ended, &talks).await;
    until_redis_is(&gateway, "down");
    redis.restart();
    until_redis_is(&gateway, "up");
    talked(&ended, &talks).await;
    redis.freeze();
    until_redis_is(&gateway, "down");
    talked(&ended, &talks).await;
    redis.thaw();
    until_redis_is(&gateway, "up");
    talked(&ended, &talks).await;
    enough.store(true, Ordering::Relaxed);
    let mut told = BTreeSet::new();
    for talk in talks {
        told.extend(talk.await.unwrap().iter().map(|done| done["interaction"].as_str().unwrap().to_owned()));
    }
    let npcs = (0..CLIENTS / 2).flat_map(|npc| gateway.history(&format!("npc{npc}")));
    let stored: BTreeSet<_> = npcs.map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(stored, told, "everything is stored, whatever became of Redis");
}

/// Ids of what the NPC remembered for its last line.
fn recalled(gateway: &Gateway, npc: &str) -> Value {
    gateway.history(npc)[0]["recalled"].clone()
}

#[tokio::test]
async fn a_redis_that_forgot_is_filled_again() {
    let redis = Redis::start();
    let data = tempfile::tempdir().unwrap();
    let gateway = start(data.path(), &redis);
    until_redis_is(&gateway, "up");
    let mut anna = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let (_, lost) = anna.say("lucy", "t1", "I lost my silver ring by the well.").await.unwrap();
    anna.say("lucy", "t2", "Nice evening.").await.unwrap();
    assert_eq!(recalled(&gateway, "lucy"), json!([]));
    redis.command(&["FLUSHALL"]);
    anna.say("lucy", "t3", "Where is my ring?").await.unwrap();
    assert_eq!(recalled(&gateway, "lucy"), json!([lost["interaction"]]), "from memory");
    let mut ben = Client::joined(&gateway.address, "ben", "lucy").await.unwrap();
    ben.say("lucy", "t1", "Where is her silver ring?").await.unwrap();
    assert_eq!(recalled(&gateway, "lucy"), json!([]), "it is not his to hear of");
    gateway.stop();

    redis.command(&["FLUSHALL"]);
    let gateway = start(data.path(), &redis);
    until_redis_is(&gateway, "up");
    let mut anna = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    // Fetched from the journal in the background, and put into Redis.
    gateway.until(|_| if redis.keys() > 0 { Ok(()) } else { Err(json!("Redis is empty")) });
    anna.say("lucy", "t4", "Nice evening.").await.unwrap();
    anna.say("lucy", "t5", "Did I lose something silver by the well?").await.unwrap();
    let recalled = recalled(&gateway, "lucy");
    assert!(recalled.as_array().unwrap().contains(&lost["interaction"]), "{recalled}");
}

#[tokio::test]
async fn a_player_is_erased_from_redis_too() {
    let mut redis = Redis::start();
    let data = tempfile::tempdir().unwrap();
    let gateway = start(data.path(), &redis);
    until_redis_is(&gateway, "up");
    let mut anna = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let mut ben = Client::joined(&gateway.address, "ben", "lucy").await.unwrap();
    anna.say("lucy", "t1", "I lost my silver ring by the well.").await.unwrap();
    let told = json!({"npc": "lucy", "turn": "t1", "text": "The ring is gone.", "audience": ["anna"]});
    ben.send("say", told).await.unwrap();
    let told = ben.until("turn.done").await.unwrap();
    let keys = |pattern: &str| redis.command(&["KEYS", pattern]).lines().skip(1).step_by(2).count();
    gateway.until(|_| if keys("*anna*") > 0 && keys("*ben*") > 0 { Ok(()) } else { Err(json!("not yet")) });
    let (status, erased) = gateway.ask("DELETE", "/api/v1/players/anna");
    assert_eq!(
        (status, &erased["interactions"], &erased["mentions"]),
        (200, &json!(1), &json!(1)),
        "{erased}"
    );
    assert_eq!(keys("*anna*"), 0);
    // What ben said in front of her is his still.
    assert!(gateway.history("lucy").iter().any(|item| item["id"] == told["interaction"]));

    redis.stop();
    until_redis_is(&gateway, "down");
    let (status, refused) = gateway.ask("DELETE", "/api/v1/players/ben");
    assert_eq!(status, 503, "it is not done everywhere: {refused}");
    redis.restart();
    until_redis_is(&gateway, "up");
    assert_eq!(gateway.ask("DELETE", "/api/v1/players/ben").0, 200);
}

#[test]
fn settings_of_redis_are_checked_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let refused = |sets: &[&str]| {
        let output = crate::gateway::output(&mut crate::gateway::scripted(data.path(), sets));
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused(&["history.redis_url=http://anna:secret@host"]);
    assert!(said.contains("history.redis_url") && said.contains("rediss://"), "{said}");
    assert!(!said.contains("secret"), "a password is not shown: {said}");
    let said = refused(&["history.redis_url=rediss://localhost/#insecure"]);
    assert!(said.contains("history.redis_url"), "{said}");
    let said = refused(&["history.redis_url=rediss://localhost", "history.redis_ca=/nowhere/ca.pem"]);
    assert!(said.contains("history.redis_ca") && said.contains("/nowhere/ca.pem"), "{said}");
    let said = refused(&["history.redis_url=redis://localhost", "history.redis_ca=/nowhere/ca.pem"]);
    assert!(said.contains("history.redis_ca"), "{said}");
}

//! Two players with one NPC: one speaks and cancels, one speaks and leaves, one loses the connection and comes back, in
//! every order. Whatever the order, both are told how their lines ended, once, and the history has the same.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::{Client, Encoding};
use crate::server::TestServer;

const LINE: &str = "The night is long, and I have all the time in the world.";
const HEARD: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    AnnaSays,
    AnnaCancels,
    /// Anna's socket is lost, and she comes back.
    AnnaResumes,
    BenSays,
    BenLeaves,
}

use Step::{AnnaCancels, AnnaResumes, AnnaSays, BenLeaves, BenSays};

/// Every order in which a cancel comes behind its line.
fn orders() -> Vec<Vec<Step>> {
    let mut orders = vec![Vec::new()];
    for step in [AnnaSays, AnnaCancels, AnnaResumes, BenSays, BenLeaves] {
        orders = orders
            .iter()
            .flat_map(|order: &Vec<Step>| {
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, step);
                    longer
                })
            })
            .collect();
    }
    let place = |order: &[Step], step| order.iter().position(|other| *other == step);
    orders.retain(|order| place(order, AnnaSays) < place(order, AnnaCancels));
    orders
}

fn say(npc: &str, turn: &str, other: &str) -> Value {
    json!({"op": "say", "d": {"npc": npc, "turn": turn, "text": "Tell me.", "audience": [other]}})
}

/// A player's frames, also those that came again on another socket.
struct Player {
    client: Client,
    frames: Vec<Value>,
}

impl Player {
    /// Reads until a turn of this id has ended.
    async fn until_done(&mut self, turn: &str) -> Value {
        let ended = |frame: &Value| frame["op"] == "turn.done" && frame["d"]["turn"] == turn;
        loop {
            if let Some(done) = self.frames.iter().find(|frame| ended(frame)) {
                return done["d"].clone();
            }
            let frame = self.client.recv().await;
            self.frames.push(frame);
        }
    }

    fn of_turn(&self, turn: &str) -> Vec<&Value> {
        self.frames.iter().filter(|frame| frame["d"]["turn"] == turn).collect()
    }
}

/// What a player was told of one turn: from its beginning, in order, and to one end at most.
fn check(frames: &[&Value], what: &str) {
    let Some((first, rest)) = frames.split_first() else { return };
    assert_eq!(first["op"], "turn.started", "{what}: {frames:?}");
    let mut offset = 0;
    for frame in rest {
        if frame["op"] == "dialogue.delta" {
            assert_eq!(frame["d"]["offset"], offset, "{what}: {frames:?}");
            offset += frame["d"]["text"].as_str().unwrap().chars().count();
        }
    }
    let ends = rest.iter().filter(|frame| frame["op"] == "turn.done").count();
    assert!(ends <= 1, "{what}: {frames:?}");
    if ends == 1 {
        let late = rest.iter().position(|frame| frame["op"] == "turn.done").unwrap();
        // Behind the end a late cancel alone, and the face's way to neutral.
        let behind = rest[late + 1..].iter().map(|frame| frame["op"].as_str().unwrap());
        assert!(behind.clone().all(|op| matches!(op, "turn.cancelled" | "face.key")), "{what}: {frames:?}");
    }
}

async fn play(server: &TestServer, number: usize, order: &[Step]) {
    let npc = format!("npc{number}");
    let what = format!("{order:?}");
    let (a, b) = (format!("anna{number}"), format!("ben{number}"));
    let mut anna = Player { client: server.joined(Encoding::Json, &a, &npc).await, frames: Vec::new() };
    let mut ben = Player { client: server.joined(Encoding::Msgpack, &b, &npc).await, frames: Vec::new() };
    let mut ticket = anna.client.ticket();
    let mut ben_is_there = true;
    let mut ben_has_spoken = false;
    for step in order {
        match step {
            AnnaSays => anna.client.send(&say(&npc, "a", &b)).await,
            AnnaCancels => {
                // Something of it is there.
                while !anna
                    .frames
                    .iter()
                    .any(|frame| frame["op"] == "dialogue.delta" && frame["d"]["turn"] == "a")
                {
                    let frame = anna.client.recv().await;
                    anna.frames.push(frame);
                }
                let cancel = json!({"op": "cancel", "d": {"turn": "a", "heard_offset": HEARD}});
                anna.client.send(&cancel).await;
            }
            AnnaResumes => {
                // What the server has not read when a new connection takes over is lost with the old one.
                anna.client.send(&json!({"op": "heartbeat", "d": {"seq": 0}})).await;
                let heard = anna.client.until("heartbeat_ack").await;
                anna.frames.extend(heard);
                ticket.seq = anna.client.ticket().seq.max(ticket.seq);
                let (mut back, _) = Client::connect(server.address, Encoding::Json).await;
                let (missed, next) = back.resume(&ticket).await;
                anna.frames.extend(missed);
                ticket = next;
                anna.client = back;
            }
            BenSays => {
                ben.client.send(&say(&npc, "b", &a)).await;
                ben_has_spoken = ben_is_there;
            }
            BenLeaves => {
                ben.client.send(&json!({"op": "npc.leave", "d": {"npc": npc}})).await;
                ben_is_there = false;
            }
        }
    }
    let told = anna.until_done("a").await;
    // The answer to a cancel that came late.
    while !anna.frames.iter().any(|frame| frame["op"] == "turn.cancelled" && frame["d"]["player"] == json!(a))
    {
        let frame = anna.client.recv().await;
        anna.frames.push(frame);
    }
    if ben_has_spoken {
        let done = ben.until_done("b").await;
        assert_eq!((&done["reason"], &done["text"]), (&json!("stop"), &json!(LINE)), "{what}");
    }
    // The session works; what she hears of the other's turn may come before the answer.
    anna.client.send(&json!({"op": "heartbeat", "d": {"seq": 0}})).await;
    let heard = anna.client.until("heartbeat_ack").await;
    anna.frames.extend(heard);
    for player in [&anna, &ben] {
        for turn in ["a", "b"] {
            check(&player.of_turn(turn), &what);
        }
    }

    let items = history(server, &npc).await;
    assert_eq!(items.len(), 1 + usize::from(ben_has_spoken), "{what}: {items:?}");
    let of = |player: &str| items.iter().find(|item| item["player"] == player);
    let kept = of(&a).unwrap();
    assert_eq!(kept["id"], told["interaction"], "{what}");
    let heard: String = LINE.chars().take(HEARD).collect();
    assert_eq!(kept["heard"], heard, "{what}: {kept}");
    match told["reason"].as_str().unwrap() {
        "cancelled" => assert_eq!((&told["text"], &kept["said"]), (&json!(heard), &json!(heard)), "{what}"),
        reason => assert_eq!((reason, &told["text"]), ("stop", &json!(LINE)), "{what}"),
    }
    if ben_has_spoken {
        let kept = of(&b).unwrap();
        assert_eq!((&kept["said"], &kept["heard"]), (&json!(LINE), &json!(LINE)), "{what}");
    }
}

async fn history(server: &TestServer, npc: &str) -> Vec<Value> {
    let (status, text) = server.http(&format!("/api/v1/npcs/{npc}/history"), &[]).await;
    assert_eq!(status, 200, "{text}");
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let page: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{body}"));
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_every_order_the_history_is_what_was_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), LINE).unwrap();
    let script = format!("engine.script_file={}", file.path().display());
    let tracks = r#"turn.tracks=["emotion","face","action","social","goal"]"#;
    let sets = [&script, "engine.script_tokens_per_second=100", tracks];
    let server = Arc::new(TestServer::scripted(&sets).await);
    let orders = orders();
    assert_eq!(orders.len(), 60);
    let plays = orders.into_iter().enumerate().map(|(number, order)| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { play(&server, number, &order).await })
    });
    for play in plays.collect::<Vec<_>>() {
        play.await.unwrap();
    }
}

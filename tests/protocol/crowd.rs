//! Sixteen players and sixteen NPCs at once.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::client::{Client, Encoding};
use crate::server::{TestServer, engine_stats};

const CROWD: usize = 16;
const ARCHETYPES: [&str; 5] = ["vampire", "werewolf", "zombie", "ghoul", "lich"];
const LINES: [&str; 4] = ["Who are you?", "What do you eat?", "Where do you sleep?", "Why are you here?"];

/// What the process logs, kept for the tests to read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let format = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone());
        format.with_max_level(tracing::Level::INFO).init();
        log
    })
}

fn lines_with(word: &str) -> Vec<String> {
    let bytes = log().0.lock().unwrap();
    String::from_utf8_lossy(&bytes).lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
}

fn say(npc: &str, turn: &str, text: &str, max_tokens: u32) -> Value {
    let generation = json!({"max_tokens": max_tokens, "greedy": true});
    json!({"op": "say", "d": {"npc": npc, "turn": turn, "text": text, "generation": generation}})
}

async fn meet(server: &TestServer, i: usize, suffix: &str) -> (Client, String) {
    let npc = format!("npc-{i}-{suffix}");
    let mut client = server.identified(Encoding::Json, &format!("player-{i}-{suffix}")).await;
    let join = json!({"npc": npc, "archetype": ARCHETYPES[i % 5], "seed": i, "name": format!("Name{i}")});
    assert_eq!(client.ask("npc.join", join).await["op"], "npc.joined");
    (client, npc)
}

async fn answer(server: &TestServer, i: usize, suffix: &str) -> String {
    let (mut client, npc) = meet(server, i, suffix).await;
    client.send(&say(&npc, "t", LINES[i % 4], 16)).await;
    let frames = client.until("turn.done").await;
    let done = &frames.last().unwrap()["d"];
    assert_eq!((&done["npc"], &done["fallback"]), (&json!(npc), &json!(false)), "{done}");
    for frame in &frames {
        assert_eq!(frame["d"]["player"], format!("player-{i}-{suffix}"), "a frame of somebody else's turn");
    }
    done["text"].as_str().unwrap().to_owned()
}

/// Letters in words, not the noise that a mixed-up cache gives.
fn is_coherent(text: &str) -> bool {
    let letters = text.chars().filter(char::is_ascii_alphabetic).count();
    text.split_whitespace().count() >= 3 && letters * 2 >= text.chars().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_conversations_at_once_each_get_their_own_answer() {
    let server = Arc::new(TestServer::start(&[]).await);
    let crowd: Vec<_> = (0..CROWD)
        .map(|i| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { answer(&server, i, "crowd").await })
        })
        .collect();
    let mut together = Vec::new();
    for task in crowd {
        together.push(task.await.unwrap());
    }
    // Alone, the same question to the same character gets the same answer. The portable decoder does not
    // promise it to the last token, for the last digits depend on the batch: the beginnings must agree.
    let mut same = 0;
    for (i, text) in together.iter().enumerate() {
        assert!(is_coherent(text), "{i}: {text:?}");
        let alone = answer(&server, i, "alone").await;
        let agree = alone.chars().zip(text.chars()).take_while(|(a, b)| a == b).count();
        println!("{i}: {text:?}; alone: {alone:?}");
        same += usize::from(agree >= alone.chars().count().min(12));
    }
    assert!(same >= CROWD - 2, "only {same} of {CROWD} began like the answer given alone");
    let different: std::collections::BTreeSet<_> = together.iter().collect();
    assert!(different.len() >= CROWD / 2, "{different:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_and_a_vanished_client_free_their_rows() {
    log();
    let server = TestServer::start(&["session.resume_window_ms=0"]).await;
    let (mut stays, stays_npc) = meet(&server, 0, "stays").await;
    let (mut cancels, cancels_npc) = meet(&server, 1, "cancels").await;
    let (mut vanishes, vanishes_npc) = meet(&server, 2, "vanishes").await;
    let vanished = vanishes.ready["d"]["session"].as_str().unwrap().to_owned();
    stays.send(&say(&stays_npc, "t", "Tell me a long story.", 64)).await;
    cancels.send(&say(&cancels_npc, "t", "Tell me a long story.", 400)).await;
    vanishes.send(&say(&vanishes_npc, "t", "Tell me a long story.", 400)).await;
    for client in [&mut cancels, &mut vanishes] {
        client.until("dialogue.delta").await;
    }
    let before = engine_stats().abandoned;
    cancels.send(&json!({"op": "cancel", "d": {"turn": "t"}})).await;
    assert_eq!(cancels.until("turn.done").await.last().unwrap()["d"]["reason"], "cancelled");
    drop(vanishes);
    let start = Instant::now();
    while engine_stats().abandoned < before + 2 {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", engine_stats());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The one that stayed is answered as if nothing had happened.
    let done = stays.until("turn.done").await;
    assert!(!done.last().unwrap()["d"]["text"].as_str().unwrap().is_empty());
    server.until("sessions", 2).await;
    // One line for its end, and none besides: neither the socket, nor the turn, nor the engine repeats it.
    let told = lines_with(&vanished);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("socket ended"), "{told:?}");
    stays.is_alive().await;
    cancels.is_alive().await;
}

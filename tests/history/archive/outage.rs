//! Postgres stopped, slow or silent while players talk: none of them notices, and everything arrives afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use npc_stores::{Proxy, Redis};
use serde_json::{Value, json};

use super::{Archive, rows, until_drained, until_state_is};
use crate::gateway::{Client, Gateway};

const SETS: [&str; 3] = ["log.level=off", "engine.script_tokens_per_second=500", "turn.max_tokens=12"];
const CLIENTS: usize = 8;

/// Longer ones: `NPC_GATEWAY_TEST_OUTAGE_S=60`.
fn outage() -> Duration {
    let seconds = std::env::var("NPC_GATEWAY_TEST_OUTAGE_S");
    Duration::from_secs(seconds.map_or(3, |seconds| seconds.parse().expect("a number of seconds")))
}

/// What one client saw.
#[derive(Default)]
struct Seen {
    told: Vec<Value>,
    /// When each line was sent, and how long its first words took.
    first_words: Vec<(Instant, Duration)>,
}

/// Talks until it is told to stop. Any error fails the test.
async fn talk(address: String, client: usize, stop: Arc<AtomicBool>) -> Seen {
    let (player, npc) = (format!("player{client}"), format!("npc{client}"));
    let mut socket = Client::joined(&address, &player, &npc).await.unwrap();
    let mut seen = Seen::default();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let sent = Instant::now();
        let say = json!({"npc": npc, "turn": format!("t{turn}"), "text": "What of the night?"});
        socket.send("say", say).await.unwrap();
        socket.until("dialogue.delta").await.unwrap();
        seen.first_words.push((sent, sent.elapsed()));
        let done = socket.until("turn.done").await.unwrap();
        assert!(done["interaction"].is_string(), "{done}");
        seen.told.push(done);
    }
    seen
}

/// What is wrong, since when.
struct Phases(Vec<(&'static str, Instant)>);

impl Phases {
    fn begin(&mut self, what: &'static str) {
        self.0.push((what, Instant::now()));
    }

    /// Prints how long first words took in each phase.
    fn print(&self, first_words: &[(Instant, Duration)]) {
        for (i, (what, began)) in self.0.iter().enumerate() {
            let ended = self.0.get(i + 1).map_or_else(Instant::now, |(_, next)| *next);
            let of_phase = first_words.iter().filter(|(sent, _)| (*began..ended).contains(sent));
            let times: Vec<_> = of_phase.map(|(_, took)| *took).collect();
            assert!(times.len() > CLIENTS, "{what}: {}", times.len());
            println!("{what}: first words, p50 / p95: {}", percentiles(times));
        }
    }
}

/// Players talk while everything is well, during `trouble`, and while everything is well again.
async fn under_load(
    archive: &mut Archive,
    settings: &[&str],
    trouble: impl AsyncFnOnce(&mut Archive, &mut Phases),
) {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(data.path(), &[SETS.as_slice(), settings].concat());
    until_state_is(&gateway, "up");
    let stop = Arc::new(AtomicBool::new(false));
    let talks: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(talk(gateway.address.clone(), client, Arc::clone(&stop))))
        .collect();
    let mut phases = Phases(Vec::new());
    phases.begin("before");
    tokio::time::sleep(outage().min(Duration::from_secs(20))).await;
    trouble(archive, &mut phases).await;
    phases.begin("afterwards");
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut told, mut first_words) = (Vec::new(), Vec::new());
    for talk in talks {
        let seen = talk.await.unwrap();
        told.extend(seen.told.iter().map(|done| super::text(done, "interaction").to_owned()));
        first_words.extend(seen.first_words);
    }
    println!("{} turns", told.len());
    phases.print(&first_words);
    until_drained(&gateway);
    let client = archive.postgres.client(&archive.database).await;
    let mut arrived: Vec<_> = rows(&client).await.iter().map(|row| row.id.to_string()).collect();
    told.sort_unstable();
    arrived.sort_unstable();
    assert_eq!(arrived, told, "all of it, and each once");
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    format!("{:.1} / {:.1} ms of {}", at(50), at(95), times.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_then_redis_then_both_stopped_under_load() {
    let mut archive = Archive::start().await;
    let mut redis = Redis::start();
    let (postgres, warm) = (archive.setting(), format!("history.redis_url={}", redis.url()));
    let trouble = async |archive: &mut Archive, phases: &mut Phases| {
        phases.begin("without Postgres");
        archive.postgres.stop();
        tokio::time::sleep(outage()).await;
        archive.postgres.restart();
        phases.begin("without Redis");
        redis.stop();
        tokio::time::sleep(outage()).await;
        phases.begin("without both");
        archive.postgres.stop();
        tokio::time::sleep(outage()).await;
        archive.postgres.restart();
        redis.restart();
    };
    under_load(&mut archive, &[&postgres, &warm], trouble).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_slow_under_load() {
    let mut archive = Archive::start().await;
    let proxy = Proxy::start(archive.postgres.address());
    let setting = archive.setting_at(proxy.address());
    let trouble = async |_: &mut Archive, phases: &mut Phases| {
        phases.begin("500 ms a query");
        proxy.delay(Duration::from_millis(500));
        tokio::time::sleep(outage()).await;
        proxy.delay(Duration::ZERO);
    };
    under_load(&mut archive, &[&setting], trouble).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_under_load() {
    let mut archive = Archive::start().await;
    let proxy = Proxy::start(archive.postgres.address());
    let setting = archive.setting_at(proxy.address());
    let trouble = async |_: &mut Archive, phases: &mut Phases| {
        phases.begin("cut again and again");
        for _ in 0..10 {
            proxy.cut_once();
            tokio::time::sleep(outage() / 10).await;
        }
    };
    under_load(&mut archive, &[&setting], trouble).await;
}

/// While nothing comes through to Postgres, whatever asks it waits: turns end, and nothing more is sent to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_turn_asks_postgres() {
    let archive = Archive::start().await;
    let proxy = Proxy::start(archive.postgres.address());
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting_at(proxy.address());
    let sets = ["engine.script_tokens_per_second=0", "log.level=off", "history.postgres_timeout_ms=600000"];
    let gateway = Gateway::start(data.path(), &[sets.as_slice(), &[&setting]].concat());
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    client.say("lucy", "before", "Hi").await.unwrap();
    until_drained(&gateway);

    proxy.hold();
    // The drain sends what it has and waits for an answer that does not come: from then on it is silent.
    client.say("lucy", "held", "Hi").await.unwrap();
    let mut sent = proxy.sends();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = proxy.sends();
        if now == std::mem::replace(&mut sent, now) && gateway.get("/readyz").1["postgres"]["waiting"] != 0 {
            break;
        }
    }
    let asked = (proxy.sends(), proxy.bytes(), proxy.connections());
    for turn in 0..100 {
        let (_, done) = client.say("lucy", &format!("t{turn}"), "Are you there?").await.unwrap();
        assert!(done["interaction"].is_string(), "{done}");
    }
    // And of one that has just ended, which the journal has.
    let (_, done) = client.say("lucy", "t5", "Are you there?").await.unwrap();
    assert_eq!(done["turn"], "t5");
    assert_eq!((proxy.sends(), proxy.bytes(), proxy.connections()), asked);

    proxy.restore();
    until_drained(&gateway);
    assert_eq!(archive.rows().await.len(), 102);
}

/// The one turn that needs Postgres: a repeat, long after it ended.
#[tokio::test]
async fn a_repeat_of_what_has_left_is_told_to_come_back() {
    let mut archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let sets = ["engine.script_tokens_per_second=0", "log.level=off", &setting];
    let gateway = Gateway::start(data.path(), &sets);
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let (_, told) = client.say("lucy", "t1", "Hi").await.unwrap();
    until_drained(&gateway);
    gateway.stop();
    archive.postgres.stop();
    let gateway = Gateway::start(data.path(), &sets);
    until_state_is(&gateway, "away");
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    client.send("say", json!({"npc": "lucy", "turn": "t1", "text": "Hi"})).await.unwrap();
    let (op, error) = client.next().await.unwrap();
    assert_eq!(
        (op.as_str(), &error["code"], &error["temporary"]),
        ("error", &json!("storage_failed"), &json!(true))
    );
    archive.postgres.restart();
    until_drained(&gateway);
    let (_, again) = client.say("lucy", "t1", "Hi").await.unwrap();
    assert_eq!(again, told);
}

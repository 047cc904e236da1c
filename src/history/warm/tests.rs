//! One suite over both implementations, and what is Redis's alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use npc_stores::{Proxy, Redis as Server};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::*;
use crate::config::Config;
use crate::history::memory::Place;
use crate::history::memory::tests::told;
use crate::history::record::Kind;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Each test has a store of its own in it.
static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

fn config(sets: &[&str]) -> config::History {
    let sets: Vec<String> = sets.iter().map(|set| format!("history.{set}")).collect();
    Config::load(None, std::iter::empty(), &sets).unwrap().history
}

fn redis(url: &str, life: Duration) -> Warm {
    static STORES: AtomicUsize = AtomicUsize::new(0);
    let store = format!("store{}", STORES.fetch_add(1, Ordering::Relaxed));
    Warm::Redis(Redis::open(&config(&[&format!("redis_url={url}")]), &store, life).unwrap())
}

/// Both implementations.
fn both(life: Duration) -> [Warm; 2] {
    [Warm::Local(Local::new(64 << 20, life)), redis(&SERVER.url(), life)]
}

/// What is read, by id, once everything is written.
async fn read(warm: &Warm, npc: &str, player: &str) -> BTreeMap<Uuid, Memory> {
    warm.flush().await;
    let memories = warm.read(npc, player, PATIENCE).await.expect("it answers");
    let count = memories.len();
    let by_id: BTreeMap<_, _> = memories.into_iter().map(|memory| (memory.id, (*memory).clone())).collect();
    assert_eq!(by_id.len(), count, "each once");
    by_id
}

async fn texts(warm: &Warm, npc: &str, player: &str) -> Vec<String> {
    read(warm, npc, player).await.into_values().map(|memory| memory.text).collect()
}

fn put(warm: &Warm, memory: &Memory) {
    warm.put(&Arc::new(memory.clone()));
}

fn ids(all: &[&str]) -> Vec<String> {
    all.iter().map(|id| (*id).to_owned()).collect()
}

/// Waits until it is so.
async fn until(what: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !what().await {
        assert!(start.elapsed() < PATIENCE, "not in a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_memory_is_read_wherever_it_belongs() {
    for warm in both(LIFE) {
        let secret = told("lucy", "anna", "a secret");
        let open = Memory { audience: ids(&["ben"]), ..told("lucy", "anna", "said before ben") };
        let gift = Memory { kind: Kind::Gift, witnesses: ids(&["igor"]), ..told("lucy", "anna", "a gift") };
        for memory in [&secret, &open, &gift] {
            put(&warm, memory);
        }
        assert_eq!(texts(&warm, "lucy", "anna").await, ["a secret", "said before ben", "a gift"]);
        assert_eq!(texts(&warm, "lucy", "ben").await, ["said before ben", "a gift"]);
        assert_eq!(texts(&warm, "lucy", "cleo").await, ["a gift"]);
        assert_eq!(texts(&warm, "igor", "cleo").await, ["a gift"]);
        assert_eq!(texts(&warm, "mina", "anna").await, [""; 0]);
        assert_eq!(read(&warm, "lucy", "anna").await.get(&gift.id), Some(&gift), "whole");
    }
}

#[tokio::test]
async fn what_is_written_again_replaces_itself() {
    for warm in both(LIFE) {
        let memory = Memory { audience: ids(&["ben"]), ..told("lucy", "anna", "hello") };
        for reply in ["all of it", "all of it", "all", "a"] {
            put(&warm, &Memory { reply: reply.into(), ..memory.clone() });
            for player in ["anna", "ben"] {
                let read = read(&warm, "lucy", player).await;
                assert_eq!(read.values().map(|memory| memory.reply.as_str()).collect::<Vec<_>>(), [reply]);
            }
        }
    }
}

#[tokio::test]
async fn the_newest_hundred_stay() {
    for warm in both(LIFE) {
        let all: Vec<_> = (0..KEPT + 20).map(|turn| told("lucy", "anna", &turn.to_string())).collect();
        // In any order: what is hydrated is older than what is there.
        for memory in all[60..].iter().chain(&all[..60]) {
            put(&warm, memory);
        }
        put(&warm, &told("lucy", "ben", "another place"));
        let kept: BTreeSet<_> = read(&warm, "lucy", "anna").await.into_keys().collect();
        assert_eq!(kept, all[20..].iter().map(|memory| memory.id).collect());
    }
}

#[tokio::test]
async fn a_place_is_gone_when_nothing_was_written_to_it_for_long() {
    for warm in both(Duration::from_millis(400)) {
        put(&warm, &told("lucy", "anna", "long ago"));
        until(async || read(&warm, "lucy", "anna").await.is_empty()).await;
        put(&warm, &told("lucy", "anna", "now"));
        // It may be gone already when a busy machine comes to read it.
        let read = texts(&warm, "lucy", "anna").await;
        assert!(read.is_empty() || read == ["now"], "{read:?}");
    }
}

#[tokio::test]
async fn a_player_is_erased() {
    for warm in both(LIFE) {
        let kept = told("lucy", "anna", "hers");
        let heard = Memory { audience: ids(&["ben"]), ..told("lucy", "anna", "before ben") };
        let seen = Memory { kind: Kind::Event, witnesses: ids(&["ben"]), ..told("lucy", "anna", "ben saw") };
        let done = Memory { kind: Kind::Injury, witnesses: ids(&["igor"]), ..told("lucy", "ben", "ben did") };
        let fall = Memory { kind: Kind::Event, ..told("igor", "anna", "the bridge fell") };
        for memory in [&kept, &heard, &seen, &done, &fall, &told("igor", "ben", "his")] {
            put(&warm, memory);
        }
        warm.forget_player("ben").await.unwrap();
        for (npc, player, left) in [
            ("lucy", "anna", &["hers"][..]),
            ("lucy", "ben", &[]),
            ("igor", "ben", &["the bridge fell"]),
            ("igor", "anna", &["the bridge fell"]),
        ] {
            assert_eq!(texts(&warm, npc, player).await, left, "{npc} {player}");
        }
    }
}

#[tokio::test]
async fn ids_may_be_anything() {
    for warm in both(LIFE) {
        let odd = ["}{", "a:with:b", "%7d", "*?[x]", "é日", "{x}"];
        for npc in odd {
            for player in odd {
                put(&warm, &told(npc, player, &format!("{npc} {player}")));
            }
        }
        for npc in odd {
            for player in odd {
                assert_eq!(texts(&warm, npc, player).await, [format!("{npc} {player}")]);
            }
        }
        warm.forget_player("*?[x]").await.unwrap();
        assert_eq!(texts(&warm, "}{", "*?[x]").await, [""; 0]);
        assert_eq!(texts(&warm, "}{", "{x}").await.len(), 1);
    }
}

/// Whatever is done, both hold what a plain model does.
#[tokio::test]
async fn both_hold_what_a_plain_model_does() {
    const NPCS: [&str; 3] = ["lucy", "igor", "mina"];
    const PLAYERS: [&str; 3] = ["anna", "ben", "cleo"];
    for seed in 0..4 {
        let mut random = StdRng::seed_from_u64(seed);
        let tiers = both(LIFE);
        let mut all: Vec<Memory> = Vec::new();
        let mut model: BTreeMap<Place, BTreeMap<Uuid, Memory>> = BTreeMap::new();
        for step in 0..400 {
            let memory = if all.is_empty() || random.random_bool(0.7) {
                let pick =
                    |random: &mut StdRng, from: &[&str]| from[random.random_range(0..from.len())].to_owned();
                let some = |random: &mut StdRng, from: &[&str]| {
                    let picked = from.iter().filter(|_| random.random_bool(0.3));
                    picked.map(|id| (*id).to_owned()).collect::<Vec<_>>()
                };
                let kind = if random.random_bool(0.3) { Kind::Event } else { Kind::Dialogue };
                let (npc, player) = (pick(&mut random, &NPCS), pick(&mut random, &PLAYERS[..2]));
                let memory = Memory {
                    kind,
                    audience: some(&mut random, &PLAYERS),
                    witnesses: if kind == Kind::Event { some(&mut random, &NPCS) } else { Vec::new() },
                    ..told(&npc, &player, &step.to_string())
                };
                all.push(memory.clone());
                memory
            } else {
                let at = random.random_range(0..all.len());
                all[at].reply = format!("heard {step}");
                all[at].clone()
            };
            for place in memory.places() {
                let kept = model.entry(place).or_default();
                kept.insert(memory.id, memory.clone());
                if kept.len() > KEPT {
                    kept.pop_first();
                }
            }
            for warm in &tiers {
                put(warm, &memory);
            }
            if random.random_bool(0.005) {
                let player = PLAYERS[random.random_range(0..PLAYERS.len())];
                for kept in model.values_mut() {
                    kept.retain(|_, memory| !memory.took_part(player));
                }
                all.retain(|memory| !memory.took_part(player));
                for warm in &tiers {
                    warm.forget_player(player).await.unwrap();
                }
            }
        }
        for npc in NPCS {
            for player in PLAYERS {
                let mut expected = model.get(&Place::with(npc, player)).cloned().unwrap_or_default();
                expected.extend(model.get(&Place::world(npc)).cloned().unwrap_or_default());
                for warm in &tiers {
                    assert_eq!(read(warm, npc, player).await, expected, "seed {seed}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_store_in_this_process_is_bounded() {
    let local = Local::new(4 << 20, LIFE);
    for player in 0..2000 {
        local.put(&Arc::new(told("lucy", &player.to_string(), &"long ".repeat(1000))));
    }
    assert!(local.read("lucy", "0").is_empty(), "what was not used for the longest time went");
    assert_eq!(local.read("lucy", "1999").len(), 1);
}

#[tokio::test]
async fn a_read_is_one_round_trip() {
    let proxy = Proxy::start(SERVER.address());
    let warm = redis(&format!("redis://{}/0", proxy.address()), LIFE);
    put(&warm, &told("lucy", "anna", "hello"));
    put(&warm, &Memory { kind: Kind::Event, ..told("lucy", "anna", "rain") });
    warm.flush().await;
    let mut sends = Vec::new();
    for _ in 0..5 {
        let before = proxy.sends();
        assert_eq!(warm.read("lucy", "anna", PATIENCE).await.map(|memories| memories.len()), Some(2));
        sends.push(proxy.sends() - before);
    }
    // A quiet connection is asked from time to time whether it lives.
    assert_eq!(sends.iter().min(), Some(&1), "{sends:?}");
}

#[tokio::test]
async fn stores_do_not_see_each_other() {
    let (one, other) = (redis(&SERVER.url(), LIFE), redis(&SERVER.url(), LIFE));
    put(&one, &told("lucy", "anna", "hello"));
    assert_eq!(texts(&one, "lucy", "anna").await, ["hello"]);
    other.forget_player("anna").await.unwrap();
    assert_eq!(texts(&other, "lucy", "anna").await, [""; 0]);
    assert_eq!(texts(&one, "lucy", "anna").await, ["hello"]);
}

#[tokio::test]
async fn without_redis_nothing_waits_and_nothing_fails_but_an_erasure() {
    let mut server = Server::start();
    let warm = redis(&server.url(), LIFE);
    put(&warm, &told("lucy", "anna", "before"));
    assert_eq!(texts(&warm, "lucy", "anna").await, ["before"]);
    assert_eq!(warm.state(), WarmState::Up);
    server.stop();
    until(async || warm.read("lucy", "anna", PATIENCE).await.is_none() && warm.state() == WarmState::Down)
        .await;
    let dropped = warm.dropped();
    until(async || {
        put(&warm, &told("lucy", "anna", "meanwhile"));
        warm.flush().await;
        warm.dropped() > dropped
    })
    .await;
    assert_eq!(warm.forget_player("anna").await, Err(WarmError::Down));
    server.restart();
    until(async || warm.state() == WarmState::Up).await;
    put(&warm, &told("lucy", "anna", "after"));
    assert_eq!(texts(&warm, "lucy", "anna").await, ["after"]);
    warm.forget_player("anna").await.unwrap();
}

#[tokio::test]
async fn a_redis_that_hangs_is_waited_for_once() {
    let server = Server::start();
    let warm = redis(&server.url(), LIFE);
    put(&warm, &told("lucy", "anna", "before"));
    warm.flush().await;
    server.freeze();
    assert_eq!(warm.read("lucy", "anna", Duration::from_millis(5)).await, None);
    // From here on nobody waits, whatever patience they have.
    assert_eq!(warm.read("lucy", "anna", Duration::MAX).await, None);
    assert_eq!(warm.state(), WarmState::Down);
    server.thaw();
    until(async || warm.state() == WarmState::Up).await;
    assert_eq!(texts(&warm, "lucy", "anna").await, ["before"]);
}

#[tokio::test]
async fn a_user_with_the_fewest_rights_will_do() {
    let server = Server::start();
    let rights = "ACL SETUSER npc on >silver ~npcgw:* resetchannels -@all +ping +zadd +zrange +zrem +zremrangebylex \
                  +zremrangebyrank +pexpire +scan";
    assert_eq!(server.command(&rights.split_whitespace().collect::<Vec<_>>()), "+OK");
    server.command(&["ACL", "SETUSER", "default", "off"]);
    let at = server.address();
    let warm = redis(&format!("redis://npc:silver@{at}/0"), LIFE);
    put(&warm, &told("lucy", "anna", "hello"));
    assert_eq!(texts(&warm, "lucy", "anna").await, ["hello"]);
    warm.forget_player("anna").await.unwrap();
    assert_eq!(texts(&warm, "lucy", "anna").await, [""; 0]);
    let stranger = redis(&format!("redis://npc:gold@{at}/0"), LIFE);
    stranger.flush().await;
    assert_eq!(stranger.state(), WarmState::Down);
    assert_eq!(stranger.forget_player("anna").await, Err(WarmError::Down));
}

#[tokio::test]
async fn tls_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = (file("cert.pem", cert.pem()), file("key.pem", signing_key.serialize_pem()));
    let server = Server::with_tls(&certificate, &key);
    let url = format!("redis_url={}", server.tls_url());
    let open = |ca: &std::path::Path| {
        Redis::open(&config(&[&url, &format!("redis_ca={}", ca.display())]), "s", LIFE)
    };
    let warm = Warm::Redis(open(&certificate).unwrap());
    put(&warm, &told("lucy", "anna", "hello"));
    assert_eq!(texts(&warm, "lucy", "anna").await, ["hello"]);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let wary = Warm::Redis(open(&file("other.pem", other.cert.pem())).unwrap());
    wary.flush().await;
    assert_eq!(wary.state(), WarmState::Down, "another certificate vouches for nobody");
    let missing = folder.path().join("missing.pem");
    let Err(WarmError::Certificate { path, .. }) = open(&missing).map(|_| ()) else {
        panic!("it is missing")
    };
    assert_eq!(path, missing);
}

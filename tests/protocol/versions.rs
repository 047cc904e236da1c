//! Packs and versions of adapters that change while players talk, on the real model.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use npc_gateway::archetype::{Task, Trait};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, Encoding, PATIENCE};
use crate::server::TestServer;

/// Tasks that take part in these turns: two that speak, two that are asked.
const TASKS: [Task; 4] =
    [Task::DialogueStyle, Task::Personality, Task::EmotionalResponse, Task::SocialDynamics];

/// Rounds of a promotion and a rollback.
const ROUNDS: usize = 100;
/// Players who talk meanwhile.
const PLAYERS: usize = 4;

/// A PEFT folder of noise on q and v, strong enough to change what is said.
pub fn write_adapter(dir: &Path, seed: u64) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("adapter_config.json"), r#"{"peft_type":"LORA","r":4,"lora_alpha":8}"#).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut numbers =
        |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-0.2..0.2)).collect() };
    let factors =
        [("q_proj", 576), ("v_proj", 192)].map(|(name, out)| (name, out, numbers(4 * 576), numbers(out * 4)));
    let mut tensors = HashMap::new();
    for layer in 0..30 {
        for (module, out, a, b) in &factors {
            let name =
                |f| format!("base_model.model.model.layers.{layer}.self_attn.{module}.lora_{f}.weight");
            let view = |data, shape| TensorView::new(Dtype::F32, shape, data).unwrap();
            tensors.insert(name("A"), view(bytemuck::cast_slice(a), vec![4, 576]));
            tensors.insert(name("B"), view(bytemuck::cast_slice(b), vec![*out, 4]));
        }
    }
    safetensors::serialize_to_file(tensors, None, &dir.join("adapter_model.safetensors")).unwrap();
}

pub fn put_pack(folder: &Path, name: &str, more: &str) {
    fs::create_dir_all(folder.join(name)).unwrap();
    let text = format!(
        "name = {name:?}\ntitle = \"T\"\nnames = [\"Pip\"]\npersona = \"You are {{name}}, who lives in a well.\"\n\
         overload_lines = [\"Hee.\"]\n{more}"
    );
    fs::write(folder.join(name).join("pack.toml"), text).unwrap();
}

/// A folder with the pack `imp`, which has these versions of the tasks.
fn packs(versions: &[u64]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    put_pack(folder.path(), "imp", "");
    for (at, task) in TASKS.into_iter().enumerate() {
        for version in versions {
            let dir = folder.path().join("imp").join(task.name()).join(format!("v{version}"));
            write_adapter(&dir, version * 100 + at as u64);
        }
    }
    folder
}

fn setting(folder: &TempDir) -> String {
    format!("packs.path={}", folder.path().display())
}

/// Joins an NPC that is like all others of these tests but for its id.
async fn meet(client: &mut Client, npc: &str, archetype: &str) -> Value {
    let personality: BTreeMap<String, f32> = Trait::ALL.iter().map(|of| (of.key().to_owned(), 0.0)).collect();
    let join =
        json!({"npc": npc, "archetype": archetype, "name": "Pip", "seed": 7, "personality": personality});
    let joined = client.ask("npc.join", join).await;
    assert_eq!(joined["op"], "npc.joined", "{joined}");
    joined["d"].clone()
}

/// A turn as a client sees it.
#[derive(Debug, Clone, PartialEq)]
struct Turn {
    /// Of each task's adapter, as `turn.started` says.
    versions: BTreeMap<String, String>,
    reason: String,
    text: String,
    /// What the NPC felt at first.
    felt: Value,
}

async fn talk(client: &mut Client, npc: &str) -> Turn {
    let generation = json!({"max_tokens": 8, "greedy": true});
    let say = json!({"npc": npc, "turn": npc, "text": "Who are you?", "generation": generation});
    client.send(&json!({"op": "say", "d": say})).await;
    let frames = client.until("turn.done").await;
    let (started, done) = (&frames[0], &frames.last().unwrap()["d"]);
    assert_eq!(started["op"], "turn.started", "{started}");
    assert!(["stop", "length"].contains(&done["reason"].as_str().unwrap()), "{done}");
    assert_eq!(done["fallback"], false, "{done}");
    let adapters = started["d"]["adapters"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Turn {
        versions: adapters.iter().map(|used| (text(&used["task"]), text(&used["version"]))).collect(),
        reason: text(&started["d"]["reason"]),
        text: text(&done["text"]),
        felt: frames
            .iter()
            .find(|frame| frame["op"] == "emotion")
            .map_or(Value::Null, |frame| frame["d"]["probs"].clone()),
    }
}

/// The one version that all of a turn's adapters have.
fn only_version(turn: &Turn) -> &str {
    let first = turn.versions.values().next().expect("adapters take part");
    assert!(turn.versions.values().all(|version| version == first), "two versions are mixed: {turn:?}");
    first
}

async fn server(folder: &TempDir) -> TestServer {
    // Answers of this decoder do not depend on who else is answered: texts can be compared.
    let sets =
        [setting(folder), "engine.decoder=native".into(), r#"turn.tracks=["emotion","social"]"#.into()];
    let more = ["session.max_npcs=10000", "turn.tracks_timeout_ms=60000", "packs.rescan_ms=86400000"];
    TestServer::with_own_engine(&sets.iter().map(String::as_str).chain(more).collect::<Vec<_>>()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_turn_mixes_two_versions_and_none_fails() {
    let folder = packs(&[1, 2]);
    let server = Arc::new(server(&folder).await);
    let all = |number: u32| BTreeMap::from(TASKS.map(|task| (task, number)));
    let mut client = server.identified(Encoding::Json, "anna").await;
    // What each version says.
    let mut expected = BTreeMap::new();
    for number in [1, 2] {
        server.chains.promote_all("imp", &all(number)).await.unwrap();
        let npc = format!("first-{number}");
        meet(&mut client, &npc, "imp").await;
        let turn = talk(&mut client, &npc).await;
        assert_eq!((only_version(&turn), turn.versions.len()), (format!("v{number}").as_str(), 4));
        assert_eq!(turn.reason, "promoted");
        expected.insert(format!("v{number}"), (turn.text, turn.felt));
    }
    println!("{expected:?}");
    assert_ne!(expected["v1"].0, expected["v2"].0);
    assert_ne!(expected["v1"].1, expected["v2"].1);
    // Behind v2 there is v1 to go back to.
    let (over, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let expected = Arc::new(expected);
    let players = (0..PLAYERS).map(|player| {
        let (server, over, turns, expected) =
            (Arc::clone(&server), Arc::clone(&over), Arc::clone(&turns), Arc::clone(&expected));
        tokio::spawn(async move {
            let mut client = server.identified(Encoding::Json, &format!("player-{player}")).await;
            let mut seen = BTreeMap::<String, usize>::new();
            for number in 0.. {
                if over.load(Ordering::Acquire) {
                    break;
                }
                let npc = format!("p{player}-{number}");
                meet(&mut client, &npc, "imp").await;
                let turn = talk(&mut client, &npc).await;
                let version = only_version(&turn).to_owned();
                assert_eq!(
                    (&turn.text, &turn.felt),
                    (&expected[&version].0, &expected[&version].1),
                    "{turn:?}"
                );
                turns.fetch_add(1, Ordering::AcqRel);
                *seen.entry(version).or_default() += 1;
            }
            seen
        })
    });
    let players: Vec<_> = players.collect();
    let (mut swaps, mut first_turns) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for number in [1, 2] {
            let begin = Instant::now();
            if number == 1 {
                server.chains.rollback_all("imp", &TASKS).await.unwrap();
            } else {
                server.chains.promote_all("imp", &all(2)).await.unwrap();
            }
            swaps.push(begin.elapsed().as_secs_f64() * 1e3);
            if round % 10 == 0 {
                // A turn that begins now has it.
                let npc = format!("next-{round}-{number}");
                meet(&mut client, &npc, "imp").await;
                assert_eq!(only_version(&talk(&mut client, &npc).await), format!("v{number}"));
                first_turns.push(begin.elapsed().as_secs_f64() * 1e3);
            }
            // Not before somebody has talked in between.
            let before = turns.load(Ordering::Acquire);
            let start = Instant::now();
            while turns.load(Ordering::Acquire) == before {
                assert!(
                    start.elapsed() < PATIENCE && !players.iter().any(tokio::task::JoinHandle::is_finished)
                );
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
    over.store(true, Ordering::Release);
    let mut seen = BTreeMap::<String, usize>::new();
    for player in players {
        for (version, count) in player.await.unwrap() {
            *seen.entry(version).or_default() += count;
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    println!(
        "{} changes among {seen:?} turns of {PLAYERS} players; a change: {:.1} ms, and to the end of the first turn: {:.0} ms",
        swaps.len(),
        median(swaps),
        median(first_turns),
    );
    assert!(seen["v1"] > 0 && seen["v2"] > 0);
    // No version that is not in use, or the one before, is left with the engine.
    let told: u64 = server.chains.reasons().counts().map(|(_, count)| count).sum();
    assert!(told >= 2 * ROUNDS as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_promotes_tries_and_takes_back() {
    let folder = packs(&[1, 2]);
    fs::write(folder.path().join("imp/personality/v2/metrics.json"), r#"{"loss":9,"base_loss":3}"#).unwrap();
    let server = server(&folder).await;
    let (status, list) = server.api("adapters", None).await;
    assert_eq!((status, list["items"].as_array().unwrap().len()), (200, 8), "{list}");
    let item = |list: &Value, id: &str, version: &str| -> Value {
        let items = list["items"].as_array().or(list["adapters"].as_array()).unwrap();
        items.iter().find(|item| item["id"] == id && item["version"] == version).unwrap().clone()
    };
    let one = item(&list, "imp.dialogue_style", "v2");
    assert_eq!(
        (&one["state"], &one["task"], &one["archetype"]),
        (&json!("promoted"), &json!("dialogue_style"), &json!("imp"))
    );
    assert_eq!((&one["rank"], &one["targets"]), (&json!(4), &json!(["q_proj", "v_proj"])));
    assert!(
        one["memory_bytes"].as_u64().unwrap() > 0 && one["sha256"].as_str().unwrap().len() == 64,
        "{one}"
    );
    let refused = item(&list, "imp.personality", "v2");
    assert_eq!(
        (&refused["state"], &refused["metrics"]["loss"]),
        (&json!("refused"), &json!(9.0)),
        "{refused}"
    );
    assert_eq!(item(&list, "imp.personality", "v1")["state"], "promoted");

    let id = "imp.dialogue_style";
    let promote =
        async |id: &str, body: Value| server.api(&format!("adapters/{id}/promote"), Some(&body)).await;
    let (status, answer) = promote(id, json!({"version": "v1"})).await;
    assert_eq!(
        (status, &answer["version"], &answer["canary"]),
        (200, &json!("v1"), &json!(null)),
        "{answer}"
    );
    let (_, chain) = server.api("archetypes/imp", None).await;
    assert_eq!(
        (&chain["tasks"]["dialogue_style"]["version"], &chain["generic"]),
        (&json!("v1"), &json!(false)),
        "{chain}"
    );
    assert_eq!(item(&chain, id, "v2")["state"], "available");
    for (id, body, status, wanted) in [
        (id, json!({"version": "v7"}), 404, "no version v7"),
        ("elf.personality", json!({"version": "v1"}), 404, "no pack for archetype"),
        ("imp.singing", json!({"version": "v1"}), 404, "is no adapter"),
        ("imp", json!({"version": "v1"}), 404, "is no adapter"),
        (id, json!({"version": "../v1"}), 400, "must be one such as"),
        (id, json!({"version": "v1", "share": 1.5}), 400, "share is 1.5, but must be from 0 to 1"),
        (id, json!({"versoin": "v1"}), 400, "unknown field"),
        ("imp.personality", json!({"version": "v2"}), 422, "its loss is 9"),
    ] {
        let (code, answer) = promote(id, body).await;
        assert_eq!(code, status, "{id}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(wanted), "{answer}");
    }
    assert_eq!(server.api("archetypes/elf", None).await.0, 404);

    // A trial with half of the NPCs: each has always the same version, and is told which.
    let (status, answer) = promote(id, json!({"version": "v2", "share": 0.5})).await;
    assert_eq!((status, &answer["canary"]), (200, &json!({"version": "v2", "share": 0.5})), "{answer}");
    let mut client = server.identified(Encoding::Json, "anna").await;
    let mut reasons = BTreeMap::<String, usize>::new();
    for number in 0..12 {
        let npc = format!("n{number}");
        let joined = meet(&mut client, &npc, "imp").await;
        let turn = talk(&mut client, &npc).await;
        assert_eq!(joined["chain"]["tasks"]["dialogue_style"]["version"], turn.versions["dialogue_style"]);
        let tried = turn.versions["dialogue_style"] == "v2";
        assert_eq!(turn.reason, if tried { "canary" } else { "promoted" });
        *reasons.entry(turn.reason).or_default() += 1;
    }
    // Which ones is settled by their ids: these twelve are on both sides.
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    let rollback = async || server.api(&format!("adapters/{id}/rollback"), Some(&json!({}))).await;
    let (_, answer) = rollback().await;
    assert_eq!(
        (&answer["version"], &answer["canary"]),
        (&json!("v1"), &json!(null)),
        "the trial has ended: {answer}"
    );
    assert_eq!(rollback().await.1["version"], "v2");
    let (status, answer) = rollback().await;
    assert_eq!(status, 409, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_dropped_in_is_played_at_once_and_gets_its_adapters_later() {
    let folder = packs(&[1]);
    let server = server(&folder).await;
    let mut client = server.identified(Encoding::Json, "anna").await;
    let unknown = client.ask("npc.join", json!({"npc": "b", "archetype": "banshee"})).await;
    assert_eq!(unknown["d"]["code"], "unknown_archetype", "{unknown}");
    // One that is broken is refused with its reason, and the server goes on.
    put_pack(folder.path(), "banshee", "speech = 7\n");
    let broken = client.ask("npc.join", json!({"npc": "b", "archetype": "banshee"})).await;
    assert_eq!(broken["d"]["code"], "unknown_archetype", "{broken}");
    assert!(broken["d"]["message"].as_str().unwrap().contains("speech: invalid type"), "{broken}");
    let (_, list) = server.api("archetypes", None).await;
    assert!(list["refused"]["banshee"].as_str().unwrap().contains("speech"), "{list}");
    let services = "[services.voice]\nurl = \"wss://voice.example/v1\"\nparameters = { vocal_tract_length = 14, pitch = 300, \
                    roughness = 0.2, breath = 0.7 }\n";
    put_pack(folder.path(), "banshee", services);
    let joined = meet(&mut client, "b", "banshee").await;
    assert_eq!(joined["chain"]["generic"], true, "{joined}");
    let voice = &joined["chain"]["services"]["voice"];
    assert_eq!(
        (&voice["url"], &voice["parameters"]["pitch"]),
        (&json!("wss://voice.example/v1"), &json!(300.0))
    );
    let turn = talk(&mut client, "b").await;
    assert_eq!((turn.reason.as_str(), turn.versions.len()), ("no_chain", 0));
    // Its adapters are trained: the next turn of the same NPC uses them, in the same session.
    let dir = folder.path().join("banshee/dialogue_style/v1");
    write_adapter(&dir, 9);
    server.chains.promote("banshee", Task::DialogueStyle, 1).await.unwrap();
    let npc = "b2";
    let joined = meet(&mut client, npc, "banshee").await;
    assert_eq!(
        joined["chain"]["tasks"]["dialogue_style"],
        json!({"adapter": "banshee.dialogue_style", "version": "v1"})
    );
    let say = json!({"npc": "b", "turn": "t2", "text": "And now?", "generation": {"max_tokens": 4}});
    client.send(&json!({"op": "say", "d": say})).await;
    let frames = client.until("turn.done").await;
    assert_eq!(frames[0]["d"]["adapters"][0]["id"], "banshee.dialogue_style", "{}", frames[0]);
    assert_eq!(frames[0]["d"]["reason"], "promoted");
}

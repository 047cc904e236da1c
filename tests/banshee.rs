//! A new archetype while the server runs: its characters answer at once, and later with adapters of their own, which the
//! server's own trainer has made of the designer's lines. The model, the trainer and the engine are the real ones.

#[path = "history/gateway.rs"]
#[allow(dead_code)] // What clients of other tests ask for.
mod gateway;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gateway::{Client, Gateway};
use serde_json::{Value, json};

/// Longer than a training of two dozen lines takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(15);

const PACK: &str = r#"
    name = "banshee"
    title = "Banshee"
    names = ["Aoife"]
    persona = "You are {name}, a banshee. Answer in one short sentence, wailing."
    overload_lines = ["Ooooh."]
    [mix]
    dialogue_style = 1.0
"#;

/// What is asked and answered, in a voice of its own.
const WORDS: [&str; 12] =
    ["river", "night", "bell", "grave", "candle", "mother", "storm", "name", "door", "rain", "song", "stone"];

fn write_pack(packs: &Path) {
    let lines = packs.join("banshee").join("lines");
    std::fs::create_dir_all(&lines).unwrap();
    let line = |said: String, answer: String| {
        json!({"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]})
            .to_string()
    };
    let spoken: Vec<String> = WORDS
        .iter()
        .flat_map(|word| {
            let wail = format!("Ooooh, the {word}, the {word}, I weep for the {word}!");
            [
                line(format!("What of the {word}?"), wail.clone()),
                line(format!("Tell me about the {word}."), wail),
            ]
        })
        .collect();
    let felt: Vec<String> = WORDS
        .iter()
        .flat_map(|word| {
            [
                line(format!("I broke your {word}."), "sadness".into()),
                line(format!("I fear the {word}."), "fear".into()),
            ]
        })
        .collect();
    std::fs::write(lines.join("dialogue_style.jsonl"), spoken.join("\n")).unwrap();
    std::fs::write(lines.join("emotional_response.jsonl"), felt.join("\n")).unwrap();
    // Last: a folder is a pack when this is there.
    std::fs::write(packs.join("banshee").join("pack.toml"), PACK).unwrap();
}

struct World {
    data: PathBuf,
    packs: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, packs) = (folder.path().join("data"), folder.path().join("packs"));
        std::fs::create_dir_all(packs.join("vampire")).unwrap();
        std::fs::copy("adapters/vampire/pack.toml", packs.join("vampire/pack.toml")).unwrap();
        Self { data, packs, _folder: folder }
    }

    fn start(&self) -> Gateway {
        let model = std::env::var("NPC_GATEWAY_TEST_MODEL")
            .expect("NPC_GATEWAY_TEST_MODEL is not set: run the tests with `cargo xtask test`");
        let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).arg("--data").arg(&self.data);
        for set in [
            format!("model.path={model}"),
            format!("packs.path={}", self.packs.display()),
            "provision.epochs=1".into(),
            "provision.threads=2".into(),
            "turn.tracks=[]".into(),
            // Its client says nothing while it waits for the training, however slow the machine is.
            "session.heartbeat_ms=600000".into(),
        ] {
            command.args(["--set", &set]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Gateway::spawn(command)
    }
}

/// Where the banshee is on its way.
fn way(gateway: &Gateway) -> Value {
    let (status, list) = gateway.get("/api/v1/provisioning");
    assert_eq!(status, 200, "{list}");
    let items = list["items"].as_array().unwrap();
    items.iter().find(|item| item["archetype"] == "banshee").cloned().unwrap_or_default()
}

fn wait(gateway: &Gateway, what: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let now = way(gateway);
        if what(&now) {
            return now;
        }
        assert!(now["state"] != "rejected" && start.elapsed() < PATIENCE, "{now}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A client that has joined a banshee, and whether that has no adapters.
async fn joined(gateway: &Gateway, player: &str, npc: &str) -> (Client, bool) {
    let mut client = Client::identified(&gateway.address, player).await.unwrap();
    client.send("npc.join", json!({"npc": npc, "archetype": "banshee"})).await.unwrap();
    let joined = client.until("npc.joined").await.unwrap();
    (client, joined["chain"]["generic"].as_bool().unwrap())
}

/// The adapters that a line is answered with; it ends well.
async fn adapters(client: &mut Client, npc: &str, turn: &str) -> Value {
    client.send("say", json!({"npc": npc, "turn": turn, "text": "What of the river?"})).await.unwrap();
    let started = client.until("turn.started").await.unwrap();
    let done = client.until("turn.done").await.unwrap();
    assert!(!done["text"].as_str().unwrap().is_empty(), "{done}");
    started["adapters"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banshee_answers_at_once_and_gets_adapters_of_its_own() {
    let world = World::new();
    let gateway = world.start();
    write_pack(&world.packs);
    let (mut client, generic) = joined(&gateway, "mina", "b").await;
    assert!(generic);
    assert_eq!(adapters(&mut client, "b", "before").await, json!([]));
    let step = |now: &Value| now["tasks"]["dialogue_style"]["step"].as_u64().unwrap_or(0);
    wait(&gateway, |now| step(now) > 0);
    // It answers while it is trained, too.
    assert_eq!(adapters(&mut client, "b", "during").await, json!([]));
    let end = wait(&gateway, |now| now["state"] == "available");
    let metrics = &end["tasks"]["emotional_response"]["metrics"];
    assert!(metrics["loss"].as_f64().unwrap() < metrics["base_loss"].as_f64().unwrap(), "{end}");
    // The next turn, of the same session and the same NPC.
    let used = adapters(&mut client, "b", "after").await;
    assert_eq!(
        (&used[0]["id"], &used[0]["version"]),
        (&json!("banshee.dialogue_style"), &json!("v1")),
        "{used}"
    );
    assert!(!joined(&gateway, "lucy", "c").await.1);
    gateway.stop();
    // What it has it keeps.
    let gateway = world.start();
    assert!(!joined(&gateway, "lucy", "c").await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_on_the_way_ends_there() {
    let world = World::new();
    write_pack(&world.packs);
    let gateway = world.start();
    drop(joined(&gateway, "mina", "b").await);
    wait(&gateway, |now| now["state"] == "training");
    gateway.kill();
    let gateway = world.start();
    wait(&gateway, |now| now["tasks"]["dialogue_style"]["step"].as_u64().unwrap_or(0) > 1);
    gateway.kill();
    let gateway = world.start();
    wait(&gateway, |now| now["tasks"]["emotional_response"]["step"].as_u64().unwrap_or(0) > 1);
    gateway.kill();
    let gateway = world.start();
    // As soon as it is no longer trained.
    wait(&gateway, |now| !["requested", "training"].contains(&now["state"].as_str().unwrap_or("requested")));
    gateway.kill();
    let gateway = world.start();
    wait(&gateway, |now| now["state"] == "available");
    let (mut client, generic) = joined(&gateway, "mina", "b").await;
    assert!(!generic);
    assert_eq!(adapters(&mut client, "b", "after").await[0]["id"], "banshee.dialogue_style");
}

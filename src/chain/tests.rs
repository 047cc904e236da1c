//! What needs no model: packs that come later, reasons, Redis. Versions that are loaded, promoted and taken back are
//! tested with the engine, in `tests/protocol/versions.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use npc_stores::Redis;
use tempfile::TempDir;

use super::*;
use crate::archetype::{PackAdapter, Task, VersionFiles, version_number};
use crate::config::Config;
use crate::engine::AdapterInfo;
use crate::wire::RouteReason;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A version as if an engine had loaded it.
pub(super) fn version(adapter: &PackAdapter) -> Version {
    let key: Arc<str> = Arc::from(adapter.key());
    let info = AdapterInfo {
        id: Arc::clone(&key),
        path: adapter.dir.clone(),
        rank: 4,
        targets: vec!["q_proj".into()],
        bytes: 100,
    };
    let files = VersionFiles {
        bytes: 10,
        rank: 4,
        targets: vec!["q_proj".into()],
        trained_on: None,
        metrics: None,
        sha256: "00".into(),
    };
    let number = version_number(&adapter.version).unwrap();
    Version { adapter: adapter.clone(), number, key, info, files, loaded_ms: 0 }
}

fn of(task: Task, number: u32) -> Arc<Version> {
    let version_name = format!("v{number}");
    let adapter =
        PackAdapter { id: format!("imp.{task}"), task, version: version_name, dir: PathBuf::from("nowhere") };
    Arc::new(version(&adapter))
}

fn pack(name: &str) -> String {
    format!(
        "name = {name:?}\ntitle = \"T\"\nnames = [\"Pip\"]\npersona = \"You are {{name}}.\"\noverload_lines = [\"Hee.\"]\n"
    )
}

fn put(folder: &Path, name: &str, text: &str) {
    fs::create_dir_all(folder.join(name)).unwrap();
    fs::write(folder.join(name).join("pack.toml"), text).unwrap();
}

/// Chains of a folder with the pack `imp`, without an engine.
async fn house() -> (TempDir, Arc<Chains>) {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "imp", &pack("imp"));
    let setup =
        Setup { folder: Some(folder.path().to_owned()), server: "server-1".into(), ..Setup::default() };
    let chains = Chains::open(setup).await.unwrap();
    (folder, chains)
}

#[tokio::test]
async fn a_pack_that_comes_later_is_found_when_it_is_wanted() {
    let (folder, chains) = house().await;
    assert!(chains.find("banshee").await.unwrap().is_none());
    put(folder.path(), "banshee", &pack("banshee"));
    let (one, other) = tokio::join!(chains.find("banshee"), chains.find("banshee"));
    let (one, other) = (one.unwrap().unwrap(), other.unwrap().unwrap());
    assert!(Arc::ptr_eq(&one, &other), "one of it, however many ask");
    assert_eq!(chains.names(), ["banshee", "imp"]);
    assert!(one.info("n").generic);
    // Those that nobody asks for are found too.
    put(folder.path(), "dryad", &pack("dryad"));
    chains.rescan().await;
    assert!(chains.get("dryad").is_some());
    // A pack that is gone stays until the server starts again: characters are made of it.
    fs::remove_dir_all(folder.path().join("dryad")).unwrap();
    chains.rescan().await;
    assert!(chains.get("dryad").is_some());
}

#[tokio::test]
async fn a_broken_pack_is_refused_with_its_reason_and_harms_nobody() {
    let (folder, chains) = house().await;
    put(folder.path(), "troll", &pack("troll").replace("\"Pip\"", ""));
    put(folder.path(), "ogre", &format!("{}[face.gains]\nAU99 = 1.0\n", pack("ogre")));
    put(folder.path(), "dryad", &pack("dryad"));
    put(folder.path(), "Sea Hag", &pack("hag"));
    let error = chains.find("troll").await.unwrap_err().to_string();
    assert!(
        error.contains("pack \"troll\" cannot be used") && error.contains("names: it has 0 entries"),
        "{error}"
    );
    chains.rescan().await;
    assert_eq!(chains.names(), ["dryad", "imp"]);
    let refused = chains.refused();
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["Sea Hag", "ogre", "troll"]);
    assert!(refused["Sea Hag"].contains("1 to 32 of a-z"), "{}", refused["Sea Hag"]);
    fs::remove_dir_all(folder.path().join("Sea Hag")).unwrap();
    chains.rescan().await;
    assert!(refused["ogre"].contains("face.gains.AU99"), "{}", refused["ogre"]);
    // Mended, it is as good as any.
    put(folder.path(), "troll", &pack("troll"));
    assert!(chains.find("troll").await.unwrap().is_some());
    assert_eq!(chains.refused().keys().collect::<Vec<_>>(), ["ogre"]);
    fs::remove_dir_all(folder.path().join("ogre")).unwrap();
    chains.rescan().await;
    assert!(chains.refused().is_empty());
    // At the start a broken pack is an error.
    put(folder.path(), "troll", "");
    let setup = Setup { folder: Some(folder.path().to_owned()), ..Setup::default() };
    assert!(Chains::open(setup).await.unwrap_err().to_string().contains("missing field"));
}

#[tokio::test]
async fn adapters_take_no_part_in_a_script() {
    let (folder, chains) = house().await;
    let dir = folder.path().join("imp/personality/v1");
    fs::create_dir_all(&dir).unwrap();
    for (file, text) in [("adapter_config.json", "{\"r\": 4}"), ("adapter_model.safetensors", "x")] {
        fs::write(dir.join(file), text).unwrap();
    }
    chains.rescan().await;
    let adapters = chains.adapters(None).await;
    let adapter = &adapters[0];
    assert_eq!((adapters.len(), adapter.id.as_str(), adapter.rank), (1, "imp.personality", 4));
    assert_eq!((adapter.state, adapter.bytes, adapter.memory_bytes), (InUse::Available, 1, None));
    assert!(chains.report("imp").unwrap().generic);
    let refused = chains.promote("imp", Task::Personality, 1).await.unwrap_err();
    assert!(matches!(refused, ChainError::Scripted), "{refused}");
    let refused = chains.rollback("imp", Task::Personality).await.unwrap_err();
    assert!(matches!(refused, ChainError::Scripted), "{refused}");
    // What its files say is told until they change.
    fs::write(dir.join("adapter_config.json"), "{").unwrap();
    let adapters = chains.adapters(Some("imp")).await;
    assert_eq!((adapters[0].state, adapters[0].rank), (InUse::Refused, 0));
    assert!(adapters[0].error.as_ref().unwrap().starts_with("adapter_config.json: "), "{adapters:?}");
}

#[test]
fn a_turn_keeps_what_it_began_with_and_says_why() {
    let link = |number| Link { promoted: Some(of(Task::Personality, number)), canary: None };
    let first = Arc::new(Chain { links: BTreeMap::from([(Task::Personality, link(1))]), since_ms: 0 });
    let routes = Routes::new(Arc::clone(&first), "n");
    let told = |routes: &Routes, wants: &[Task], used: &[Task]| {
        reason(routes, wants.iter().copied(), used.iter().copied())
    };
    let both = [Task::Personality, Task::DialogueStyle];
    assert_eq!(routes.adapter(Task::Personality).unwrap().number, 1);
    assert!(routes.adapter(Task::DialogueStyle).is_none());
    assert_eq!(told(&routes, &both, &both[..1]), RouteReason::Promoted);
    assert_eq!(told(&routes, &both, &[]), RouteReason::Weights);
    assert_eq!(told(&routes, &[Task::WorldKnowledge], &[]), RouteReason::NoAdapter);
    assert_eq!(told(&Routes::new(Arc::default(), "n"), &both, &[]), RouteReason::NoChain);
    // A trial: some have it, the others do not, and each always.
    let canary = Canary { version: of(Task::Personality, 2), share: 0.5 };
    let link = Link { canary: Some(canary), ..link(1) };
    let second = Arc::new(Chain { links: BTreeMap::from([(Task::Personality, link)]), since_ms: 1 });
    let mut seen = [0, 0];
    for npc in (0..200).map(|n| format!("npc-{n}")) {
        let routes = Routes::new(Arc::clone(&second), &npc);
        let number = routes.adapter(Task::Personality).unwrap().number;
        seen[number as usize - 1] += 1;
        let wanted = if number == 2 { RouteReason::Canary } else { RouteReason::Promoted };
        assert_eq!(told(&routes, &both, &both[..1]), wanted);
        assert_eq!(Routes::new(Arc::clone(&second), &npc).adapter(Task::Personality).unwrap().number, number);
        assert_eq!(routes.info("imp").tasks["personality"].version, format!("v{number}"));
    }
    assert!(seen[0] > 60 && seen[1] > 60, "{seen:?}");
    // What began before goes on as it was.
    assert_eq!(routes.adapter(Task::Personality).unwrap().number, 1);

    let reasons = Reasons::default();
    reasons.count(RouteReason::Canary);
    reasons.count(RouteReason::Canary);
    reasons.count(RouteReason::Blocked);
    let counts: Vec<_> = reasons.counts().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counts, [(RouteReason::Canary, 2), (RouteReason::Blocked, 1)]);
}

/// Waits until it is so.
async fn until(what: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !what().await {
        assert!(start.elapsed() < PATIENCE, "not in a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn with_redis(url: &str) -> config::History {
    Config::load(None, std::iter::empty(), &[format!("history.redis_url={url}")]).unwrap().history
}

#[tokio::test]
async fn redis_knows_who_hosts_what_until_they_go() {
    let redis = Redis::start();
    let (folder, chains) = house().await;
    chains.publish(&with_redis(&redis.url())).unwrap();
    let hosts = async |chains: &Chains, name: &str| -> Vec<String> {
        let hosts = chains.hosts().await.unwrap_or_default();
        hosts.get(name).into_iter().flatten().map(|host| host.server.clone()).collect()
    };
    until(async || hosts(&chains, "imp").await == ["server-1"]).await;
    // It is there under the name that others look for, and goes by itself.
    let life: i64 = redis.command(&["PTTL", "archetype_chain:imp"])[1..].parse().unwrap();
    assert!((3_000_000..=3_600_000).contains(&life), "{life}");
    let entry = chains.hosts().await.unwrap().remove("imp").unwrap().remove(0).chain;
    assert_eq!(
        (&entry["name"], &entry["server"], &entry["generic"]),
        (&"imp".into(), &"server-1".into(), &true.into())
    );

    // Another server with the same packs, and one of its own.
    put(folder.path(), "dryad", &pack("dryad"));
    let setup =
        Setup { folder: Some(folder.path().to_owned()), server: "server-2".into(), ..Setup::default() };
    let other = Chains::open(setup).await.unwrap();
    other.publish(&with_redis(&redis.url())).unwrap();
    until(async || hosts(&chains, "imp").await == ["server-1", "server-2"]).await;
    assert_eq!(hosts(&chains, "dryad").await, ["server-2"]);
    // What has come since is told at once.
    chains.find("dryad").await.unwrap().unwrap();
    until(async || hosts(&other, "dryad").await == ["server-1", "server-2"]).await;
    // Who goes takes it back; who went without a word is believed no longer than it said.
    other.close().await;
    assert_eq!(hosts(&chains, "imp").await, ["server-1"]);
    let stale = r#"{"name":"imp","expires_ms":1}"#;
    redis.command(&["HSET", "archetype_chain:imp", "server-3", stale]);
    assert_eq!(hosts(&chains, "imp").await, ["server-1"]);
    chains.changed.notify_one();
    until(async || redis.command(&["HEXISTS", "archetype_chain:imp", "server-3"]) == ":0").await;
    chains.close().await;
    assert_eq!(redis.command(&["EXISTS", "archetype_chain:imp"]), ":0");
}

#[tokio::test]
async fn chains_go_on_without_redis_and_are_told_again_when_it_is_back() {
    let mut redis = Redis::start();
    let (folder, chains) = house().await;
    chains.publish(&with_redis(&redis.url())).unwrap();
    let told = async |name: &str| chains.hosts().await.is_some_and(|hosts| hosts.contains_key(name));
    until(async || told("imp").await).await;
    redis.stop();
    until(async || chains.hosts().await.is_none()).await;
    // Nothing waits for it.
    put(folder.path(), "dryad", &pack("dryad"));
    assert!(chains.find("dryad").await.unwrap().is_some());
    redis.restart();
    until(async || told("imp").await && told("dryad").await).await;
    // It lost everything, and its connections not.
    redis.command(&["FLUSHALL"]);
    until(async || told("imp").await && told("dryad").await).await;
    // One that does not answer at all keeps nobody.
    redis.freeze();
    chains.close().await;
    redis.thaw();
}

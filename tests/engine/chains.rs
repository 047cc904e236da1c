//! Versions of adapters come into use and go out of it, with the model that they are for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use npc_gateway::archetype::Task;
use npc_gateway::chain::{ChainError, Chains, InUse, Setup};
use npc_gateway::engine::Engine;
use tempfile::TempDir;

use super::pool::write_adapter;
use super::support::{config, library, model_dir};

const PACK: &str = "name = \"imp\"\ntitle = \"Imp\"\nnames = [\"Pip\"]\npersona = \"You are {name}.\"\noverload_lines = [\"Hee.\"]\n";

/// A folder with the pack `imp`.
fn packs() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("imp")).unwrap();
    fs::write(folder.path().join("imp/pack.toml"), PACK).unwrap();
    folder
}

/// A version of an adapter, of noise of its own.
fn add(packs: &Path, task: Task, number: u64) -> std::path::PathBuf {
    let dir = packs.join("imp").join(task.name()).join(format!("v{number}"));
    write_adapter(&dir, number);
    dir
}

fn engine() -> Engine {
    Engine::start(&model_dir(), &library(), &config()).unwrap()
}

fn setup(packs: &Path, data: &Path, engine: &Engine) -> Setup {
    Setup {
        folder: Some(packs.to_owned()),
        engine: Some(engine.clone()),
        memory: 512 << 20,
        data: Some(data.to_owned()),
        server: "test".into(),
    }
}

/// The version in use, and the one on trial.
fn in_use(chains: &Chains, task: Task) -> (Option<u32>, Option<u32>) {
    let chain = chains.get("imp").unwrap().chain();
    let link = chain.links.get(&task);
    let canary = link.and_then(|link| link.canary.as_ref()).map(|canary| canary.version.number);
    (link.and_then(|link| link.promoted.as_ref()).map(|version| version.number), canary)
}

/// What the engine knows.
fn known(engine: &Engine) -> Vec<String> {
    engine.adapters().iter().map(|adapter| adapter.id.to_string()).collect()
}

const TASK: Task = Task::Personality;

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_checked_promoted_and_taken_back_and_it_is_remembered() {
    let (packs, data) = (packs(), tempfile::tempdir().unwrap());
    add(packs.path(), TASK, 1);
    add(packs.path(), TASK, 2);
    let wrong = add(packs.path(), TASK, 3);
    fs::write(wrong.join("adapter_config.json"), r#"{"peft_type":"LORA","r":4,"lora_alpha":16}"#).unwrap();
    let worse = add(packs.path(), TASK, 4);
    fs::write(worse.join("metrics.json"), r#"{"loss":3.5,"base_loss":3.0}"#).unwrap();
    let first = engine();
    let chains = Chains::open(setup(packs.path(), data.path(), &first)).await.unwrap();
    assert_eq!(in_use(&chains, TASK), (Some(2), None), "the highest that passes its checks");
    assert_eq!(known(&first), ["imp.personality@v2"]);

    // What fails its checks is never promoted, and nothing changes.
    let error = chains.promote("imp", TASK, 3).await.unwrap_err().to_string();
    assert!(
        error.starts_with("imp.personality@v3 cannot be used: ") && error.contains("has shape"),
        "{error}"
    );
    let error = chains.promote("imp", TASK, 4).await.unwrap_err().to_string();
    assert!(error.contains("its loss is 3.5, that of the base model alone 3"), "{error}");
    let error = chains.canary("imp", TASK, 4, 0.5).await.unwrap_err();
    assert!(matches!(error, ChainError::Worse { .. }), "{error}");
    let error = chains.promote("imp", TASK, 9).await.unwrap_err().to_string();
    assert!(error.ends_with("no version v9 that is complete; it has: v1, v2, v3, v4"), "{error}");
    let error = chains.promote("elf", TASK, 1).await.unwrap_err();
    assert!(matches!(error, ChainError::UnknownArchetype { .. }), "{error}");
    let error = chains.rollback("imp", TASK).await.unwrap_err();
    assert!(matches!(error, ChainError::NothingBefore { .. }), "{error}");
    assert_eq!((in_use(&chains, TASK), known(&first).len()), ((Some(2), None), 1));

    chains.promote("imp", TASK, 1).await.unwrap();
    assert_eq!(in_use(&chains, TASK), (Some(1), None));
    // The one before is kept for a rollback.
    assert_eq!(known(&first), ["imp.personality@v1", "imp.personality@v2"]);
    chains.canary("imp", TASK, 2, 0.25).await.unwrap();
    assert_eq!(in_use(&chains, TASK), (Some(1), Some(2)));
    let states = |reports: Vec<npc_gateway::chain::AdapterReport>| -> Vec<_> {
        reports.into_iter().map(|report| (report.version, report.state, report.share)).collect()
    };
    let told = states(chains.adapters(Some("imp")).await);
    assert_eq!(told[0], ("v1".into(), InUse::Promoted, None));
    assert_eq!(told[1], ("v2".into(), InUse::Canary, Some(0.25)));
    assert_eq!((told[2].1, told[3].1), (InUse::Available, InUse::Refused));

    // Another process goes on with it.
    let second = engine();
    let again = Chains::open(setup(packs.path(), data.path(), &second)).await.unwrap();
    assert_eq!(in_use(&again, TASK), (Some(1), Some(2)));
    drop(again);

    chains.rollback("imp", TASK).await.unwrap();
    assert_eq!(in_use(&chains, TASK), (Some(1), None), "the trial has ended");
    chains.rollback("imp", TASK).await.unwrap();
    assert_eq!(in_use(&chains, TASK), (Some(2), None));
    assert!(chains.rollback("imp", TASK).await.is_err());
    chains.promote("imp", TASK, 1).await.unwrap();

    // The file of what was promoted is damaged: the version before is used, and the promotion is not forgotten.
    fs::write(packs.path().join("imp/personality/v1/adapter_model.safetensors"), "x").unwrap();
    let third = engine();
    let again = Chains::open(setup(packs.path(), data.path(), &third)).await.unwrap();
    assert_eq!(in_use(&again, TASK), (Some(2), None));
    add(packs.path(), TASK, 1);
    let fourth = engine();
    let again = Chains::open(setup(packs.path(), data.path(), &fourth)).await.unwrap();
    assert_eq!(in_use(&again, TASK), (Some(1), None));

    // What a pack pins wins.
    let pinned = format!("{PACK}[versions]\npersonality = \"v2\"\n");
    fs::write(packs.path().join("imp/pack.toml"), pinned).unwrap();
    let fifth = engine();
    let again = Chains::open(setup(packs.path(), data.path(), &fifth)).await.unwrap();
    assert_eq!(in_use(&again, TASK), (Some(2), None));
    let error = again.promote("imp", TASK, 1).await.unwrap_err().to_string();
    assert_eq!(error, "pack.toml of \"imp\" pins the personality adapter to v2");

    // A file that cannot be read is no reason to go on with other versions.
    fs::write(data.path().join("adapters.json"), "{").unwrap();
    let error = Chains::open(setup(packs.path(), data.path(), &fifth)).await.unwrap_err().to_string();
    assert!(error.contains("adapters.json"), "{error}");
    for engine in [first, second, third, fourth, fifth] {
        engine.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_of_the_first_version_stays_one_after_a_restart() {
    let (packs, data) = (packs(), tempfile::tempdir().unwrap());
    let (first, second) = (engine(), engine());
    let chains = Chains::open(setup(packs.path(), data.path(), &first)).await.unwrap();
    add(packs.path(), TASK, 1);
    chains.canary("imp", TASK, 1, 0.1).await.unwrap();
    assert_eq!(in_use(&chains, TASK), (None, Some(1)));
    let chains = Chains::open(setup(packs.path(), data.path(), &second)).await.unwrap();
    assert_eq!(in_use(&chains, TASK), (None, Some(1)));
    first.stop();
    second.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tasks_change_together_and_a_version_stays_as_long_as_a_turn_has_it() {
    const BOTH: [Task; 2] = [Task::Personality, Task::DialogueStyle];
    let (packs, data) = (packs(), tempfile::tempdir().unwrap());
    for task in BOTH {
        add(packs.path(), task, 1);
    }
    let engine = engine();
    let chains = Chains::open(setup(packs.path(), data.path(), &engine)).await.unwrap();
    let archetype = chains.get("imp").unwrap();
    let turn = archetype.routes("n");
    // Versions that come while it runs.
    for (task, number) in [(BOTH[0], 2), (BOTH[1], 2), (BOTH[0], 3), (BOTH[1], 3)] {
        add(packs.path(), task, number);
    }
    let all = |number: u32| BTreeMap::from(BOTH.map(|task| (task, number)));
    chains.promote_all("imp", &all(2)).await.unwrap();
    chains.promote_all("imp", &all(3)).await.unwrap();
    for task in BOTH {
        assert_eq!(in_use(&chains, task), (Some(3), None));
        assert_eq!(turn.adapter(task).unwrap().number, 1, "a turn goes on with what it began with");
    }
    assert_eq!(known(&engine).len(), 6);
    drop(turn);
    chains.rescan().await;
    let left = ["dialogue_style@v2", "dialogue_style@v3", "personality@v2", "personality@v3"];
    assert_eq!(
        known(&engine),
        left.map(|key| format!("imp.{key}")),
        "nobody can get to v1 but by a promotion"
    );
    chains.rollback_all("imp", &BOTH).await.unwrap();
    assert_eq!((in_use(&chains, BOTH[0]).0, in_use(&chains, BOTH[1]).0), (Some(2), Some(2)));

    // One of two that is not there: neither changes.
    let mixed = BTreeMap::from([(BOTH[0], 3), (BOTH[1], 7)]);
    assert!(chains.promote_all("imp", &mixed).await.is_err());
    assert_eq!((in_use(&chains, BOTH[0]).0, in_use(&chains, BOTH[1]).0), (Some(2), Some(2)));
    // What cannot be kept is not done.
    let kept = fs::read(data.path().join("adapters.json")).unwrap();
    fs::remove_dir_all(data.path()).unwrap();
    fs::write(data.path(), "no folder").unwrap();
    let error = chains.promote_all("imp", &all(3)).await.unwrap_err().to_string();
    assert!(
        error.starts_with("what is promoted cannot be kept: ") && error.contains("adapters.json"),
        "{error}"
    );
    assert_eq!(in_use(&chains, BOTH[0]).0, Some(2));
    fs::remove_file(data.path()).unwrap();
    fs::create_dir(data.path()).unwrap();
    fs::write(data.path().join("adapters.json"), kept).unwrap();
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_together_is_not_promoted() {
    let (packs, data) = (packs(), tempfile::tempdir().unwrap());
    add(packs.path(), Task::Personality, 1);
    let engine = engine();
    let bytes = engine.load_adapter("probe", &packs.path().join("imp/personality/v1")).await.unwrap().bytes;
    engine.drop_adapter("probe").unwrap();
    let tight = Setup { memory: bytes * 3 / 2, ..setup(packs.path(), data.path(), &engine) };
    let chains = Chains::open(tight).await.unwrap();
    assert_eq!(in_use(&chains, Task::Personality).0, Some(1));
    add(packs.path(), Task::DialogueStyle, 1);
    add(packs.path(), Task::EmotionalResponse, 1);
    let error = chains.promote("imp", Task::DialogueStyle, 1).await.unwrap_err();
    assert!(matches!(error, ChainError::TooLarge { .. }), "{error}");
    // It takes no part in a line.
    chains.promote("imp", Task::EmotionalResponse, 1).await.unwrap();
    assert_eq!(known(&engine), ["imp.emotional_response@v1", "imp.personality@v1"]);
    drop(chains);
    // A server that starts with it leaves out what speaks.
    let other = Engine::start(&model_dir(), &library(), &config()).unwrap();
    let tight = Setup {
        memory: bytes * 3 / 2,
        engine: Some(other.clone()),
        ..setup(packs.path(), data.path(), &other)
    };
    let chains: Arc<Chains> = Chains::open(tight).await.unwrap();
    assert_eq!(in_use(&chains, Task::Personality).0, None);
    assert_eq!(in_use(&chains, Task::EmotionalResponse).0, Some(1));
    engine.stop();
    other.stop();
}

//! A server that is killed with SIGKILL at every point at which something is written, and is started again.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use super::*;
use crate::provision::{Cause, Refusal, State, fault};

/// Where a life is lived.
const PLACE: &str = "NPC_GATEWAY_TEST_LIFE";
/// At which point it ends; absent: at none.
const END: &str = "NPC_GATEWAY_TEST_LIFE_END";

/// A server's life: asks for the archetype if nobody has, and works until it has ended. Run by the test below, as a
/// process of its own.
#[tokio::test(flavor = "current_thread")]
#[ignore = "a part of the test below, which runs it as a process that is killed"]
async fn a_life() {
    let Some(root) = std::env::var_os(PLACE) else { return };
    let place = Place::new(Path::new(&root));
    if let Some(end) = std::env::var(END).ok().and_then(|end| end.parse().ok()) {
        fault::kill_at(end);
    }
    let provisioner = place.open(place.setup(""));
    if provisioner.record("banshee").is_none_or(|record| record.state == State::Rejected) {
        match provisioner.request("banshee", Cause::Asked).await {
            Ok(_) | Err(Refusal::Running { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let record = until_the_end(&provisioner, "banshee").await;
    assert_eq!((record.state, record.reason), (State::Available, None));
}

fn live(root: &Path, end: Option<u32>) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = concat!(module_path!(), "::a_life");
    // Without the crate's name, as the test is known by.
    let name = name.split_once("::").unwrap().1;
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads", "1"]).env(PLACE, root);
    match end {
        Some(end) => command.env(END, end.to_string()),
        None => command.env_remove(END),
    };
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let killed = output.status.signal() == Some(9);
    assert!(killed || text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    output.status
}

/// Whether it ended well, with every adapter there once.
fn check(place: &Place, when: &str) {
    let record = place.open(place.setup("")).record("banshee").unwrap();
    assert_eq!(record.state, State::Available, "{when}");
    for task in ["dialogue_style", "action_policy"] {
        assert_eq!(place.names(&format!("packs/banshee/{task}")), ["v1"], "{when}");
        assert_eq!(place.names(&format!("packs/banshee/{task}/v1")).len(), 3, "{when}");
    }
    let trained = place.log("trainer.log");
    assert!(!trained.contains(&"two trainers at once".to_owned()), "{when}: {trained:?}");
    let times = |line: &str| trained.iter().filter(|other| *other == line).count();
    // Killed between the last word of a trainer and its note of it, it is trained once and not noted.
    assert!(
        times("trained dialogue_style") <= 1 && times("trained action_policy") <= 1,
        "{when}: {trained:?}"
    );
    assert!(place.log("asked").last().unwrap().starts_with("promote banshee"), "{when}");
    assert_eq!(place.names("data/provision"), ["banshee.json"], "{when}");
}

#[test]
fn a_server_that_is_killed_anywhere_ends_with_the_adapters_all_the_same() {
    let mut killed = BTreeMap::new();
    for end in 0.. {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path());
        place.pack("banshee");
        if live(root.path(), Some(end)).success() {
            break;
        }
        let stopped = place.open(place.setup("")).record("banshee").map(|record| record.state);
        *killed.entry(stopped).or_insert(0) += 1;
        assert!(live(root.path(), None).success());
        check(&place, &format!("killed at point {end}"));
    }
    let states = [State::Requested, State::Training, State::Evaluating, State::Loading, State::Registered];
    for state in states.map(Some).into_iter().chain([None, Some(State::Available)]) {
        assert!(killed.contains_key(&state), "never killed in {state:?}: {killed:?}");
    }
}

#[test]
fn a_server_that_is_killed_again_and_again_ends_too() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(root.path());
    place.pack("banshee");
    let mut lives = 1;
    // Each life does at least a little more than it takes to come back to where the last one was.
    while !live(root.path(), Some(12)).success() {
        lives += 1;
        assert!(lives < 100, "it does not come forward");
    }
    assert!(lives > 2, "{lives}");
    check(&place, "killed again and again");
}

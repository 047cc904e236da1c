//! How it may go.

use super::*;
use crate::provision::{Cause, Refusal, State};

fn place() -> (tempfile::TempDir, Place) {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(root.path());
    place.pack("banshee");
    (root, place)
}

#[tokio::test]
async fn lines_become_adapters_that_turns_use() {
    let (_root, place) = place();
    let provisioner = place.open(place.setup(""));
    let asked = provisioner.request("banshee", Cause::Asked).await.unwrap();
    assert_eq!((asked.state, asked.tasks.len()), (State::Requested, 2));
    let record = until_the_end(&provisioner, "banshee").await;
    assert_eq!((record.state, record.reason), (State::Available, None));
    for task in record.tasks.values() {
        let progress = task.progress.unwrap();
        assert_eq!((progress.step, progress.steps, task.version), (3, 3, Some(1)));
        assert_eq!((task.metrics.as_ref().unwrap().loss, task.rejected.as_deref()), (Some(1.5), None));
    }
    let trained = place.log("trainer.log");
    assert_eq!(trained, ["nice 19 threads 1", "trained dialogue_style", "trained action_policy"]);
    let asked = place.log("asked");
    let promoted = "promote banshee dialogue_style v1 action_policy v1";
    let loads = ["load banshee dialogue_style v1", "load banshee action_policy v1"];
    assert_eq!(asked, [&loads[..], &loads[..], &[promoted]].concat());
    assert_eq!(place.names("data/provision"), ["banshee.json"]);
    assert_eq!(place.names("packs/banshee/dialogue_style"), ["v1"]);

    // Again, with the adapters that are there: another version.
    provisioner.request("banshee", Cause::Asked).await.unwrap();
    let record = until_the_end(&provisioner, "banshee").await;
    assert_eq!(record.accepted().map(|(_, version)| version).collect::<Vec<_>>(), [Some(2); 2]);
}

#[tokio::test]
async fn what_is_not_better_than_the_base_model_is_left_out_with_its_numbers() {
    let (_root, place) = place();
    let provisioner = place.open(place.setup("worse action_policy"));
    provisioner.request("banshee", Cause::Asked).await.unwrap();
    let record = until_the_end(&provisioner, "banshee").await;
    assert_eq!(record.state, State::Available);
    let reason = record.tasks[&Task::ActionPolicy].rejected.clone().unwrap();
    assert!(reason.contains("4 held-out lines is 3.500, the base model's 3.000"), "{reason}");
    assert_eq!(place.log("asked").last().unwrap(), "promote banshee dialogue_style v1");
    assert_eq!(place.names("packs/banshee/action_policy"), Vec::<String>::new());

    let provisioner = place.open(place.setup("worse"));
    provisioner.request("banshee", Cause::Asked).await.unwrap();
    let record = until_the_end(&provisioner, "banshee").await;
    assert_eq!(record.state, State::Rejected);
    let reason = record.reason.unwrap();
    assert!(
        reason.contains("dialogue_style: not better") && reason.contains("action_policy: not"),
        "{reason}"
    );
    assert_eq!(place.names("packs/banshee/dialogue_style"), ["v1"]);
}

#[tokio::test]
async fn a_trainer_that_fails_is_quoted() {
    for (how, words) in
        [("bad", "lines/dialogue_style.jsonl: line 7: no role"), ("fail", "warming up out of memory")]
    {
        let (_root, place) = place();
        let provisioner = place.open(place.setup(how));
        provisioner.request("banshee", Cause::Asked).await.unwrap();
        let record = until_the_end(&provisioner, "banshee").await;
        assert_eq!((record.state, record.reason.as_deref()), (State::Rejected, Some(words)));
        assert_eq!(place.names("data/provision"), ["banshee.json"], "what it wrote is gone");
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_named() {
    let (_root, place) = place();
    let mut setup = place.setup("");
    setup.trainer.program = place.at("missing");
    let provisioner = place.open(setup);
    provisioner.request("banshee", Cause::Asked).await.unwrap();
    let reason = until_the_end(&provisioner, "banshee").await.reason.unwrap();
    assert!(reason.contains("missing: "), "{reason}");
}

#[tokio::test]
async fn a_training_is_bounded_in_time_and_on_the_disk() {
    for (how, limits, named) in [
        ("hang", Limits { bytes: 1 << 20, time: Duration::from_millis(1) }, "provision.max_minutes"),
        ("fill", Limits { bytes: 1 << 20, time: PATIENCE }, "provision.max_mb"),
    ] {
        let (_root, place) = place();
        let provisioner = place.open(Setup { limits, ..place.setup(how) });
        provisioner.request("banshee", Cause::Asked).await.unwrap();
        let record = until_the_end(&provisioner, "banshee").await;
        let reason = record.reason.unwrap();
        assert!(record.state == State::Rejected && reason.contains(named), "{reason}");
        assert_eq!(place.names("data/provision"), ["banshee.json"]);
    }
}

#[tokio::test]
async fn an_adapter_that_does_not_load_is_taken_out_again() {
    let (_root, place) = place();
    let refusing = Noting { place: place.root.clone(), refuses: Some(Task::DialogueStyle) };
    let provisioner = Provisioner::open(place.setup(""), Arc::new(refusing)).unwrap();
    provisioner.request("banshee", Cause::Asked).await.unwrap();
    let record = until_the_end(&provisioner, "banshee").await;
    assert_eq!(record.state, State::Available);
    assert_eq!(record.tasks[&Task::DialogueStyle].rejected.as_deref(), Some("its shapes do not fit"));
    assert_eq!(place.names("packs/banshee/dialogue_style"), Vec::<String>::new());
    assert_eq!(place.log("asked").last().unwrap(), "promote banshee action_policy v1");
}

#[tokio::test]
async fn what_cannot_be_provisioned_is_refused_clearly() {
    let (_root, place) = place();
    fs::create_dir_all(place.at("packs/mute")).unwrap();
    fs::write(place.at("packs/mute/pack.toml"), "").unwrap();
    for archetype in ["wraith", "wight"] {
        place.pack(archetype);
    }
    let provisioner = place.open(place.setup(""));
    let refused = async |archetype: &str| provisioner.request(archetype, Cause::Asked).await.unwrap_err();
    assert_eq!(refused("unicorn").await, Refusal::NoPack("unicorn".into()));
    assert_eq!(refused("../packs/banshee").await, Refusal::NoPack("../packs/banshee".into()));
    let mute = refused("mute").await;
    assert!(mute.to_string().contains("nothing to train on: write lines"), "{mute}");
    provisioner.request("banshee", Cause::Asked).await.unwrap();
    let twice = refused("banshee").await;
    assert_eq!(twice.to_string(), "archetype \"banshee\" is being provisioned already: it is requested");
    provisioner.request("wraith", Cause::Asked).await.unwrap();
    assert_eq!(refused("wight").await, Refusal::Full(2));
    // Room again, once the first one has begun.
    until_the_end(&provisioner, "banshee").await;
    provisioner.request("wight", Cause::Asked).await.unwrap();
    let built_in = place.open(Setup { packs: None, ..place.setup("") });
    assert_eq!(built_in.request("banshee", Cause::Asked).await.unwrap_err(), Refusal::NoFolder);
}

#[tokio::test]
async fn the_first_player_who_meets_one_starts_it() {
    let (_root, place) = place();
    let off = place.open(Setup { auto: false, ..place.setup("") });
    off.request_if_bare("unicorn").await;
    off.met("banshee");
    assert_eq!(off.records(), []);
    let provisioner = place.open(place.setup(""));
    for _ in 0..3 {
        provisioner.met("banshee");
    }
    let record = until_the_end(&provisioner, "banshee").await;
    assert_eq!((record.state, record.cause), (State::Available, Cause::Met));
    // It has adapters now, and what has them is left alone.
    let again = place.open(Setup { data: place.at("other"), ..place.setup("") });
    again.request_if_bare("banshee").await;
    assert_eq!(again.records(), []);
}

#[tokio::test]
async fn a_server_that_stops_lets_its_trainer_go_on_later() {
    let (_root, place) = place();
    let provisioner = place.open(place.setup("hang"));
    provisioner.request("banshee", Cause::Asked).await.unwrap();
    let stepped = |record: &Record| record.tasks.values().any(|task| task.progress.is_some());
    let stopped = until(&provisioner, "banshee", stepped).await;
    assert_eq!(stopped.state, State::Training);
    drop(provisioner);
    let provisioner = place.open(place.setup(""));
    let record = until_the_end(&provisioner, "banshee").await;
    assert_eq!(record.state, State::Available);
    let log = place.log("trainer.log");
    assert!(!log.contains(&"two trainers at once".to_owned()), "{log:?}");
}

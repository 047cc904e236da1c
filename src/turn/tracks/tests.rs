//! Whole turns, from a line to its end, with everything that is told in them.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::super::{Cut, Say, TurnEvent, Turns, now_ms};
use crate::archetype::Packs;
use crate::chain::Chains;
use crate::config::Config;
use crate::engine::Script;
use crate::history::{History, HotLimits};
use crate::npc::Npcs;
use crate::wire::{Action, FaceKey, NpcJoin, TurnCancelled, TurnDone};

const ACTIONS: [&str; 5] = ["bow", "draw_sword", "flee", "offer_wine", "wait"];
const WORDS: [&str; 16] = [
    "blood",
    "Master,",
    "the",
    "moon.",
    "No!",
    "why?",
    "été",
    "夜は長い。",
    "wolf…",
    "\"Run!\"",
    "boom",
    "🙂",
    "a",
    "x",
    "Mr.",
    "3.5",
];

struct House {
    turns: Arc<Turns>,
    script: Script,
    _data: tempfile::TempDir,
}

impl House {
    /// A gateway's turns, whose NPCs say these lines.
    async fn open(lines: &str, sets: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let script = data.path().join("script.txt");
        std::fs::write(&script, lines).unwrap();
        let fixed = ["engine.script_tokens_per_second=0".to_owned(), "turn.max_tokens=1000".to_owned()];
        let script = format!("engine.script_file={}", script.display());
        let sets: Vec<_> =
            fixed.into_iter().chain([script]).chain(sets.iter().map(|&set| set.to_owned())).collect();
        let config = Config::load(None, std::iter::empty(), &sets).unwrap();
        let limits = HotLimits { conversations: 100, window_min: 5, window_max: 10 };
        let history = History::open(data.path(), &config.history, limits).unwrap();
        let packs = Packs::load(None).unwrap();
        let npcs =
            Arc::new(Npcs::new(Chains::generic(&packs).unwrap(), config.npc.clone(), Arc::clone(&history)));
        for archetype in packs.names() {
            let join = NpcJoin {
                npc: archetype.into(),
                archetype: Some(archetype.into()),
                name: None,
                seed: Some(7),
                personality: None,
            };
            npcs.join(&join, true).await.unwrap();
        }
        let script = Script::start(&config.engine).unwrap();
        let turns = Turns::new(script.clone(), npcs, history, &config).unwrap();
        Self { turns, script, _data: data }
    }

    /// Says something; after `cancel` events it is cancelled at what that tells. Returns all that was told.
    async fn say(&self, npc: &str, turn: &str, seed: u64, cancel: Option<(usize, Option<u64>)>) -> Told {
        let action = |name: &&str| Action { name: (*name).to_owned(), description: "does it".into() };
        let mut events = self
            .turns
            .say(Say {
                player: "anna".into(),
                npc: npc.into(),
                turn: turn.into(),
                session: None,
                text: "I brought you a gift.".into(),
                context: None,
                generation: Some(crate::wire::GenerationOptions { seed: Some(seed), ..Default::default() }),
                mix: None,
                audience: None,
                actions: ACTIONS.iter().map(action).collect(),
                at_ms: now_ms(),
            })
            .unwrap();
        let (mut told, mut taken) = (Told::default(), Vec::new());
        let mut cancel = cancel;
        while events.recv_many(&mut taken, 1).await > 0 {
            told.events.append(&mut taken);
            if let Some((_, heard)) = cancel.take_if(|(after, _)| told.events.len() > *after) {
                told.late = self.turns.cancel("anna", turn, heard).unwrap();
            }
        }
        told
    }
}

#[derive(Debug, Default)]
struct Told {
    events: Vec<TurnEvent>,
    /// The answer to a cancel that came after the end.
    late: Option<Cut>,
}

impl Told {
    fn done(&self) -> &TurnDone {
        match self.events.last() {
            Some(TurnEvent::Done(done)) => done,
            other => panic!("{other:?}"),
        }
    }

    fn text(&self) -> String {
        let text = |event: &TurnEvent| {
            if let TurnEvent::Delta(piece) = event { Some(piece.text.clone()) } else { None }
        };
        self.events.iter().filter_map(text).collect()
    }

    fn keys(&self) -> Vec<&FaceKey> {
        fn key(event: &TurnEvent) -> Option<&FaceKey> {
            if let TurnEvent::Face(key) = event { Some(key) } else { None }
        }
        self.events.iter().filter_map(key).collect()
    }

    fn cancelled(&self) -> Option<(usize, &TurnCancelled)> {
        self.events.iter().enumerate().find_map(|(at, event)| match event {
            TurnEvent::Cancelled(frame) => Some((at, &**frame)),
            _ => None,
        })
    }
}

/// In order, and inside the text.
fn in_order(points: impl IntoIterator<Item = (u64, u64)>, chars: u64, what: &Told) {
    let (mut offset, mut t_ms) = (0, 0);
    for (next, later) in points {
        assert!(next >= offset && later >= t_ms && next <= chars, "{next} {later} of {chars}: {what:?}");
        (offset, t_ms) = (next, later);
    }
}

fn check(told: &Told) {
    let events = &told.events;
    assert!(matches!(events[0], TurnEvent::Started(_)), "{told:?}");
    let text = told.text();
    let chars = text.chars().count() as u64;
    let mut offset = 0;
    for event in events {
        if let TurnEvent::Delta(piece) = event {
            assert_eq!(piece.offset, offset, "{told:?}");
            offset += piece.text.chars().count() as u64;
        }
        if let TurnEvent::Action(action) = event {
            assert!(ACTIONS.contains(&action.name.as_str()), "{action:?}");
        }
        assert!(!matches!(event, TurnEvent::Error(_)), "{event:?}");
    }
    macro_rules! points {
        ($kind:ident) => {
            events.iter().filter_map(|event| match event {
                TurnEvent::$kind(it) => Some((it.text_offset, it.t_ms)),
                _ => None,
            })
        };
    }
    in_order(points!(Emotion), chars, told);
    in_order(points!(Action), chars, told);
    in_order(points!(Social), chars, told);
    in_order(points!(Goal), chars, told);
    let keys = told.keys();
    // A cut may lie before keys that were told; up to it they are in order.
    let whole = keys.len() - usize::from(told.cancelled().is_some());
    in_order(keys[..whole].iter().map(|key| (key.text_offset, key.t_ms)), chars, told);
    let mut before = [0_u8; 52];
    for (i, key) in keys[..whole].iter().enumerate() {
        if let Some(next) = keys[..whole].get(i + 1) {
            assert!(key.t_ms + key.ease_ms <= next.t_ms, "{key:?} {next:?}");
        }
        // The quickest shape takes 70 ms for its whole range (`[limits]` in motion.toml).
        for (was, is) in before.iter().zip(key.w.iter()) {
            assert!(u64::from(was.abs_diff(*is)) * 70 <= 255 * key.ease_ms, "{key:?}");
        }
        before = *key.w;
    }
    let last = keys.last().unwrap_or_else(|| panic!("no face: {told:?}"));
    assert!(last.au.is_empty() && last.w.iter().all(|w| *w == 0), "{last:?}");

    let done = told.done();
    match told.cancelled() {
        None => assert_eq!(done.text, text),
        Some((at, frame)) => {
            // Behind a cancel nothing comes but the way to neutral, from there on, and the end.
            assert!(matches!(&events[at + 1..], [TurnEvent::Face(_), TurnEvent::Done(_)]), "{told:?}");
            let valid = frame.valid_through;
            assert_eq!((last.text_offset, last.t_ms), (valid.text_offset, valid.t_ms));
            assert!(last.ease_ms >= 200, "from any pose");
            assert_eq!(done.text, text.chars().take(valid.text_offset as usize).collect::<String>());
            taken_back(told, frame);
        }
    }
    if let Some(cut) = &told.late {
        let (valid, key) = (cut.cancelled.valid_through, cut.neutral.as_ref().unwrap());
        assert!(valid.text_offset <= chars);
        assert_eq!((key.text_offset, key.t_ms), (valid.text_offset, valid.t_ms));
        assert!(key.au.is_empty() && key.w.iter().all(|w| *w == 0));
        taken_back(told, &cut.cancelled);
    }
}

/// What has not begun where a turn was cut is taken back, and nothing else.
fn taken_back(told: &Told, frame: &TurnCancelled) {
    let later = told.events.iter().filter_map(|event| match event {
        TurnEvent::Action(action) if action.t_ms >= frame.valid_through.t_ms => Some(action.action.clone()),
        _ => None,
    });
    assert_eq!(frame.retracted, later.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_said_and_cancelled_all_tracks_agree() {
    let mut random = StdRng::seed_from_u64(6);
    let line = |random: &mut StdRng| {
        let words = (0..random.random_range(1..40)).map(|_| *WORDS.choose(random).unwrap());
        words.collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<_> = (0..200).map(|_| line(&mut random)).collect();
    let house = House::open(&lines.join("\n"), &["turn.action_floor=0.1"]).await;
    let npcs = ["vampire", "werewolf", "zombie", "ghoul", "lich"];
    let (mut cancelled, mut late, mut acted) = (0, 0, 0);
    for turn in 0..1000 {
        let cancel = random.random_bool(0.6).then(|| {
            let heard = random.random_bool(0.7).then(|| random.random_range(0..120));
            (random.random_range(0..60), heard)
        });
        let npc = npcs.choose(&mut random).unwrap();
        let told = house.say(npc, &format!("t{turn}"), random.random(), cancel).await;
        check(&told);
        cancelled += usize::from(told.cancelled().is_some());
        late += usize::from(told.late.is_some());
        acted += told.events.iter().filter(|event| matches!(event, TurnEvent::Action(_))).count();
    }
    // The test sees something.
    assert!(cancelled > 100 && late > 20 && acted > 500, "{cancelled} {late} {acted}");
    for task in crate::archetype::Task::ALL {
        assert_eq!(house.turns.missed().of(task), 0, "{task}");
    }
}

#[tokio::test]
async fn a_recorded_turn_has_all_tracks_on_one_clock() {
    let house = House::open("A gift? For me! You are too kind, my friend.", &["turn.action_floor=0.1"]).await;
    let told = house.say("vampire", "t1", 0, None).await;
    check(&told);
    // Times count from the first word: when that comes is not the turn's to say.
    let first = told
        .events
        .iter()
        .find_map(|event| if let TurnEvent::Delta(piece) = event { Some(piece.t_ms) } else { None });
    let first = first.unwrap();
    let at = |offset: u64, t_ms: u64| format!("{offset:>3} {:>5} ms", t_ms - first);
    let lines: Vec<String> = told
        .events
        .iter()
        .map(|event| match event {
            TurnEvent::Started(_) => "turn.started".into(),
            TurnEvent::Delta(piece) => {
                format!("{} dialogue.delta {:?}", at(piece.offset, piece.t_ms), piece.text)
            }
            TurnEvent::Emotion(it) => {
                format!("{} emotion {} {:.3}", at(it.text_offset, it.t_ms), it.label.name(), it.intensity)
            }
            TurnEvent::Face(key) => {
                let units: Vec<_> = key.au.iter().map(|(unit, value)| format!("{unit} {value}")).collect();
                format!(
                    "{} face.key in {} ms: {}",
                    at(key.text_offset, key.t_ms),
                    key.ease_ms,
                    units.join(", ")
                )
            }
            TurnEvent::Action(it) => {
                format!(
                    "{} action.proposed {} {} {:.3}",
                    at(it.text_offset, it.t_ms),
                    it.action,
                    it.name,
                    it.p
                )
            }
            TurnEvent::Social(it) => {
                let delta: Vec<_> = it.delta.iter().map(|(axis, by)| format!("{axis:?} {by:+.4}")).collect();
                format!("{} social {}", at(it.text_offset, first), delta.join(", "))
            }
            TurnEvent::Goal(it) => {
                let ranked: Vec<_> =
                    it.ranked.iter().map(|goal| format!("{} {:.3}", goal.id, goal.p)).collect();
                format!("{} goal {}", at(it.text_offset, first), ranked.join(", "))
            }
            TurnEvent::Done(done) => format!("turn.done {:?} {:?}", done.reason, done.text),
            other => panic!("{other:?}"),
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn what_became_of_the_npc_is_recorded() {
    let house = House::open("A gift? For me! You are too kind.", &["turn.action_floor=0.1"]).await;
    let told = house.say("vampire", "t1", 0, None).await;
    let record = house.turns.history().find("anna", "vampire", "t1").await.unwrap().unwrap();
    let (mut emotion, mut social, mut goal) = (None, None, None);
    for event in &told.events {
        match event {
            TurnEvent::Emotion(it) => emotion = Some((it.label, it.intensity)),
            TurnEvent::Social(it) => social = Some(it.relationship),
            TurnEvent::Goal(it) => goal = Some(it.ranked.clone()),
            _ => {}
        }
    }
    let body = record.body;
    assert_eq!(body.emotion.map(|felt| (felt.label, felt.intensity)), emotion);
    assert!(social.is_some() && body.relationship.map(|tie| tie.after) == social);
    assert_ne!(body.relationship.map(|tie| tie.before), social);
    assert_eq!(Some(body.goals), goal);
    // The next line begins with what this one left.
    let again = house.say("vampire", "t2", 0, None).await;
    let next = house.turns.history().find("anna", "vampire", "t2").await.unwrap().unwrap();
    assert_eq!(next.body.relationship.map(|tie| tie.before.familiarity), social.map(|tie| tie.familiarity));
    check(&again);
}

#[tokio::test]
async fn what_became_of_an_action_is_told_with_the_next_line() {
    let house = House::open("Welcome. Sit down.", &["turn.action_floor=0.1"]).await;
    let told = house.say("vampire", "t1", 0, None).await;
    let action = told
        .events
        .iter()
        .find_map(|event| if let TurnEvent::Action(action) = event { Some(action.clone()) } else { None });
    let action = action.unwrap();
    let result = crate::wire::ActionResult {
        turn: "t1".into(),
        action: action.action.clone(),
        ok: false,
        reason: Some("too far".into()),
    };
    for _ in 0..2 {
        house.turns.action_result("anna", "session".into(), result.clone()).await.unwrap();
    }
    house.say("vampire", "t2", 0, None).await;
    house.say("vampire", "t3", 0, None).await;
    let context = async |turn: &str| -> Value {
        json!(house.turns.history().find("anna", "vampire", turn).await.unwrap().unwrap().body.context)
    };
    assert_eq!(context("t2").await, json!(format!("You could not do this: {} (too far).", action.name)));
    assert_eq!(context("t3").await, json!(null));
}

#[tokio::test]
async fn an_engine_that_cannot_answer_leaves_no_npc_silent() {
    let house = House::open("Never said.", &[]).await;
    house.script.stop();
    let told = house.say("vampire", "t1", 0, None).await;
    check(&told);
    let done = told.done();
    assert!(done.fallback && done.interaction.is_some(), "{done:?}");
    let packs = Packs::load(None).unwrap();
    assert!(packs.get("vampire").unwrap().overload_lines.contains(&done.text), "{done:?}");
    // Its mouth moves.
    assert!(told.keys().iter().any(|key| key.au.contains_key("AU26")), "{told:?}");
    // A game that wants to know is told.
    let house = House::open("Never said.", &["npc.on_overload=error"]).await;
    house.script.stop();
    let told = house.say("vampire", "t1", 0, None).await;
    let [TurnEvent::Error(error)] = &told.events[..] else { panic!("{told:?}") };
    assert_eq!(error.code, crate::wire::ErrorCode::EngineFailed);
}

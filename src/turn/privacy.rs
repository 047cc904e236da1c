//! What was told in private never reaches a prompt for another: real prompts of random turns are read.
//!
//! Every line brings a secret, a word that is nowhere else, and the NPC says again whatever secrets its prompt shows. So
//! a secret that reached one wrong prompt would go on to others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use npc_onnx::ModelFile;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::{Say, TurnEvent, Turns};
use crate::archetype::Packs;
use crate::chain::Chains;
use crate::config::Config;
use crate::engine::{Script, Tokenizer, secrets};
use crate::history::{History, HotLimits};
use crate::npc::Npcs;
use crate::wire::{Action, ActionResult, Event, EventKind, NpcJoin};

const NPCS: [&str; 3] = ["lucy", "igor", "mina"];
const PLAYERS: [&str; 4] = ["anna", "ben", "cleo", "dora"];
const TOPICS: [&str; 6] = ["ring", "well", "castle", "wolf", "moon", "bridge"];
const CONTEXT: u32 = 2048;

/// A gateway's turns, as they are after a start.
struct House {
    turns: Arc<Turns>,
    script: Script,
    history: Arc<History>,
}

impl House {
    async fn open(data: &Path) -> Self {
        let model = std::env::var_os("NPC_GATEWAY_TEST_MODEL").map(PathBuf::from);
        let model = model.expect("NPC_GATEWAY_TEST_MODEL is not set: run the tests with `cargo xtask test`");
        let tokenizer = Tokenizer::load(&model, &ModelFile::read(&model).unwrap().model).unwrap();
        let sets = ["turn.window_min=1", "turn.window_max=3"].map(str::to_owned);
        let config = Config::load(None, std::iter::empty(), &sets).unwrap();
        let limits = HotLimits { conversations: 100, window_min: 1, window_max: 3 };
        let history = History::open(data, &config.history, limits).unwrap();
        let packs = Packs::load(None).unwrap();
        let npcs =
            Arc::new(Npcs::new(Chains::generic(&packs).unwrap(), config.npc.clone(), Arc::clone(&history)));
        for npc in NPCS {
            let archetype = Some("vampire".to_owned());
            let join = NpcJoin { npc: npc.into(), archetype, name: None, seed: None, personality: None };
            npcs.join(&join, true).await.unwrap();
        }
        let script = Script::watched(tokenizer, CONTEXT);
        let turns = Turns::new(script.clone(), npcs, Arc::clone(&history), &config).unwrap();
        Self { turns, script, history }
    }

    /// Says a line; returns its prompt. What is asked beside it shows no secret but the line's own and the answer's.
    async fn say(&self, npc: &str, player: &str, audience: &[String], text: &str) -> String {
        self.say_as(npc, player, audience, text, &Uuid::now_v7().to_string()).await
    }

    /// The same with a turn id of the caller's.
    async fn say_as(&self, npc: &str, player: &str, audience: &[String], text: &str, turn: &str) -> String {
        let mut events = self
            .turns
            .say(Say {
                player: player.into(),
                npc: npc.into(),
                turn: turn.into(),
                session: None,
                text: text.into(),
                context: None,
                generation: None,
                mix: None,
                audience: Some(audience.to_vec()),
                actions: vec![Action { name: "bow".into(), description: "bows".into() }],
                at_ms: super::keep::now_ms(),
            })
            .unwrap();
        let mut taken = Vec::new();
        let mut done = false;
        while events.recv_many(&mut taken, 64).await > 0 {
            for event in taken.drain(..) {
                assert!(!matches!(event, TurnEvent::Error(_)), "{event:?}");
                done |= matches!(&event, TurnEvent::Done(done) if done.interaction.is_some());
            }
        }
        assert!(done);
        let mut prompts = self.script.prompts();
        assert_eq!(prompts.len(), 1);
        let prompt = prompts.remove(0);
        let asked = self.script.asked();
        assert!(asked.len() >= 3, "a feeling, a relationship and goals: {asked:?}");
        let shown = secrets(&prompt);
        for question in asked {
            // The answer says what its own prompt shows.
            assert!(secrets(&question).iter().all(|secret| shown.contains(secret)), "{question}");
        }
        prompt
    }

    /// Something happens to an NPC, and others see it.
    async fn happen(&self, npc: &str, player: &str, witnesses: Vec<String>, text: &str) {
        let event = Event {
            npc: npc.into(),
            event: Uuid::now_v7().to_string(),
            kind: EventKind::Gift,
            text: text.into(),
            importance: None,
            witnesses: Some(witnesses),
        };
        self.turns.event(player, "session".into(), event).await.unwrap();
    }
}

/// Who may hear of a secret.
enum Known {
    /// Those who were there, from these NPCs.
    Told { npcs: BTreeSet<String>, players: BTreeSet<String> },
    /// Everybody, from these NPCs.
    Seen { npcs: BTreeSet<String> },
}

fn some(random: &mut StdRng, from: &[&str], chance: f64) -> Vec<String> {
    let picked = from.iter().filter(|_| random.random_bool(chance));
    picked.map(|id| (*id).to_owned()).collect()
}

fn pick<'a>(random: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[random.random_range(0..from.len())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_reaches_no_prompt_for_somebody_else() {
    let data = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(11);
    let mut house = House::open(data.path()).await;
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    // Prompts that showed a secret: the player's own, one that another player told, and what happened.
    let (mut own, mut heard, mut seen) = (0, 0, 0);
    for turn in 0..1000 {
        if turn % 130 == 129 {
            // After a start everything comes from the journal.
            let House { turns, history, .. } = house;
            turns.idle().await;
            turns.npcs().close().await;
            history.close();
            drop((turns, history));
            house = House::open(data.path()).await;
            for npc in NPCS {
                for player in PLAYERS {
                    house.turns.hydrate(player, npc).await;
                }
            }
        }
        let (npc, player) = (pick(&mut random, &NPCS), pick(&mut random, &PLAYERS));
        let secret = format!("zq{turn:04}");
        let text = format!("Of the {}: {secret}.", pick(&mut random, &TOPICS));
        if random.random_bool(0.15) {
            let witnesses = some(&mut random, &NPCS, 0.3);
            house.happen(npc, player, witnesses.clone(), &text).await;
            let npcs = witnesses.into_iter().chain([npc.to_owned()]).collect();
            known.insert(secret, Known::Seen { npcs });
            continue;
        }
        let audience = some(&mut random, &PLAYERS, if turn % 3 == 0 { 0.4 } else { 0.0 });
        let id = format!("t{turn}");
        let prompt = house.say_as(npc, player, &audience, &text, &id).await;
        if audience.is_empty() && random.random_bool(0.3) {
            // What became of its bow is between the two.
            let outcome = format!("zqo{turn:04}");
            let reason = Some(format!("because of {outcome}"));
            let result = ActionResult { turn: id, action: "a1".into(), ok: false, reason };
            house.turns.action_result(player, "session".into(), result).await.unwrap();
            let (npcs, players) = (BTreeSet::from([npc.to_owned()]), BTreeSet::from([player.to_owned()]));
            known.insert(outcome, Known::Told { npcs, players });
        }
        let there: BTreeSet<String> = audience.iter().cloned().chain([player.to_owned()]).collect();
        for shown in secrets(&prompt).into_iter().filter(|shown| *shown != secret) {
            match known.get(&shown).unwrap_or_else(|| panic!("{shown} is from nowhere: {prompt}")) {
                Known::Told { npcs, players } => {
                    assert!(npcs.contains(npc), "{npc} was not there when {shown} was told: {prompt}");
                    assert!(
                        there.is_subset(players),
                        "{shown} was told to {players:?}, not {there:?}: {prompt}"
                    );
                    if players.first().map(String::as_str) == Some(player) && players.len() == 1 {
                        own += 1;
                    } else {
                        heard += 1;
                    }
                }
                Known::Seen { npcs } => {
                    // An NPC that has told of it may be reminded of that by those to whom it has.
                    assert!(npcs.contains(npc), "{npc} did not see {shown}: {prompt}");
                    seen += 1;
                }
            }
        }
        let npcs = BTreeSet::from([npc.to_owned()]);
        known.insert(secret, Known::Told { npcs, players: there });
    }
    // The test sees something.
    assert!(own > 100 && heard > 30 && seen > 30, "{own} {heard} {seen}");
}

#[tokio::test]
async fn what_is_remembered_stands_once_in_the_newest_message() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path()).await;
    house.say("lucy", "anna", &[], "I lost my silver ring by the well.").await;
    for text in ["Nice evening.", "Do you sleep?", "So tired.", "Cold, is it not?"] {
        let prompt = house.say("lucy", "anna", &[], text).await;
        assert!(!prompt.contains("You remember"), "{prompt}");
    }
    let asked = house.say("lucy", "anna", &[], "Where is my ring?").await;
    // Marks are no text, and the prompt ends where the answer begins.
    let (before, newest) = asked.rsplit_once("user\n").unwrap();
    assert!(!before.contains("by the well"), "{asked}");
    let remembered =
        r#"(You remember: a moment ago I told you "I lost my silver ring by the well." and you said "#;
    assert!(newest.starts_with(remembered), "{asked}");
    assert!(newest.contains(")\nWhere is my ring?"), "{asked}");
    // Prompts only grow at their end; and what is shown already is not remembered again.
    let again = house.say("lucy", "anna", &[], "The ring, you know where?").await;
    assert!(again.starts_with(&asked), "{asked}\n---\n{again}");
    assert_eq!(again.matches("You remember").count(), 1, "{again}");
}

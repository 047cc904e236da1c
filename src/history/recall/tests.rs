//! What comes to mind, and what must not.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::history::memory::tests::told;
use crate::history::record::Kind;

/// When the lines of these tests are said.
const NOW: u64 = 1_700_000_000_000;
const DAY: u64 = 24 * 3600 * 1000;

fn line<'a>(npc: &'a str, player: &'a str, audience: &'a [String], text: &'a str) -> Line<'a> {
    Line { npc, archetype: "vampire", player, audience, text, shown: HashSet::new(), now_ms: NOW }
}

fn days_ago(days: u64, memory: Memory) -> Memory {
    Memory { at_ms: NOW - days * DAY, ..memory }
}

/// A recall that holds these.
fn holding(memories: &[Memory]) -> Recall {
    let recall = Recall::new(64 << 20);
    for memory in memories {
        recall.remember(&Arc::new(memory.clone()));
    }
    recall
}

fn found(recall: &Recall, line: &Line) -> Vec<String> {
    recall.search(line).iter().map(|memory| memory.text.clone()).collect()
}

#[test]
fn what_bears_on_a_line_comes_to_mind() {
    let recall = holding(&[
        told("lucy", "anna", "I lost my silver ring by the well."),
        told("lucy", "anna", "The weather is dreadful."),
        told("lucy", "anna", "My brother guards the well at night."),
    ]);
    let asked = |text| found(&recall, &line("lucy", "anna", &[], text));
    assert_eq!(asked("Have you found my rings?"), ["I lost my silver ring by the well."]);
    assert_eq!(asked("Is the ring in the well?")[0], "I lost my silver ring by the well.");
    assert_eq!(asked("Is the ring in the well?").len(), 2);
    assert_eq!(asked("And what then?"), [""; 0]);
}

#[test]
fn what_was_important_and_what_is_new_comes_first() {
    let dull = days_ago(1, told("lucy", "anna", "A ring."));
    let dear = Memory { importance: Some(0.9), ..days_ago(1, told("lucy", "anna", "My ring.")) };
    let old = days_ago(60, told("lucy", "anna", "The ring."));
    let recall = holding(&[dear.clone(), old.clone(), dull.clone()]);
    assert_eq!(found(&recall, &line("lucy", "anna", &[], "ring")), [dear.text, dull.text, old.text]);
}

#[test]
fn of_two_alike_the_newer_one_comes_first() {
    let (first, second) = (told("lucy", "anna", "A ring."), told("lucy", "anna", "A ring."));
    let recall = holding(&[second.clone(), first.clone()]);
    let ids: Vec<_> =
        recall.search(&line("lucy", "anna", &[], "ring")).iter().map(|memory| memory.id).collect();
    assert_eq!(ids, [second.id, first.id]);
}

#[test]
fn what_nobody_forgets_comes_to_mind_by_itself() {
    let stabbed =
        Memory { kind: Kind::Injury, importance: Some(0.9), ..told("lucy", "anna", "Anna stabbed her.") };
    let tripped =
        Memory { kind: Kind::Injury, importance: Some(0.2), ..told("lucy", "anna", "Lucy tripped.") };
    let recall = holding(&[stabbed, tripped, told("lucy", "ben", "Nice evening.")]);
    assert_eq!(found(&recall, &line("lucy", "ben", &[], "And?")), ["Anna stabbed her."]);
    let asked = found(&recall, &line("lucy", "ben", &[], "A nice evening!"));
    assert_eq!(asked, ["Nice evening.", "Anna stabbed her."], "but words count for more");
}

#[test]
fn what_the_prompt_shows_and_what_another_said_is_left_out() {
    let (one, other) = (told("lucy", "anna", "One ring."), told("lucy", "anna", "Another ring."));
    let recall = holding(&[one.clone(), other]);
    let shown = HashSet::from([one.id]);
    assert_eq!(found(&recall, &Line { shown, ..line("lucy", "anna", &[], "ring") }), ["Another ring."]);
    assert_eq!(found(&recall, &Line { archetype: "ghoul", ..line("lucy", "anna", &[], "ring") }), [""; 0]);
    let unsaid = Memory { reply: String::new(), ..told("lucy", "ben", "No ring.") };
    assert_eq!(found(&holding(&[unsaid]), &line("lucy", "ben", &[], "ring")), [""; 0]);
}

#[test]
fn a_witness_tells_what_it_saw_and_nothing_that_it_did_not() {
    let seen = vec!["igor".to_owned()];
    let gift = Memory { kind: Kind::Gift, witnesses: seen, ..told("lucy", "anna", "Anna gave Lucy a ring.") };
    let recall = holding(&[gift, told("lucy", "anna", "The ring is false.")]);
    assert_eq!(found(&recall, &line("igor", "ben", &[], "A ring?")), ["Anna gave Lucy a ring."]);
    assert_eq!(found(&recall, &line("mina", "ben", &[], "A ring?")), [""; 0]);
    assert_eq!(found(&recall, &line("lucy", "ben", &[], "A ring?")), ["Anna gave Lucy a ring."]);
    let both = found(&recall, &line("lucy", "anna", &[], "A ring?"));
    assert_eq!(both.len(), 2);
    let overheard = ["ben".to_owned()];
    assert_eq!(found(&recall, &line("lucy", "anna", &overheard, "A ring?")), ["Anna gave Lucy a ring."]);
}

/// Nothing is ever found that may not be told, wherever it was put by whom.
#[test]
fn nothing_is_found_that_may_not_be_told() {
    const NPCS: [&str; 3] = ["lucy", "igor", "mina"];
    const PLAYERS: [&str; 4] = ["anna", "ben", "cleo", "dora"];
    let mut random = StdRng::seed_from_u64(7);
    let some = |random: &mut StdRng, from: &[&str]| {
        let picked = from.iter().filter(|_| random.random_bool(0.3));
        picked.map(|id| (*id).to_owned()).collect::<Vec<String>>()
    };
    let memories: Vec<Memory> = (0..300)
        .map(|at| Memory {
            kind: [Kind::Dialogue, Kind::Dialogue, Kind::Event][random.random_range(0..3)],
            audience: some(&mut random, &PLAYERS),
            witnesses: some(&mut random, &NPCS),
            ..told(NPCS[at % 3], PLAYERS[random.random_range(0..4)], "A ring.")
        })
        .collect();
    let recall = holding(&memories);
    let all: Vec<_> = memories.iter().cloned().map(Arc::new).collect();
    for npc in NPCS {
        for player in PLAYERS {
            // A store that gives what belongs elsewhere.
            recall.fill(npc, player, &all, Origin::Warm);
        }
    }
    let mut count = 0;
    for _ in 0..500 {
        let (npc, player) = (NPCS[random.random_range(0..3)], PLAYERS[random.random_range(0..4)]);
        let audience = some(&mut random, &PLAYERS);
        for memory in recall.search(&line(npc, player, &audience, "the ring")) {
            assert!(memory.may_be_told(npc, player, &audience), "{npc} to {player} {audience:?}: {memory:?}");
            count += 1;
        }
    }
    assert!(count > 1000, "{count}");
}

#[test]
fn the_same_memories_give_the_same_answer() {
    let mut random = StdRng::seed_from_u64(3);
    let words = ["ring", "well", "castle", "wolf", "moon", "blood", "silver", "night"];
    let mut memories: Vec<Memory> = (0..200)
        .map(|at| {
            let text: Vec<_> = (0..6).map(|_| words[random.random_range(0..words.len())]).collect();
            days_ago(at % 40, told("lucy", "anna", &text.join(" ")))
        })
        .collect();
    let ask = |memories: &[Memory]| {
        let recall = holding(memories);
        let found = recall.search(&line("lucy", "anna", &[], "The wolf at the well, by moonlight and moon."));
        found.iter().map(|memory| memory.id).collect::<Vec<_>>()
    };
    let first = ask(&memories);
    assert_eq!(first.len(), 16);
    for _ in 0..5 {
        memories.shuffle(&mut random);
        assert_eq!(ask(&memories), first);
    }
}

#[test]
fn a_player_is_forgotten() {
    let heard = Memory { audience: vec!["ben".into()], ..told("lucy", "anna", "A ring before ben.") };
    let saw =
        Memory { kind: Kind::Event, witnesses: vec!["ben".into()], ..told("lucy", "anna", "A ring fell.") };
    let recall = holding(&[told("lucy", "ben", "His ring."), heard, saw, told("lucy", "anna", "Her ring.")]);
    recall.forget_player("ben");
    assert_eq!(found(&recall, &line("lucy", "ben", &[], "ring")), [""; 0]);
    assert_eq!(found(&recall, &line("lucy", "anna", &[], "ring")), ["Her ring."]);
}

#[test]
fn memory_is_bounded() {
    let recall = Recall::new(2 << 20);
    for npc in 0..40 {
        for player in 0..20 {
            for turn in 0..3 {
                let text = format!("Number {turn} of the castle {}", "and so on ".repeat(20));
                recall.remember(&Arc::new(told(&format!("npc{npc}"), &format!("player{player}"), &text)));
            }
        }
    }
    let stats = recall.stats();
    assert!(stats.bytes <= 2 << 20 && stats.bytes > 1 << 20 && stats.places < 800, "{stats:?}");
    assert_eq!(found(&recall, &line("npc39", "player19", &[], "castle")).len(), 3);
}

#[test]
fn what_is_loaded_is_known() {
    let recall = Recall::new(1 << 20);
    assert!(!recall.is_loaded("lucy", "anna", Origin::Warm));
    recall.fill("lucy", "anna", &[], Origin::Warm);
    assert!(
        recall.is_loaded("lucy", "anna", Origin::Warm) && !recall.is_loaded("lucy", "anna", Origin::Stored)
    );
    recall.fill("lucy", "anna", &[], Origin::Stored);
    assert!(recall.is_loaded("lucy", "anna", Origin::Stored));
    assert!(!recall.is_loaded("lucy", "ben", Origin::Warm), "the world alone is not all of it");
}

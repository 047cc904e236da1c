//! Lives: whatever happens to an NPC, everything stays within its bounds and comes back from the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::packs;
use crate::archetype::{AXES, Pack, Trait};
use crate::history::{NpcState, NpcTie};
use crate::npc::{Happening, MAX_DRIFT, MAX_PLAYERS, Mind, Personality, toward_strangers};
use crate::wire::{EmotionLabel, EventKind, Relationship};

const DAY: u64 = 86_400_000;

fn pack(name: &str) -> Arc<Pack> {
    packs().into_iter().find(|pack| pack.name == name).unwrap()
}

fn mind(name: &str) -> Mind {
    Mind::new(7, pack(name), NpcState::default())
}

fn happening(kind: EventKind, player: &str, importance: f32, at_ms: u64) -> Happening {
    let (event, text) = (format!("e{at_ms}"), "A stone hit the brow.".to_owned());
    Happening { kind, player: player.into(), event, text, importance: Some(importance), at_ms }
}

/// What may come.
#[derive(Debug, Clone)]
enum Turn {
    Event(EventKind, usize, f32),
    Feel(EmotionLabel, usize, f32),
    Shift(usize, [f32; 5]),
    Rank(Vec<f32>),
    Wait(u64),
    Forget(usize),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let kinds = prop::sample::select(vec![
        EventKind::Injury,
        EventKind::Gift,
        EventKind::Threat,
        EventKind::Witness,
        EventKind::Custom,
    ]);
    let labels = prop::sample::select(EmotionLabel::ALL.to_vec());
    let strange = || prop_oneof![8 => -2.0_f32..=2.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY)];
    let turn = prop_oneof![
        4 => (kinds, 0_usize..4, strange()).prop_map(|(kind, player, size)| Turn::Event(kind, player, size)),
        4 => (labels, 0_usize..4, strange()).prop_map(|(label, player, size)| Turn::Feel(label, player, size)),
        2 => (0_usize..4, prop::array::uniform5(strange())).prop_map(|(player, by)| Turn::Shift(player, by)),
        1 => prop::collection::vec(strange(), 0..4).prop_map(Turn::Rank),
        2 => (0..40 * DAY).prop_map(Turn::Wait),
        1 => (0_usize..4).prop_map(Turn::Forget),
    ];
    prop::collection::vec(turn, 0..120)
}

proptest! {
    #[test]
    fn whatever_happens_stays_within_bounds(turns in turns(), archetype in 0_usize..5) {
        let pack = packs().remove(archetype);
        let mut mind = Mind::new(9, Arc::clone(&pack), NpcState::default());
        let mut now = 1_700_000_000_000;
        let player = |at: usize| ["anna", "ben", "cleo", "dora"][at];
        for turn in turns {
            now += 1;
            let before = mind.personality().clone();
            match turn {
                Turn::Event(kind, who, importance) => {
                    let shift = mind.happen(&happening(kind, player(who), importance, now));
                    prop_assert_eq!(shift.relationship, mind.relationship(player(who), now));
                }
                Turn::Feel(label, who, intensity) => mind.feel(label, intensity, Some(player(who)), now),
                Turn::Shift(who, [trust, respect, familiarity, fear, affection]) => {
                    let change = Relationship { trust, respect, familiarity, fear, affection };
                    let shift = mind.shift(player(who), &change, now);
                    prop_assert!(shift.delta.values().all(|by| by.abs() <= 2.0));
                }
                Turn::Rank(p) => {
                    let goals = pack.tables.goals.iter().map(|goal| goal.id.clone());
                    mind.rank(&goals.zip(p).collect(), now);
                }
                Turn::Wait(ms) => now += ms,
                Turn::Forget(who) => {
                    mind.forget(player(who));
                    prop_assert!(!mind.forget(player(who)));
                    prop_assert!(!mind.to_state(None).relationships.contains_key(player(who)));
                }
            }
            for of in Trait::ALL {
                let (born, drift) = (mind.personality().at_birth()[of], mind.personality().drift()[of]);
                prop_assert!(drift.abs() <= MAX_DRIFT && (-1.0..=1.0).contains(&mind.personality().value(of)));
                prop_assert!((born + drift).abs() <= 1.0 + 1e-6);
                prop_assert!((drift - before.drift()[of]).abs() <= 0.05 + 1e-6, "at once");
            }
            for player in ["anna", "ben", "cleo", "dora", "eve"] {
                let of = mind.relationship(player, now);
                let all = [of.trust, of.respect, of.familiarity, of.fear, of.affection];
                prop_assert!(all.iter().all(|axis| (-1.0..=1.0).contains(axis)), "{of:?}");
            }
            let goals = mind.goals(now);
            prop_assert!(goals.len() <= pack.tables.goals.len());
            prop_assert!(goals.is_sorted_by(|a, b| a.priority >= b.priority));
            prop_assert!(goals.iter().all(|goal| (0.01..=1.0).contains(&goal.priority)));
            prop_assert!((-1.0..=1.0).contains(&mind.mood(now)));
            prop_assert!(mind.growth().len() <= 32);
        }
        let state = mind.to_state(None);
        let back = Mind::new(9, pack, state.clone());
        prop_assert_eq!(back.to_state(None), state, "it comes back from the store");
        prop_assert_eq!(back.personality().values(), mind.personality().values());
    }
}

#[test]
fn a_state_from_before_there_were_minds_is_read() {
    let given: BTreeMap<_, _> = [("neo_anger".to_owned(), 0.5), ("warmth".to_owned(), 1.0)].into();
    let tie = NpcTie::new(Relationship { trust: 0.5, ..Relationship::default() }, 0);
    let old = NpcState {
        personality: Some(given.clone()),
        relationships: [("anna".to_owned(), tie)].into(),
        ..NpcState::default()
    };
    let pack = pack("vampire");
    let mind = Mind::new(7, Arc::clone(&pack), old);
    assert_eq!(mind.personality(), &Personality::born(7, &pack.tables.personality, Some(&given)));
    assert_eq!(mind.personality().value(Trait::Anger), 0.5);
    assert_eq!(mind.relationship("anna", 0).trust, 0.5);
    assert_eq!(mind.goals(0)[0].id, "feed");
}

#[test]
fn what_it_was_born_with_stays_when_the_pack_changes() {
    let before = mind("vampire");
    let changed = Mind::new(7, pack("lich"), before.to_state(None));
    assert_eq!(changed.personality(), before.personality());
    assert_eq!(changed.body(), before.body());
    assert_eq!(changed.goals(0)[0].id, "study");
}

#[test]
fn relationships_shift_and_fade_toward_strangers() {
    let mut mind = mind("vampire");
    let stranger = mind.relationship("anna", 0);
    assert_eq!(stranger, toward_strangers(mind.personality(), &pack("vampire").tables.relationship));
    let shift = mind.happen(&happening(EventKind::Injury, "anna", 1.0, DAY));
    assert!(shift.relationship.trust < stranger.trust - 0.5 && shift.relationship.fear > stranger.fear + 0.4);
    assert_eq!(shift.delta.len(), AXES.len());
    assert_eq!(mind.relationship("ben", DAY), mind.relationship("eve", DAY), "nobody else's doing");
    // The injury has changed the one who was hurt a little, too.
    let base = mind.relationship("eve", DAY);
    let apart = |days: u64| f64::from(mind.relationship("anna", DAY + days * DAY).trust - base.trust);
    let halves = apart(30) / apart(0);
    assert!((halves - 0.5).abs() < 0.002, "after a half-life: {halves}");
    assert!(apart(300).abs() < 0.002);
    // A clock that goes back changes nothing.
    assert_eq!(mind.relationship("anna", 0), mind.relationship("anna", DAY));
    let full = mind.shift("ben", &Relationship { trust: 9.0, ..Relationship::default() }, DAY);
    assert_eq!(full.relationship.trust, 1.0);
    let none = mind.shift("ben", &Relationship { trust: 1.0, ..Relationship::default() }, DAY);
    assert!(none.delta.is_empty());
}

#[test]
fn who_matters_least_is_forgotten_first() {
    let mut mind = mind("ghoul");
    mind.happen(&happening(EventKind::Injury, "enemy", 1.0, DAY));
    let nod = Relationship { familiarity: 0.05, ..Relationship::default() };
    mind.shift("faint", &Relationship { familiarity: 0.01, ..Relationship::default() }, DAY);
    for at in 0..MAX_PLAYERS as u64 {
        mind.shift(&format!("p{at}"), &nod, DAY + at);
    }
    let known = mind.to_state(None).relationships;
    assert_eq!(known.len(), MAX_PLAYERS);
    assert!(known.contains_key("enemy") && !known.contains_key("faint"));
    assert!(known.contains_key(&format!("p{}", MAX_PLAYERS - 1)));
}

#[test]
fn goals_rise_fade_and_are_ranked() {
    let mut mind = mind("vampire");
    let ids = |mind: &Mind, now| mind.goals(now).into_iter().map(|goal| goal.id).collect::<Vec<_>>();
    assert_eq!(ids(&mind, 0), ["feed", "charm", "secret"]);
    mind.happen(&happening(EventKind::Injury, "anna", 1.0, DAY));
    assert_eq!(ids(&mind, DAY), ["revenge", "feed", "secret", "charm"]);
    assert_eq!(ids(&mind, 400 * DAY), ["feed", "charm", "secret"], "revenge fades");
    let ranking = [("charm".to_owned(), 0.7), ("feed".to_owned(), 0.1), ("nothing".to_owned(), 0.2)].into();
    let mut ranked = mind.rank(&ranking, 400 * DAY);
    for _ in 0..3 {
        ranked = mind.rank(&ranking, 400 * DAY);
    }
    let first: Vec<_> = ranked.iter().map(|goal| goal.id.as_str()).collect();
    assert_eq!(first[0], "charm");
    assert_eq!(mind.rank(&BTreeMap::new(), 400 * DAY), ranked, "no ranking changes nothing");
}

#[test]
fn what_has_changed_it_is_recorded() {
    let mut mind = mind("werewolf");
    for at in 1..=3 {
        mind.happen(&happening(EventKind::Threat, "anna", 1.0, at));
    }
    mind.feel(EmotionLabel::Anger, 1.0, Some("anna"), 9);
    mind.feel(EmotionLabel::Neutral, 1.0, None, 10);
    let told: Vec<_> = mind.growth().iter().map(|of| (of.cause.as_str(), of.times, of.at_ms)).collect();
    assert_eq!(told, [("threat", 3, 3), ("anger", 1, 9)]);
    for of in Trait::ALL {
        let recorded: f32 = mind.growth().iter().filter_map(|of_time| of_time.moved.get(of.key())).sum();
        assert!((recorded - mind.personality().drift()[of]).abs() < 1e-6, "{of}");
    }
    assert!(mind.forget("anna"));
    assert!(mind.growth().iter().all(|of| of.player.is_none()));
    assert_eq!(mind.to_state(None).counts, [("threat".to_owned(), 3)].into());
}

#[test]
fn a_mood_moves_and_fades() {
    let mut mind = mind("zombie");
    let base = mind.mood(0);
    mind.feel(EmotionLabel::Joy, 1.0, None, DAY);
    assert!((mind.mood(DAY) - base - 0.3).abs() < 0.002);
    let half = DAY + mind.personality().mood_half_life_ms() as u64;
    assert!((mind.mood(half) - base - 0.15).abs() < 0.002);
    mind.feel(EmotionLabel::Fear, 1.0, None, 2 * DAY);
    assert!(mind.mood(2 * DAY) < base - 0.2);
}

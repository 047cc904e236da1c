//! The turns that run, and those that have ended, by player and id: an id stands for one turn with an NPC, for as long
//! as there is room to remember it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use parking_lot::Mutex;

use super::state::TurnState;

/// Turns remembered after their end, and what they may take together, in bytes; past either the oldest are forgotten.
/// Lines of 300 characters are some 10,000.
const MAX_ENDED: usize = 100_000;
const MAX_BYTES: usize = 32 << 20;
/// What a turn takes besides its line, about.
const TURN_BYTES: usize = 1024;

type Key = (String, String);

/// See the module's documentation. No reference into the map leaves a method.
#[derive(Debug, Default)]
pub struct Registry {
    /// By player and turn id. One id may name a turn with each of several NPCs, one after the other.
    turns: DashMap<Key, Vec<Arc<TurnState>>>,
    /// In the order of their end.
    ended: Mutex<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    /// Each with its bytes.
    turns: VecDeque<(Arc<TurnState>, usize)>,
    bytes: usize,
}

impl Ended {
    fn is_full(&self) -> bool {
        self.turns.len() > MAX_ENDED || self.bytes > MAX_BYTES
    }
}

/// What [`Registry::start`] found.
#[derive(Debug)]
pub enum Start {
    New,
    /// The turn with this id and NPC is known.
    Known(Arc<TurnState>),
    /// A turn with this id and another NPC runs, and frames of both could not be told apart.
    Elsewhere(Arc<TurnState>),
}

impl Registry {
    /// Adds a turn unless one of the same player, NPC and id is known, or one of another NPC runs.
    pub fn start(&self, state: &Arc<TurnState>) -> Start {
        let mut turns = self.turns.entry((state.player.clone(), state.turn.clone())).or_default();
        // What could not be stored may be tried again.
        turns.retain(|known| known.npc != state.npc || !known.has_failed());
        if let Some(known) = turns.iter().find(|known| known.npc == state.npc) {
            return Start::Known(Arc::clone(known));
        }
        if let Some(other) = turns.iter().find(|known| known.done().is_none() && !known.has_failed()) {
            return Start::Elsewhere(Arc::clone(other));
        }
        turns.push(Arc::clone(state));
        Start::New
    }

    /// The turn that a client means by its id: a running one before an ended one, then the newest.
    pub fn find(&self, player: &str, turn: &str) -> Option<Arc<TurnState>> {
        let now = Instant::now();
        let turns = self.turns.get(&(player.to_owned(), turn.to_owned()))?;
        let known = || turns.iter().rev().filter(|state| !state.expired(now));
        known().find(|state| !state.has_ended()).or_else(|| known().next()).cloned()
    }

    /// The turn that an id stands for with this NPC, however long ago it ended.
    pub fn get(&self, player: &str, npc: &str, turn: &str) -> Option<Arc<TurnState>> {
        let turns = self.turns.get(&(player.to_owned(), turn.to_owned()))?;
        turns.iter().find(|state| state.npc == npc && !state.has_failed()).cloned()
    }

    /// Remembers an ended turn, and forgets the oldest ones if there are too many.
    pub fn ended(&self, state: &Arc<TurnState>) {
        let bytes = TURN_BYTES + state.line_bytes();
        let mut ended = self.ended.lock();
        ended.turns.push_back((Arc::clone(state), bytes));
        ended.bytes += bytes;
        let mut forgotten = Vec::new();
        while ended.is_full()
            && let Some((state, bytes)) = ended.turns.pop_front()
        {
            ended.bytes -= bytes;
            forgotten.push(state);
        }
        drop(ended);
        for state in &forgotten {
            self.remove(state);
        }
    }

    /// Cancels the turns of a player that run or are being stored; tells how many.
    pub fn hang_up(&self, player: &str) -> usize {
        let mut running = 0;
        for turns in self.turns.iter().filter(|turns| turns.key().0 == player) {
            for state in turns.iter().filter(|state| state.done().is_none()) {
                state.cut(None);
                state.cancelled.cancel();
                running += 1;
            }
        }
        running
    }

    /// Forgets the turns of a player that have ended.
    pub fn forget_player(&self, player: &str) {
        let mut ended = self.ended.lock();
        let ended = &mut *ended;
        let bytes = &mut ended.bytes;
        ended.turns.retain(|(state, size)| {
            let stays = state.player != player;
            if !stays {
                *bytes -= size;
            }
            stays
        });
        self.turns.retain(|(owner, _), turns| {
            if owner == player {
                turns.retain(|state| !state.has_ended());
            }
            !turns.is_empty()
        });
    }

    /// Forgets a turn, such as one that never started.
    pub fn remove(&self, state: &Arc<TurnState>) {
        let key = (state.player.clone(), state.turn.clone());
        if let Some(mut turns) = self.turns.get_mut(&key) {
            turns.retain(|known| !Arc::ptr_eq(known, state));
        }
        self.turns.remove_if(&key, |_, turns| turns.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(registry: &Registry, state: &Arc<TurnState>) {
        state.finish(crate::wire::TurnDone {
            turn: state.turn.clone(),
            player: state.player.clone(),
            npc: state.npc.clone(),
            reason: crate::wire::DoneReason::Stop,
            text: String::new(),
            fallback: false,
            usage: crate::wire::UsageInfo::default(),
            timing: crate::wire::TimingInfo::default(),
            interaction: None,
        });
        registry.ended(state);
    }

    #[test]
    fn one_id_names_a_turn_with_each_npc_one_after_the_other() {
        let registry = Registry::default();
        let turns = ["lucy", "mina"].map(|npc| Arc::new(TurnState::new(npc, "anna", "t1", 10.0, None)));
        assert!(matches!(registry.start(&turns[0]), Start::New));
        assert!(
            matches!(registry.start(&turns[1]), Start::Elsewhere(other) if Arc::ptr_eq(&other, &turns[0]))
        );
        end(&registry, &turns[0]);
        assert!(matches!(registry.start(&turns[1]), Start::New));
        for turn in &turns {
            assert!(matches!(registry.start(turn), Start::Known(known) if Arc::ptr_eq(&known, turn)));
        }
        assert!(Arc::ptr_eq(&registry.find("anna", "t1").unwrap(), &turns[1]), "the newest");
        for turn in &turns {
            assert!(Arc::ptr_eq(&registry.get("anna", &turn.npc, "t1").unwrap(), turn));
        }
        assert!(registry.get("anna", "nobody", "t1").is_none());
        registry.remove(&turns[1]);
        assert!(Arc::ptr_eq(&registry.find("anna", "t1").unwrap(), &turns[0]));
        assert!(registry.get("anna", "mina", "t1").is_none());
    }

    #[test]
    fn a_player_is_forgotten_once_their_turns_have_ended() {
        let registry = Registry::default();
        let turns = [("anna", "t1"), ("anna", "t2"), ("ben", "t1")]
            .map(|(player, turn)| Arc::new(TurnState::new("lucy", player, turn, 10.0, None)));
        for turn in &turns {
            assert!(matches!(registry.start(turn), Start::New));
        }
        end(&registry, &turns[0]);
        assert_eq!(registry.hang_up("anna"), 1);
        assert!(turns[1].cancelled.is_cancelled() && !turns[2].cancelled.is_cancelled());
        end(&registry, &turns[1]);
        end(&registry, &turns[2]);
        assert_eq!(registry.hang_up("anna"), 0);
        registry.forget_player("anna");
        assert!(registry.find("anna", "t1").is_none() && registry.find("anna", "t2").is_none());
        assert!(registry.find("ben", "t1").is_some());
        let ended = registry.ended.lock();
        assert_eq!((registry.turns.len(), ended.turns.len(), ended.bytes), (1, 1, TURN_BYTES));
    }

    fn ended(registry: &Registry, turn: &str, text: &str) -> Arc<TurnState> {
        let state = Arc::new(TurnState::new("npc", "anna", turn, 10.0, None));
        assert!(matches!(registry.start(&state), Start::New));
        state.add_text(text, 0);
        end(registry, &state);
        state
    }

    #[test]
    fn an_ended_turn_is_known_until_there_is_no_room() {
        let registry = Registry::default();
        let first = ended(&registry, "t0", "Good evening.");
        let again = Arc::new(TurnState::new("npc", "anna", "t0", 10.0, None));
        assert!(matches!(registry.start(&again), Start::Known(known) if Arc::ptr_eq(&known, &first)));
        let line = "x".repeat(1 << 20);
        for turn in 1..20 {
            ended(&registry, &format!("t{turn}"), &line);
        }
        assert!(matches!(registry.start(&again), Start::New), "forgotten");
        registry.remove(&again);
        let held = registry.ended.lock();
        assert!(held.bytes <= MAX_BYTES && held.turns.len() > 10, "{} of {}", held.bytes, held.turns.len());
        assert_eq!(registry.turns.len(), held.turns.len());
    }

    #[test]
    fn many_short_turns_are_bounded_too() {
        let registry = Registry::default();
        for turn in 0..MAX_BYTES / TURN_BYTES + 10 {
            ended(&registry, &turn.to_string(), "");
        }
        let held = registry.ended.lock();
        assert!(!held.is_full());
        assert_eq!(registry.turns.len(), held.turns.len());
    }
}

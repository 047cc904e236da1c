//! The turns that run or ended a short while ago, by player and id.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use parking_lot::Mutex;

use super::state::TurnState;

/// Turns remembered after their end; past it the oldest are forgotten before their time.
const MAX_ENDED: usize = 100_000;

type Key = (String, String);

/// See the module's documentation. No reference into the map leaves a method.
#[derive(Debug, Default)]
pub struct Registry {
    /// By player and turn id. One id may name a turn with each of several NPCs.
    turns: DashMap<Key, Vec<Arc<TurnState>>>,
    /// In the order of their end.
    ended: Mutex<VecDeque<Arc<TurnState>>>,
}

/// What [`Registry::start`] found.
#[derive(Debug)]
pub enum Start {
    New,
    /// The turn with this id and NPC is known.
    Known(Arc<TurnState>),
}

impl Registry {
    /// Adds a turn unless one of the same player, NPC and id is known.
    pub fn start(&self, state: &Arc<TurnState>) -> Start {
        self.sweep(Instant::now());
        let mut turns = self.turns.entry((state.player.clone(), state.turn.clone())).or_default();
        if let Some(known) = turns.iter().find(|known| known.npc == state.npc) {
            return Start::Known(Arc::clone(known));
        }
        turns.push(Arc::clone(state));
        Start::New
    }

    /// The turn that a client means by its id: a running one before an ended one, then the newest.
    pub fn find(&self, player: &str, turn: &str) -> Option<Arc<TurnState>> {
        let now = Instant::now();
        let turns = self.turns.get(&(player.to_owned(), turn.to_owned()))?;
        let known = || turns.iter().rev().filter(|state| !state.expired(now));
        known().find(|state| state.done().is_none()).or_else(|| known().next()).cloned()
    }

    /// The turn with this id and NPC, if it runs.
    pub fn find_running(&self, player: &str, npc: &str, turn: &str) -> Option<Arc<TurnState>> {
        let turns = self.turns.get(&(player.to_owned(), turn.to_owned()))?;
        turns.iter().find(|state| state.npc == npc && state.done().is_none()).cloned()
    }

    /// Remembers an ended turn for a while.
    pub fn ended(&self, state: &Arc<TurnState>) {
        self.ended.lock().push_back(Arc::clone(state));
    }

    /// Forgets a turn that never started.
    pub fn remove(&self, state: &Arc<TurnState>) {
        let key = (state.player.clone(), state.turn.clone());
        if let Some(mut turns) = self.turns.get_mut(&key) {
            turns.retain(|known| !Arc::ptr_eq(known, state));
        }
        self.turns.remove_if(&key, |_, turns| turns.is_empty());
    }

    fn sweep(&self, now: Instant) {
        loop {
            let gone = {
                let mut ended = self.ended.lock();
                let full = ended.len() > MAX_ENDED;
                if full || ended.front().is_some_and(|state| state.expired(now)) {
                    ended.pop_front()
                } else {
                    None
                }
            };
            let Some(state) = gone else { return };
            self.remove(&state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_may_name_a_turn_with_each_npc() {
        let registry = Registry::default();
        let turns = ["lucy", "mina"].map(|npc| Arc::new(TurnState::new(npc, "anna", "t1", 10.0)));
        for turn in &turns {
            assert!(matches!(registry.start(turn), Start::New));
            assert!(matches!(registry.start(turn), Start::Known(known) if Arc::ptr_eq(&known, turn)));
        }
        assert!(Arc::ptr_eq(&registry.find("anna", "t1").unwrap(), &turns[1]), "the newest");
        for turn in &turns {
            assert!(Arc::ptr_eq(&registry.find_running("anna", &turn.npc, "t1").unwrap(), turn));
        }
        assert!(registry.find_running("anna", "nobody", "t1").is_none());
        registry.remove(&turns[1]);
        assert!(Arc::ptr_eq(&registry.find("anna", "t1").unwrap(), &turns[0]));
        assert!(registry.find_running("anna", "mina", "t1").is_none());
    }
}

//! Every session, by player.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use super::state::Session;

/// The sessions that are there. No reference into the map leaves a method, and none of them waits.
#[derive(Debug)]
pub struct Registry {
    by_player: DashMap<String, Vec<Arc<Session>>>,
    count: AtomicUsize,
    max: usize,
    max_per_player: usize,
}

/// There are as many sessions as there may be, in all or for the player.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Registry {
    /// An empty registry for `max` sessions, `max_per_player` of each player.
    pub fn new(max: usize, max_per_player: usize) -> Self {
        Self { by_player: DashMap::new(), count: AtomicUsize::new(0), max, max_per_player }
    }

    /// Adds a session.
    pub fn add(&self, session: &Arc<Session>) -> Result<(), Full> {
        let place = |count| (count < self.max).then_some(count + 1);
        self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, place).map_err(|_| Full)?;
        let mut sessions = self.by_player.entry(session.player.name.clone()).or_default();
        if sessions.len() < self.max_per_player {
            sessions.push(Arc::clone(session));
            return Ok(());
        }
        drop(sessions);
        self.count.fetch_sub(1, Ordering::AcqRel);
        // With a limit of 0 the entry was made just now.
        self.by_player.remove_if(&session.player.name, |_, sessions| sessions.is_empty());
        Err(Full)
    }

    /// Takes a session out.
    pub fn remove(&self, session: &Arc<Session>) {
        let mut removed = 0;
        self.by_player.remove_if_mut(&session.player.name, |_, sessions| {
            let before = sessions.len();
            sessions.retain(|other| !Arc::ptr_eq(other, session));
            removed = before - sessions.len();
            sessions.is_empty()
        });
        self.count.fetch_sub(removed, Ordering::AcqRel);
    }

    /// How many sessions there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// The sessions of these players that have joined an NPC, each once and without `speaker`.
    pub fn hearing(&self, players: &[String], npc: &str, speaker: &Arc<Session>) -> Vec<Arc<Session>> {
        let mut hearing = Vec::<Arc<Session>>::new();
        for player in players {
            self.by_player.view(player, |_, sessions| {
                for session in sessions {
                    let known =
                        Arc::ptr_eq(session, speaker) || hearing.iter().any(|h| Arc::ptr_eq(h, session));
                    if !known && session.has_joined(npc) {
                        hearing.push(Arc::clone(session));
                    }
                }
            });
        }
        hearing
    }
}

#[cfg(test)]
mod tests {
    use super::super::auth::Player;
    use super::super::outbox::Outbox;
    use super::*;
    use crate::wire::Subprotocol;

    fn session(player: &str) -> Arc<Session> {
        let player = Player { name: player.into(), scopes: vec![] };
        Session::new(player, Subprotocol::Json, Arc::new(Outbox::new(1000)))
    }

    #[test]
    fn sessions_are_limited_for_a_player_and_in_all() {
        let registry = Registry::new(3, 2);
        let (a1, a2, a3, b1, c1) = (session("a"), session("a"), session("a"), session("b"), session("c"));
        assert_eq!(registry.add(&a1), Ok(()));
        assert_eq!(registry.add(&a2), Ok(()));
        assert_eq!(registry.add(&a3), Err(Full));
        assert_eq!(registry.add(&b1), Ok(()));
        assert_eq!(registry.add(&c1), Err(Full));
        assert_eq!(registry.count(), 3);
        registry.remove(&a1);
        registry.remove(&a1);
        assert_eq!(registry.count(), 2);
        assert_eq!(registry.add(&c1), Ok(()));
        for session in [&a2, &b1, &c1] {
            registry.remove(session);
        }
        assert_eq!((registry.count(), registry.by_player.len()), (0, 0));
    }

    #[test]
    fn only_sessions_that_joined_the_npc_hear_it() {
        let registry = Registry::new(10, 10);
        let (speaker, near, far, other) = (session("a"), session("b"), session("b"), session("c"));
        for session in [&speaker, &near, &far, &other] {
            registry.add(session).unwrap();
        }
        for session in [&speaker, &near, &other] {
            session.joined("npc".into());
        }
        let audience = ["a", "b", "b", "nobody"].map(str::to_owned);
        let hearing = registry.hearing(&audience, "npc", &speaker);
        assert_eq!(hearing.len(), 1);
        assert!(Arc::ptr_eq(&hearing[0], &near));
    }
}

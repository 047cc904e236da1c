//! Every session, by player and by id.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use uuid::Uuid;

use super::state::Session;

/// The sessions that are there, also those that wait for their client. No reference into the maps leaves a method,
/// and none of them waits.
#[derive(Debug)]
pub struct Registry {
    by_player: DashMap<String, Vec<Arc<Session>>>,
    by_id: DashMap<Uuid, Arc<Session>>,
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
        Self {
            by_player: DashMap::new(),
            by_id: DashMap::new(),
            count: AtomicUsize::new(0),
            max,
            max_per_player,
        }
    }

    /// Adds a session. Where there is no room, one of the same player that has lost its socket is ended for it, the
    /// longest lost first; it is returned, and still to be removed.
    pub fn add(&self, session: &Arc<Session>) -> Result<Option<Arc<Session>>, Full> {
        let name = &session.player.name;
        let mut sessions = self.by_player.entry(name.clone()).or_default();
        let gives_way = if sessions.len() < self.max_per_player && self.take_place() {
            None
        } else if let Some(position) = end_longest_lost(&sessions) {
            // Its place is the new one's.
            Some(sessions.remove(position))
        } else {
            drop(sessions);
            // The entry may have been made just now.
            self.by_player.remove_if(name, |_, sessions| sessions.is_empty());
            return Err(Full);
        };
        sessions.push(Arc::clone(session));
        drop(sessions);
        self.by_id.insert(session.id, Arc::clone(session));
        Ok(gives_way)
    }

    fn take_place(&self) -> bool {
        let place = |count| (count < self.max).then_some(count + 1);
        self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, place).is_ok()
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
        self.by_id.remove(&session.id);
        self.count.fetch_sub(removed, Ordering::AcqRel);
    }

    /// The session with this id.
    pub fn find(&self, id: Uuid) -> Option<Arc<Session>> {
        self.by_id.view(&id, |_, session| Arc::clone(session))
    }

    /// Every session.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.by_id.iter().map(|session| Arc::clone(&session)).collect()
    }

    /// The sessions of a player.
    pub fn of(&self, player: &str) -> Vec<Arc<Session>> {
        self.by_player.view(player, |_, sessions| sessions.clone()).unwrap_or_default()
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

/// Ends the session that lost its socket the longest ago, and says where it stands.
fn end_longest_lost(sessions: &[Arc<Session>]) -> Option<usize> {
    loop {
        let lost = |(position, session): (usize, &Arc<Session>)| Some((session.lost_since()?, position));
        let (since, position) = sessions.iter().enumerate().filter_map(lost).min()?;
        // Otherwise its client came back just now, and it is not lost any more.
        if sessions[position].end_lost(since) {
            return Some(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::auth::Player;
    use super::super::outbox::Outbox;
    use super::super::replay::Shares;
    use super::*;
    use crate::wire::Subprotocol;

    fn session(player: &str) -> Arc<Session> {
        session_on(player, Arc::new(Outbox::new(1000)))
    }

    fn session_on(player: &str, outbox: Arc<Outbox>) -> Arc<Session> {
        let player = Player { name: player.into(), scopes: vec![] };
        Session::new(player, Subprotocol::Json, outbox, Shares::new(1000, 1000), None, Arc::default())
    }

    #[tokio::test]
    async fn the_longest_lost_session_of_the_same_player_gives_way() {
        let registry = Registry::new(4, 3);
        let outboxes: Vec<_> = (0..4).map(|_| Arc::new(Outbox::new(1000))).collect();
        let mut sessions: Vec<_> =
            outboxes[..3].iter().map(|outbox| session_on("a", Arc::clone(outbox))).collect();
        sessions.push(session_on("b", Arc::clone(&outboxes[3])));
        for session in &sessions {
            assert!(matches!(registry.add(session), Ok(None)));
        }
        // No one else's session is taken for it, lost or not.
        let lose = |i: usize| {
            let expiry = || tokio::spawn(std::future::pending::<()>()).abort_handle();
            assert!(sessions[i].lose(&outboxes[i], Instant::now(), expiry));
        };
        lose(3);
        assert!(matches!(registry.add(&session("c")), Err(Full)));
        assert!(matches!(registry.add(&session("a")), Err(Full)));
        for i in [2, 0, 1] {
            lose(i);
        }
        for i in [2, 0, 1] {
            let new = session("a");
            let gave_way = registry.add(&new).unwrap().unwrap();
            assert!(Arc::ptr_eq(&gave_way, &sessions[i]));
            assert!(gave_way.lost_since().is_none(), "it has ended");
            registry.remove(&gave_way);
            assert!(registry.find(sessions[i].id).is_none() && registry.find(new.id).is_some());
            assert_eq!(registry.count(), 4);
        }
        assert!(matches!(registry.add(&session("a")), Err(Full)));
    }

    #[test]
    fn sessions_are_limited_for_a_player_and_in_all() {
        let registry = Registry::new(3, 2);
        let (a1, a2, a3, b1, c1) = (session("a"), session("a"), session("a"), session("b"), session("c"));
        let add = |session| registry.add(session).map(|gave_way| assert!(gave_way.is_none()));
        assert_eq!(add(&a1), Ok(()));
        assert_eq!(add(&a2), Ok(()));
        assert_eq!(add(&a3), Err(Full));
        assert_eq!(add(&b1), Ok(()));
        assert_eq!(add(&c1), Err(Full));
        assert_eq!(registry.count(), 3);
        registry.remove(&a1);
        registry.remove(&a1);
        assert_eq!(registry.count(), 2);
        assert_eq!(add(&c1), Ok(()));
        for session in [&a2, &b1, &c1] {
            registry.remove(session);
        }
        assert_eq!((registry.count(), registry.by_player.len(), registry.by_id.len()), (0, 0, 0));
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

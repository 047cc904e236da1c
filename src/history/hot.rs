//! The last exchanges of every NPC with every player.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use uuid::Uuid;

use super::recall::Recalled;
use crate::metrics::{HotMetrics, Lookup};

/// What a player said to an NPC, and what the player heard of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Of its record.
    pub id: Uuid,
    /// The client's id of the turn.
    pub turn: String,
    /// What the NPC remembered for it. Prompts only ever grow at their end, so it stays where the model saw it.
    pub recalled: Option<Recalled>,
    /// The player's message, context included.
    pub message: String,
    pub reply: String,
    /// Who heard it besides the player.
    pub audience: Vec<String>,
}

impl Exchange {
    /// Whether a player was there. (Whose conversation it is was there always.)
    fn was_heard_by(&self, listener: &str) -> bool {
        self.audience.iter().any(|heard| heard == listener)
    }
}

/// Bounds of the tier.
#[derive(Debug, Clone, Copy)]
pub struct HotLimits {
    /// Conversations held; past it the least recently used tenth is forgotten.
    pub conversations: usize,
    /// The window of a prompt grows to `window_max` exchanges, then drops to `window_min` at once, so that
    /// most prompts begin like the one before.
    pub window_min: usize,
    pub window_max: usize,
}

/// NPC and player.
type Key = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct Conversation {
    /// At most `window_max`, oldest first.
    exchanges: VecDeque<Exchange>,
    /// How many of them the next prompt shows.
    window: usize,
    last_used: u64,
    /// What is stored was added, or there was nothing.
    hydrated: bool,
}

/// The hot tier. No method waits, and no reference into it leaves a method.
#[derive(Debug)]
pub struct Hot {
    limits: HotLimits,
    conversations: DashMap<Key, Conversation>,
    clock: AtomicU64,
    metrics: HotMetrics,
}

impl Hot {
    pub fn new(limits: HotLimits) -> Self {
        Self {
            limits,
            conversations: DashMap::new(),
            clock: AtomicU64::new(0),
            metrics: HotMetrics::default(),
        }
    }

    /// The exchanges that the next prompt shows, oldest first: of those in the window the ones that everybody of the
    /// audience heard too.
    pub fn window(&self, npc: &str, player: &str, audience: &[String]) -> Vec<Exchange> {
        let now = self.tick();
        let found = self.conversations.get_mut(&key(npc, player));
        self.metrics.lookups.of(if found.is_some() { Lookup::Hit } else { Lookup::Miss }).inc();
        found.map_or_else(Vec::new, |mut conversation| {
            conversation.last_used = now;
            let skip = conversation.exchanges.len().saturating_sub(conversation.window);
            let window = conversation.exchanges.iter().skip(skip);
            let others = || audience.iter().filter(|listener| *listener != player);
            window
                .filter(|exchange| others().all(|listener| exchange.was_heard_by(listener)))
                .cloned()
                .collect()
        })
    }

    /// Adds an exchange.
    pub fn push(&self, npc: &str, player: &str, exchange: Exchange) {
        let now = self.tick();
        {
            let mut conversation = self.conversations.entry(key(npc, player)).or_default();
            conversation.last_used = now;
            conversation.exchanges.push_back(exchange);
            while conversation.exchanges.len() > self.limits.window_max {
                conversation.exchanges.pop_front();
            }
            conversation.window += 1;
            if conversation.window > self.limits.window_max {
                conversation.window = self.limits.window_min;
            }
        }
        self.keep_within_limits();
    }

    pub fn limits(&self) -> HotLimits {
        self.limits
    }

    /// Conversations that are here.
    pub fn count(&self) -> usize {
        self.conversations.len()
    }

    pub fn metrics(&self) -> &HotMetrics {
        &self.metrics
    }

    /// Whether a conversation is here with what was stored of it.
    pub fn is_hydrated(&self, npc: &str, player: &str) -> bool {
        self.conversations.get(&key(npc, player)).is_some_and(|conversation| conversation.hydrated)
    }

    /// Adds what is stored of a conversation before what was said since; `stored`: the last exchanges, newest first, and
    /// whether that is all of them. The next prompt shows `window_min` of them at least.
    pub fn hydrate(&self, npc: &str, player: &str, stored: Vec<Exchange>, complete: bool) {
        if stored.is_empty() {
            return;
        }
        let now = self.tick();
        {
            let mut conversation = self.conversations.entry(key(npc, player)).or_default();
            let conversation = &mut *conversation;
            conversation.last_used = now;
            if !std::mem::replace(&mut conversation.hydrated, complete) {
                let said_since = conversation.exchanges.len();
                for exchange in stored {
                    if conversation.exchanges.len() < self.limits.window_max
                        && !conversation.exchanges.iter().any(|known| known.turn == exchange.turn)
                    {
                        conversation.exchanges.push_front(exchange);
                    }
                }
                let older = conversation.exchanges.len() - said_since;
                conversation.window += older.min(self.limits.window_min);
                if conversation.window > self.limits.window_max {
                    conversation.window = self.limits.window_min;
                }
            }
        }
        self.keep_within_limits();
    }

    /// Shortens the reply of an exchange to what was heard.
    pub fn amend(&self, npc: &str, player: &str, turn: &str, reply: &str) {
        if let Some(mut conversation) = self.conversations.get_mut(&key(npc, player))
            && let Some(exchange) = conversation.exchanges.iter_mut().rev().find(|e| e.turn == turn)
        {
            reply.clone_into(&mut exchange.reply);
        }
    }

    /// Forgets everything that a player took part in, and whatever may have been remembered of it.
    pub fn forget_player(&self, player: &str) {
        self.conversations.retain(|(_, other), conversation| {
            conversation.exchanges.retain_mut(|exchange| {
                exchange.recalled = None;
                !exchange.was_heard_by(player)
            });
            conversation.window = conversation.window.min(conversation.exchanges.len());
            &**other != player
        });
    }

    fn keep_within_limits(&self) {
        if self.conversations.len() > self.limits.conversations {
            self.forget_oldest();
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// A tenth at once, so that a full tier does not search for its oldest on every exchange.
    fn forget_oldest(&self) {
        let mut ages: Vec<u64> = self.conversations.iter().map(|c| c.last_used).collect();
        let tenth = (ages.len() / 10).max(1).min(ages.len().saturating_sub(1));
        let (_, newest_to_go, _) = ages.select_nth_unstable(tenth);
        let newest_to_go = *newest_to_go;
        let before = self.conversations.len();
        self.conversations.retain(|_, c| c.last_used >= newest_to_go);
        self.metrics.evictions.add(before.saturating_sub(self.conversations.len()) as u64);
    }
}

fn key(npc: &str, player: &str) -> Key {
    (Arc::from(npc), Arc::from(player))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HotLimits = HotLimits { conversations: 20, window_min: 5, window_max: 10 };

    fn exchange(turn: usize) -> Exchange {
        Exchange {
            id: Uuid::from_u128(turn as u128),
            turn: turn.to_string(),
            recalled: None,
            message: format!("m{turn}"),
            reply: format!("reply {turn}"),
            audience: Vec::new(),
        }
    }

    #[test]
    fn the_window_grows_to_ten_and_drops_to_five() {
        let hot = Hot::new(LIMITS);
        let mut sizes = Vec::new();
        for turn in 0..18 {
            sizes.push(hot.window("npc", "player", &[]).len());
            hot.push("npc", "player", exchange(turn));
        }
        assert_eq!(sizes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 5, 6, 7, 8, 9, 10, 5]);
        let window = hot.window("npc", "player", &[]);
        assert_eq!(window.first().map(|e| e.turn.as_str()), Some("12"));
        assert_eq!(window.last().map(|e| e.turn.as_str()), Some("17"));
    }

    #[test]
    fn players_and_npcs_are_kept_apart() {
        let hot = Hot::new(LIMITS);
        hot.push("npc", "anna", exchange(1));
        assert!(hot.window("npc", "ben", &[]).is_empty());
        assert!(hot.window("other", "anna", &[]).is_empty());
    }

    #[test]
    fn a_player_who_is_forgotten_leaves_the_others() {
        let hot = Hot::new(LIMITS);
        for (npc, player) in [("npc", "anna"), ("other", "anna"), ("anna", "ben")] {
            hot.push(npc, player, exchange(1));
        }
        hot.forget_player("anna");
        assert!(hot.window("npc", "anna", &[]).is_empty() && hot.window("other", "anna", &[]).is_empty());
        assert_eq!(hot.window("anna", "ben", &[]).len(), 1);
    }

    #[test]
    fn an_amended_reply_is_what_was_heard() {
        let hot = Hot::new(LIMITS);
        hot.push("npc", "anna", exchange(1));
        hot.push("npc", "anna", exchange(2));
        hot.amend("npc", "anna", "1", "re");
        let replies: Vec<_> = hot.window("npc", "anna", &[]).into_iter().map(|e| e.reply).collect();
        assert_eq!(replies, ["re", "reply 2"]);
    }

    fn turns(hot: &Hot) -> Vec<String> {
        hot.window("npc", "anna", &[]).into_iter().map(|exchange| exchange.turn).collect()
    }

    #[test]
    fn what_is_stored_comes_before_what_was_said_since() {
        let hot = Hot::new(LIMITS);
        hot.push("npc", "anna", exchange(8));
        assert!(!hot.is_hydrated("npc", "anna"));
        let stored = || (0..9).rev().map(exchange).collect();
        hot.hydrate("npc", "anna", stored(), true);
        assert!(hot.is_hydrated("npc", "anna"));
        assert_eq!(turns(&hot), ["3", "4", "5", "6", "7", "8"]);
        hot.hydrate("npc", "anna", stored(), true);
        assert_eq!(turns(&hot).len(), 6, "once");
        for turn in 9..14 {
            hot.push("npc", "anna", exchange(turn));
        }
        assert_eq!(turns(&hot), ["9", "10", "11", "12", "13"], "the window drops as ever");
    }

    #[test]
    fn what_was_not_all_is_completed() {
        let hot = Hot::new(LIMITS);
        hot.push("npc", "anna", exchange(8));
        hot.hydrate("npc", "anna", vec![exchange(8), exchange(7)], false);
        assert!(!hot.is_hydrated("npc", "anna"));
        assert_eq!(turns(&hot), ["7", "8"]);
        hot.hydrate("npc", "anna", (5..9).rev().map(exchange).collect(), true);
        assert!(hot.is_hydrated("npc", "anna"));
        assert_eq!(turns(&hot), ["5", "6", "7", "8"]);
    }

    #[test]
    fn a_full_conversation_takes_nothing_older() {
        let hot = Hot::new(LIMITS);
        for turn in 10..20 {
            hot.push("npc", "anna", exchange(turn));
        }
        hot.hydrate("npc", "anna", (0..10).rev().map(exchange).collect(), true);
        assert_eq!(turns(&hot), (10..20).map(|turn| turn.to_string()).collect::<Vec<_>>());
        hot.hydrate("npc", "ben", Vec::new(), true);
        assert!(!hot.is_hydrated("npc", "ben"), "who has said nothing takes no room");
    }

    #[test]
    fn nobody_hears_what_was_said_without_them() {
        let hot = Hot::new(LIMITS);
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (turn, audience) in [&[][..], &["ben"], &["ben", "cleo"]].into_iter().enumerate() {
            hot.push("npc", "anna", Exchange { audience: all(audience), ..exchange(turn) });
        }
        let shown = |audience: &[&str]| {
            let window = hot.window("npc", "anna", &all(audience));
            window.into_iter().map(|exchange| exchange.turn).collect::<Vec<_>>()
        };
        assert_eq!(shown(&[]), ["0", "1", "2"]);
        assert_eq!(shown(&["anna"]), ["0", "1", "2"]);
        assert_eq!(shown(&["ben"]), ["1", "2"]);
        assert_eq!(shown(&["cleo", "ben"]), ["2"]);
        assert_eq!(shown(&["dora"]), [""; 0]);
        hot.forget_player("cleo");
        assert_eq!(shown(&[]), ["0", "1"]);
        hot.forget_player("anna");
        assert_eq!(shown(&[]), [""; 0]);
    }

    #[test]
    fn the_least_recently_used_are_forgotten() {
        let hot = Hot::new(LIMITS);
        for player in 0..20 {
            hot.push("npc", &player.to_string(), exchange(0));
        }
        hot.window("npc", "0", &[]);
        hot.push("npc", "new", exchange(0));
        assert!(!hot.window("npc", "0", &[]).is_empty());
        assert!(!hot.window("npc", "new", &[]).is_empty());
        assert!(hot.window("npc", "1", &[]).is_empty());
        assert!(hot.conversations.len() <= 20);
    }
}

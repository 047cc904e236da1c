//! What the tiers give to recall and to each other.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::memory::Memory;
use super::recall::{Line, MAX_MEMORIES, Origin};
use super::record::Record;
use super::{ArchiveError, Exchange, History, HistoryError, warm};
use crate::metrics::{Done, Read, Search};

/// How long the warm tier may take where no turn waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// A player's name that is nobody's: what is known of the world is asked for under it.
const WORLD: &str = "";

/// What the journal and the archive have.
struct Stored {
    memories: Vec<Arc<Memory>>,
    /// Why there may be more of them in the archive.
    missing: Option<ArchiveError>,
}

impl History {
    /// Adds what has just been stored.
    pub fn remember(&self, record: &Record) {
        let memory = Arc::new(Memory::from(record));
        if memory.is_memorable() {
            self.recall.remember(&memory);
            self.warm.put(&memory);
        }
    }

    /// What an NPC said in a stored line is what was heard of it now. One that is not in memory any more is left as it
    /// is until it is read from the journal again.
    pub fn reword(&self, npc: &str, player: &str, id: Uuid, reply: &str) {
        if let Some(known) = self.recall.get(npc, player, id).filter(|known| known.reply != reply) {
            let memory = Arc::new(Memory { reply: reply.to_owned(), ..(*known).clone() });
            self.recall.remember(&memory);
            self.warm.put(&memory);
        }
    }

    /// Tokens of a prompt for what an NPC remembers; 0: it does not.
    pub fn recall_tokens(&self) -> usize {
        self.recall_tokens
    }

    /// What comes to an NPC's mind for a line, the first thing first. What is not in memory is read from the warm tier,
    /// and from nowhere else: a line does not wait for a disk.
    pub async fn recalled(&self, line: &Line<'_>) -> Vec<Arc<Memory>> {
        let began = Instant::now();
        let (npc, player) = (line.npc, line.player);
        if !self.recall.is_loaded(npc, player, Origin::Warm) {
            if !self.may_know(npc, player) {
                // From here on everything is remembered as it happens.
                self.recall.fill(npc, player, &[], Origin::Stored);
            } else if let Ok(_fetching) = self.fetching.try_read()
                && let Some(memories) = self.read_warm(npc, player, self.warm_patience).await
            {
                self.recall.fill(npc, player, &memories, Origin::Warm);
            }
        }
        let found = self.recall.search(line);
        let result = if found.is_empty() { Search::Nothing } else { Search::Found };
        self.metrics.searches.of(result).inc();
        self.metrics.recall.observe(began.elapsed());
        found
    }

    async fn read_warm(&self, npc: &str, player: &str, patience: Duration) -> Option<Vec<Arc<Memory>>> {
        let began = Instant::now();
        let read = self.warm.read(npc, player, patience).await;
        let result = match &read {
            Some(memories) if !memories.is_empty() => Read::Hit,
            Some(_) => Read::Miss,
            None => Read::Failed,
        };
        self.metrics.warm_reads.of(result).inc();
        self.metrics.warm_read.observe(began.elapsed());
        read
    }

    /// Whether something may be stored that an NPC knows and that may concern a player.
    fn may_know(&self, npc: &str, player: &str) -> bool {
        let known = self.journal.known();
        known.may_have_conversation(npc, player) || known.may_have_conversation(npc, WORLD)
    }

    /// Whether something may be stored that has not been fetched yet.
    pub fn is_cold(&self, npc: &str, player: &str) -> bool {
        let said = self.journal.known().may_have_conversation(npc, player);
        said && !self.hot.is_hydrated(npc, player)
            || self.may_know(npc, player) && !self.recall.is_loaded(npc, player, Origin::Stored)
    }

    /// Gives the hot tier a conversation as it is stored, recall what the NPC knows that may concern the player, and the
    /// warm tier what it lacks of it. `exchange` makes an exchange of a memory, where it is one.
    ///
    /// # Errors
    /// [`HistoryError`]; what the warm tier and the journal had is there all the same.
    pub async fn hydrate(
        &self,
        npc: &str,
        player: &str,
        exchange: impl Fn(&Memory) -> Option<Exchange>,
    ) -> Result<(), HistoryError> {
        if !self.is_cold(npc, player) {
            return Ok(());
        }
        let began = Instant::now();
        let fetched = self.fetch(npc, player, exchange).await;
        self.metrics.hydrations.of(if fetched.is_ok() { Done::Done } else { Done::Failed }).inc();
        self.metrics.hydration.observe(began.elapsed());
        fetched
    }

    /// What [`Self::hydrate`] does.
    async fn fetch(
        &self,
        npc: &str,
        player: &str,
        exchange: impl Fn(&Memory) -> Option<Exchange>,
    ) -> Result<(), HistoryError> {
        let _fetching = self.fetching.read().await;
        let read = self.read_warm(npc, player, PATIENCE).await;
        if let Some(warm) = &read {
            self.recall.fill(npc, player, warm, Origin::Warm);
        }
        let warm = read.unwrap_or_default();
        let (stored, missing) = match self.stored_memories(npc, player).await {
            Ok(Stored { memories, missing }) => (memories, missing.map(HistoryError::from)),
            Err(error) => (Vec::new(), Some(error)),
        };
        // What is missing is asked for again at the next join.
        let origin = if missing.is_none() { Origin::Stored } else { Origin::Warm };
        let mut all: BTreeMap<Uuid, Arc<Memory>> =
            warm.iter().map(|memory| (memory.id, Arc::clone(memory))).collect();
        self.recall.fill(npc, player, &stored, origin);
        for (age, memory) in stored.iter().enumerate() {
            let known = all.insert(memory.id, Arc::clone(memory));
            if age < warm::KEPT && known.is_none_or(|known| *known != **memory) {
                // Since it was read it may have changed, and what happened is remembered as it is.
                let now = self.recall.get(npc, player, memory.id);
                self.warm.put(now.as_ref().unwrap_or(memory));
            }
        }
        let own = all.values().rev().filter(|memory| memory.npc == npc && memory.player == player);
        let exchanges =
            own.filter_map(|memory| exchange(memory)).take(self.hot.limits().window_max).collect();
        self.hot.hydrate(npc, player, exchanges, missing.is_none());
        missing.map_or(Ok(()), Err)
    }

    /// What is stored that an NPC knows and that may concern a player, newest first, as much as recall holds.
    async fn stored_memories(&self, npc: &str, player: &str) -> Result<Stored, HistoryError> {
        let recent = self.conversation(npc, player, MAX_MEMORIES).await?;
        let (mut records, mut missing) = (recent.records, recent.missing);
        for concerned in [Some(player), None] {
            let (here, left) = self.journal.known_to(npc, concerned, MAX_MEMORIES).await?;
            records.extend(here);
            if let Some(archive) = self.archive.as_ref().filter(|_| !left.is_empty() && missing.is_none()) {
                match archive.find_all(&left).await {
                    Ok(archived) => records.extend(self.as_heard(archived).await?),
                    Err(error) => missing = Some(error),
                }
            }
        }
        records.sort_unstable_by_key(|record| Reverse(record.id));
        let memories = records.iter().map(Memory::from).filter(Memory::is_memorable);
        Ok(Stored { memories: memories.map(Arc::new).collect(), missing })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use npc_stores::Redis;

    use super::*;
    use crate::config::Config;
    use crate::history::record::tests::record;
    use crate::history::{HotLimits, Kind, Recall};

    /// A history of this folder; its warm tier in this process, or there.
    fn open(data: &Path, redis_url: &str) -> Arc<History> {
        let sets = [format!("history.redis_url={redis_url}"), "history.redis_timeout_ms=60000".to_owned()];
        let config = Config::load(None, std::iter::empty(), &sets).unwrap();
        let limits = HotLimits { conversations: 100, window_min: 5, window_max: 10 };
        History::open(data, &config.history, limits).unwrap()
    }

    fn said(npc: &str, player: &str, text: &str) -> Record {
        let mut record = record(npc, player, &Uuid::now_v7().to_string());
        text.clone_into(&mut record.body.text);
        record
    }

    async fn keep(history: &History, record: &Record) {
        history.journal.put(record).await.unwrap();
        history.remember(record);
        history.warm.flush().await;
    }

    async fn recalled(history: &History, npc: &str, player: &str) -> Vec<Arc<Memory>> {
        let line = Line {
            npc,
            archetype: "vampire",
            player,
            audience: &[],
            text: "Where is the ring?",
            shown: HashSet::new(),
            now_ms: 1_700_000_000_000,
        };
        history.recalled(&line).await
    }

    async fn texts(history: &History, npc: &str, player: &str) -> Vec<String> {
        recalled(history, npc, player).await.iter().map(|memory| memory.text.clone()).collect()
    }

    /// What was held leaves memory.
    fn evict(history: &mut Arc<History>) {
        Arc::get_mut(history).unwrap().recall = Recall::new(64 << 20);
    }

    #[tokio::test]
    async fn what_left_memory_is_read_from_the_warm_tier() {
        let redis = Redis::start();
        for url in [String::new(), redis.url()] {
            let data = tempfile::tempdir().unwrap();
            let mut history = open(data.path(), &url);
            keep(&history, &said("lucy", "anna", "I lost my ring.")).await;
            evict(&mut history);
            assert!(!history.recall.is_loaded("lucy", "anna", Origin::Warm));
            assert_eq!(texts(&history, "lucy", "anna").await, ["I lost my ring."]);
            assert!(history.recall.is_loaded("lucy", "anna", Origin::Warm));
            assert_eq!(history.metrics.warm_reads.of(Read::Hit).get(), 1);
            assert_eq!(history.metrics.searches.of(Search::Found).get(), 1);
            assert_eq!(texts(&history, "lucy", "ben").await, [""; 0]);
            assert_eq!(history.metrics.searches.of(Search::Nothing).get(), 1);
        }
    }

    #[tokio::test]
    async fn without_the_warm_tier_it_comes_from_the_journal_and_goes_back() {
        let redis = Redis::start();
        let data = tempfile::tempdir().unwrap();
        let mut history = open(data.path(), &redis.url());
        let mut open_line = said("lucy", "anna", "A ring before ben.");
        open_line.body.audience = vec!["ben".into()];
        let mut gift = Record { kind: Kind::Gift, ..said("lucy", "anna", "A ring for Lucy.") };
        gift.body.witnesses = vec!["igor".into()];
        for record in [&said("lucy", "anna", "My ring."), &open_line, &gift] {
            keep(&history, record).await;
        }
        let keys = redis.keys();
        redis.command(&["FLUSHALL"]);
        assert_eq!(texts(&history, "lucy", "anna").await.len(), 3, "what is in memory stays");
        evict(&mut history);
        assert_eq!(texts(&history, "lucy", "anna").await, [""; 0], "a line does not ask the journal");
        evict(&mut history);
        let cases = [("lucy", "anna", 3), ("lucy", "ben", 2), ("igor", "cleo", 1), ("lucy", "cleo", 1)];
        for (npc, player, expected) in cases {
            history.hydrate(npc, player, |_| None).await.unwrap();
            assert_eq!(texts(&history, npc, player).await.len(), expected, "{npc} {player}");
        }
        history.warm.flush().await;
        assert_eq!(redis.keys(), keys, "and it is warm again");
    }

    #[tokio::test]
    async fn what_was_heard_is_what_is_remembered() {
        let data = tempfile::tempdir().unwrap();
        let redis = Redis::start();
        let mut history = open(data.path(), &redis.url());
        let line = said("lucy", "anna", "The ring?");
        keep(&history, &line).await;
        history.reword("lucy", "anna", line.id, "Good");
        history.warm.flush().await;
        let reply = async |history: &History| recalled(history, "lucy", "anna").await[0].reply.clone();
        assert_eq!(reply(&history).await, "Good");
        evict(&mut history);
        assert_eq!(reply(&history).await, "Good", "in the warm tier too");
        // The journal has not heard of it, so it knows better than what was warm, and worse than what is fresh.
        history.hydrate("lucy", "anna", |_| None).await.unwrap();
        assert_eq!(reply(&history).await, "Good évening.");
        history.reword("lucy", "anna", line.id, "Go");
        let stored = history.stored_memories("lucy", "anna").await.unwrap();
        history.recall.fill("lucy", "anna", &stored.memories, Origin::Stored);
        assert_eq!(reply(&history).await, "Go");
    }
}

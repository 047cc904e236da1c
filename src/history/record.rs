//! One thing that happened between an NPC and a player, as it is stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::wire::{
    AdapterUse, Choice, DoneReason, EmotionLabel, EventKind, RankedGoal, Relationship, TimingInfo, TurnDone,
    UsageInfo,
};

/// Version of [`Body`] that is written. Keys that are added with a default need no new one.
const VERSION: i32 = 1;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Dialogue,
    Event,
    Action,
    Attitude,
    Injury,
    Gift,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Dialogue, Self::Event, Self::Action, Self::Attitude, Self::Injury, Self::Gift];

    /// As it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dialogue => "dialogue",
            Self::Event => "event",
            Self::Action => "action",
            Self::Attitude => "attitude",
            Self::Injury => "injury",
            Self::Gift => "gift",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What the NPC said and how much of it was heard. It may change until 120 s after the turn's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Ends where a cancel cut it.
    pub said: String,
    /// Characters; `None`: all of them.
    pub chars: Option<u64>,
}

impl Heard {
    pub(super) fn from_stored(said: String, chars: Option<i64>) -> Self {
        Self { said, chars: chars.map(|chars| u64::try_from(chars).unwrap_or(0)) }
    }

    /// As stores have it.
    pub(super) fn stored_chars(&self) -> Option<i64> {
        self.chars.map(|chars| i64::try_from(chars).unwrap_or(i64::MAX))
    }

    /// The part that was heard.
    pub fn text(&self) -> &str {
        let end = self
            .chars
            .and_then(|chars| self.said.char_indices().nth(usize::try_from(chars).ok()?).map(|(end, _)| end));
        &self.said[..end.unwrap_or(self.said.len())]
    }
}

/// What became of an action that an NPC proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The id of the proposal.
    pub action: String,
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an NPC felt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Felt {
    pub label: EmotionLabel,
    /// 0..1.
    pub intensity: f32,
}

/// What an NPC thinks of a player, before a line and after it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tie {
    pub before: Relationship,
    pub after: Relationship,
}

/// Everything of a record that no query asks for by itself. Keys may be added, with a default for the records that
/// lack them; whatever else changes needs a new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// The client's id of the turn, or of the event; of an action the turn in which it was proposed.
    pub turn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What the NPC was when it happened.
    pub archetype: String,
    /// What the player said, or what happened.
    pub text: String,
    /// What was around.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    pub reason: DoneReason,
    #[serde(default)]
    pub fallback: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterUse>,
    pub usage: UsageInfo,
    pub timing: TimingInfo,
    /// Players who could hear it besides the speaker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// Players and NPCs who saw it happen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<String>,
    /// Of what kind an event was, as the client told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventKind>,
    /// What became of an action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What an NPC decided on its own, by task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub results: BTreeMap<String, Choice>,
    /// What the NPC felt at the end of its line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emotion: Option<Felt>,
    /// What the NPC thought of the player.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relationship: Option<Tie>,
    /// What the NPC wanted, the likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<RankedGoal>,
    /// Ids of the records that the NPC remembered for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recalled: Vec<Uuid>,
    /// 0 to 1; `None`: nobody has judged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<f32>,
    /// The game's own clock, as the game writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world_time: Option<String>,
    /// Milliseconds since 1970, UTC, at the end.
    pub at_ms: u64,
}

/// A record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub id: Uuid,
    pub kind: Kind,
    pub npc: String,
    pub player: String,
    pub heard: Heard,
    pub body: Body,
}

/// A record that this program cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("interaction {id} has version {version}, and this program reads versions up to {VERSION}")]
    Newer { id: Uuid, version: i32 },
    #[error("interaction {id}: {reason}")]
    Broken { id: Uuid, reason: String },
    #[error("npc {id:?}: {reason}")]
    Npc { id: String, reason: String },
}

/// What stands for a turn, an event or an action's outcome in the store.
pub type IdempotencyKey = [u8; 16];

/// The key of a turn. Two that differ have different keys, but for a chance in 2¹²⁸.
pub fn turn_key(player: &str, npc: &str, turn: &str) -> IdempotencyKey {
    key(&["turn", player, npc, turn])
}

/// The key of an event.
pub fn event_key(player: &str, npc: &str, event: &str) -> IdempotencyKey {
    key(&["event", player, npc, event])
}

/// The key of an action's outcome.
pub fn outcome_key(player: &str, npc: &str, turn: &str, action: &str) -> IdempotencyKey {
    key(&["action", player, npc, turn, action])
}

/// The key of what an NPC did on its own.
pub fn act_key(player: &str, npc: &str, act: &str) -> IdempotencyKey {
    key(&["act", player, npc, act])
}

fn key(parts: &[&str]) -> IdempotencyKey {
    let mut digest = Sha256::new();
    for part in parts {
        // With their lengths, so that no two lists of parts read the same.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut key = IdempotencyKey::default();
    key.copy_from_slice(&digest.finalize()[..16]);
    key
}

impl Body {
    /// The body of something that is no line: what only lines have, and what nobody told, is empty.
    pub fn happened(id: &str, archetype: &str, text: String, at_ms: u64) -> Self {
        Self {
            turn: id.to_owned(),
            session: None,
            archetype: archetype.to_owned(),
            text,
            context: None,
            reason: DoneReason::Stop,
            fallback: false,
            adapters: Vec::new(),
            usage: UsageInfo::default(),
            timing: TimingInfo::default(),
            audience: Vec::new(),
            witnesses: Vec::new(),
            event: None,
            outcome: None,
            results: BTreeMap::new(),
            emotion: None,
            relationship: None,
            goals: Vec::new(),
            recalled: Vec::new(),
            importance: None,
            world_time: None,
            at_ms,
        }
    }

    /// Everybody who is named besides the record's own player and NPC, each once.
    pub fn mentions(&self) -> impl Iterator<Item = &str> {
        let named = self.audience.iter().chain(&self.witnesses).map(String::as_str);
        named.collect::<std::collections::BTreeSet<_>>().into_iter()
    }

    /// Takes a name out of those who were there; tells whether it was among them.
    pub fn unmention(&mut self, player: &str) -> bool {
        let before = self.audience.len() + self.witnesses.len();
        self.audience.retain(|name| name != player);
        self.witnesses.retain(|name| name != player);
        self.audience.len() + self.witnesses.len() < before
    }
}

impl Record {
    /// Its idempotency key.
    pub fn key(&self) -> IdempotencyKey {
        let (player, npc, id) = (&self.player, &self.npc, &self.body.turn);
        match (self.kind, &self.body.outcome) {
            (Kind::Dialogue, _) => turn_key(player, npc, id),
            (_, Some(outcome)) => outcome_key(player, npc, id, &outcome.action),
            (_, None) if !self.body.results.is_empty() => act_key(player, npc, id),
            (_, None) => event_key(player, npc, id),
        }
    }

    /// The `turn.done` that its client was sent.
    pub fn done(&self) -> TurnDone {
        TurnDone {
            turn: self.body.turn.clone(),
            player: self.player.clone(),
            npc: self.npc.clone(),
            reason: self.body.reason,
            text: self.heard.said.clone(),
            fallback: self.body.fallback,
            usage: self.body.usage,
            timing: self.body.timing,
            interaction: Some(self.id.to_string()),
        }
    }

    /// The version and the bytes of its body.
    ///
    /// # Errors
    /// [`RecordError::Broken`] if it cannot be written as MessagePack, which no body is known to do.
    pub(super) fn encode(&self) -> Result<(i32, Vec<u8>), RecordError> {
        let broken =
            |error: rmp_serde::encode::Error| RecordError::Broken { id: self.id, reason: error.to_string() };
        Ok((VERSION, rmp_serde::to_vec_named(&self.body).map_err(broken)?))
    }

    /// A record from what is stored of it.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(super) fn decode(stored: Stored) -> Result<Self, RecordError> {
        stored.read(|body| rmp_serde::from_slice(&body).map_err(|error| error.to_string()))
    }

    /// The same of what is stored with its body as JSON.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(super) fn decode_json(stored: StoredJson) -> Result<Self, RecordError> {
        stored.read(|body| serde_json::from_value(body).map_err(|error| error.to_string()))
    }
}

/// A record as a store has it: in the journal the body is MessagePack.
#[derive(Debug)]
pub(super) struct Stored<B = Vec<u8>> {
    pub id: Uuid,
    pub version: i32,
    pub kind: String,
    pub npc: String,
    pub player: String,
    pub heard: Heard,
    pub body: B,
}

/// With its body as JSON, as the archive has it.
pub(super) type StoredJson = Stored<serde_json::Value>;

impl<B> Stored<B> {
    fn read(self, body: impl FnOnce(B) -> Result<Body, String>) -> Result<Record, RecordError> {
        let Self { id, version, kind, npc, player, heard, body: stored } = self;
        if !(1..=VERSION).contains(&version) {
            return Err(RecordError::Newer { id, version });
        }
        let body = body(stored).map_err(|reason| RecordError::Broken { id, reason })?;
        let kind = Kind::from_name(&kind)
            .ok_or_else(|| RecordError::Broken { id, reason: format!("there is no kind {kind:?}") })?;
        Ok(Record { id, kind, npc, player, heard, body })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn record(npc: &str, player: &str, turn: &str) -> Record {
        Record {
            id: Uuid::now_v7(),
            kind: Kind::Dialogue,
            npc: npc.into(),
            player: player.into(),
            heard: Heard { said: "Good évening.".into(), chars: None },
            body: Body {
                usage: UsageInfo { prompt_tokens: 3, cached_tokens: 1, generated_tokens: 2 },
                timing: TimingInfo { queue_ms: 1, ttft_ms: 2, total_ms: 3 },
                ..Body::happened(turn, "vampire", "Hi".into(), 1_700_000_000_000)
            },
        }
    }

    fn stored(record: &Record) -> Stored {
        let (version, body) = record.encode().unwrap();
        Stored {
            id: record.id,
            version,
            kind: record.kind.name().into(),
            npc: record.npc.clone(),
            player: record.player.clone(),
            heard: record.heard.clone(),
            body,
        }
    }

    #[test]
    fn everything_comes_back() {
        let mut full = record("n", "anna", "t");
        full.heard.chars = Some(4);
        full.body = Body {
            session: Some("s".into()),
            context: Some("rain".into()),
            fallback: true,
            adapters: vec![AdapterUse {
                id: "a".into(),
                task: "personality".into(),
                version: "v1".into(),
                weight: 0.5,
            }],
            audience: vec!["ben".into()],
            witnesses: vec!["mina".into(), "ben".into()],
            event: Some(EventKind::Threat),
            outcome: Some(Outcome { action: "a".into(), ok: false, reason: Some("too far".into()) }),
            results: [(
                "action_policy".to_owned(),
                Choice { choice: "hunt".into(), probs: [("hunt".into(), 1.0)].into() },
            )]
            .into(),
            emotion: Some(Felt { label: EmotionLabel::Joy, intensity: 0.5 }),
            relationship: Some(Tie {
                before: Relationship::default(),
                after: Relationship { trust: 0.5, ..Relationship::default() },
            }),
            goals: vec![RankedGoal { id: "g".into(), text: "Feed.".into(), p: 1.0 }],
            recalled: vec![Uuid::now_v7()],
            importance: Some(0.25),
            world_time: Some("day 3".into()),
            ..full.body
        };
        for kind in Kind::ALL {
            let record = Record { kind, ..full.clone() };
            assert_eq!(Record::decode(stored(&record)), Ok(record));
        }
        assert_eq!(full.body.mentions().collect::<Vec<_>>(), ["ben", "mina"]);
        let mut scrubbed = full.body.clone();
        assert!(scrubbed.unmention("ben") && !scrubbed.unmention("ben"));
        assert_eq!(scrubbed.mentions().collect::<Vec<_>>(), ["mina"]);
        assert_eq!(full.heard.text(), "Good");
        assert_eq!(full.done().text, "Good évening.");
        assert_eq!(full.done().interaction, Some(full.id.to_string()));
    }

    /// The bytes that version 1 began with: they are read for ever.
    #[test]
    fn the_first_version_is_read() {
        let old = serde_json::json!({
            "turn": "t", "archetype": "vampire", "text": "Hi", "reason": "stop", "at_ms": 1_700_000_000_000_u64,
            "usage": {"prompt_tokens": 3, "cached_tokens": 1, "generated_tokens": 2},
            "timing": {"queue_ms": 1, "ttft_ms": 2, "total_ms": 3}, "from_a_later_program": [1],
        });
        let expected = record("n", "anna", "t");
        let old = Stored { version: 1, body: rmp_serde::to_vec_named(&old).unwrap(), ..stored(&expected) };
        assert_eq!(Record::decode(old), Ok(expected));
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let record = record("n", "anna", "t");
        let newer = Stored { version: 2, ..stored(&record) };
        assert_eq!(Record::decode(newer), Err(RecordError::Newer { id: record.id, version: 2 }));
        let broken = Stored { body: vec![0xc1], ..stored(&record) };
        assert!(matches!(Record::decode(broken), Err(RecordError::Broken { .. })));
        let strange = Stored { kind: "dream".into(), ..stored(&record) };
        assert!(matches!(Record::decode(strange), Err(RecordError::Broken { .. })));
    }

    #[test]
    fn keys_tell_the_parts_apart() {
        let keys = [("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"), ("abc", "", "d")]
            .map(|(player, npc, turn)| turn_key(player, npc, turn));
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(key));
        }
    }

    #[test]
    fn a_turn_an_event_and_an_outcome_of_one_name_are_three() {
        let turn = record("n", "anna", "t");
        let event = Record { kind: Kind::Gift, ..turn.clone() };
        let mut action = Record { kind: Kind::Action, ..turn.clone() };
        action.body.outcome = Some(Outcome { action: "t".into(), ok: true, reason: None });
        let mut act = Record { kind: Kind::Action, ..turn.clone() };
        act.body.results = [("t".to_owned(), Choice { choice: "a".into(), probs: [].into() })].into();
        assert_eq!(act.key(), act_key("anna", "n", "t"));
        assert!(act.key() != event.key() && act.key() != turn.key());
        assert_eq!(turn.key(), turn_key("anna", "n", "t"));
        assert_eq!(event.key(), event_key("anna", "n", "t"));
        assert_eq!(action.key(), outcome_key("anna", "n", "t", "t"));
        assert!(turn.key() != event.key() && event.key() != action.key() && turn.key() != action.key());
    }

    #[test]
    fn what_was_heard_ends_between_characters() {
        let heard = |chars| Heard { said: "é日x".into(), chars }.text().to_owned();
        assert_eq!([Some(0), Some(1), Some(2), Some(9), None].map(heard), ["", "é", "é日", "é日x", "é日x"]);
    }
}

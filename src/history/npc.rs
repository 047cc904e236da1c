//! What is stored of an NPC itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::RecordError;
use crate::wire::Relationship;

/// Version of [`NpcState`] that is written. Keys that are added with a default need no new one.
const VERSION: i32 = 1;

/// Who an NPC is, and what it has become.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NpcRecord {
    pub id: String,
    pub archetype: String,
    pub name: String,
    pub seed: u64,
    #[serde(default)]
    pub state: NpcState,
}

/// What changes in an NPC's life, and what it was born with. Keys that a state lacks were not there when it was written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NpcState {
    /// As whoever made it gave it; `None`: nobody gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<BTreeMap<String, f32>>,
    /// Every trait as it was born with it; empty: what its seed and its pack say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub born: BTreeMap<String, f32>,
    /// How far traits have drifted since; traits that have not are absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drift: BTreeMap<String, f32>,
    /// What made them drift last, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<NpcGrowth>,
    /// How often what kind of thing has happened.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// By player.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub relationships: BTreeMap<String, NpcTie>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<NpcGoal>,
    /// What it looks like, scars and all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub body: BTreeMap<String, serde_json::Value>,
    /// How it felt last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mood: Option<NpcMood>,
}

/// Something that has changed an NPC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NpcGrowth {
    pub cause: String,
    /// Whose doing it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub player: Option<String>,
    /// Milliseconds since 1970, UTC, of the last time.
    pub at_ms: u64,
    /// How often, one after the other.
    pub times: u32,
    /// By how much each trait moved.
    pub moved: BTreeMap<String, f32>,
}

/// What an NPC thought of a player at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NpcTie {
    pub trust: f32,
    pub respect: f32,
    pub familiarity: f32,
    pub fear: f32,
    pub affection: f32,
    /// Milliseconds since 1970, UTC.
    #[serde(default)]
    pub at_ms: u64,
}

impl NpcTie {
    pub fn new(of: Relationship, at_ms: u64) -> Self {
        let Relationship { trust, respect, familiarity, fear, affection } = of;
        Self { trust, respect, familiarity, fear, affection, at_ms }
    }

    pub fn relationship(&self) -> Relationship {
        let Self { trust, respect, familiarity, fear, affection, at_ms: _ } = *self;
        Relationship { trust, respect, familiarity, fear, affection }
    }
}

/// How much an NPC wanted something at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NpcGoal {
    pub id: String,
    pub text: String,
    /// 0 to 1.
    pub priority: f32,
    /// Milliseconds since 1970, UTC.
    #[serde(default)]
    pub at_ms: u64,
}

/// How an NPC felt at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NpcMood {
    /// −1 to 1.
    pub value: f32,
    /// Milliseconds since 1970, UTC.
    pub at_ms: u64,
}

impl NpcState {
    /// Takes a player out; tells whether they were there.
    pub fn forget(&mut self, player: &str) -> bool {
        self.forget_until(player, u64::MAX)
    }

    /// The same of what is from before a time.
    pub fn forget_until(&mut self, player: &str, until_ms: u64) -> bool {
        let old = self.relationships.get(player).is_some_and(|tie| tie.at_ms <= until_ms);
        let mut knew = old && self.relationships.remove(player).is_some();
        for growth in self.growth.iter_mut().filter(|growth| growth.at_ms <= until_ms) {
            // What it has become stays; whose doing it was does not.
            knew |= growth.player.take_if(|of| of.as_str() == player).is_some();
        }
        knew
    }

    /// Its traits as they are now; empty: nobody has asked since there are any.
    pub(super) fn traits(&self) -> BTreeMap<&str, f32> {
        self.born
            .iter()
            .map(|(of, born)| {
                (of.as_str(), (born + self.drift.get(of).copied().unwrap_or(0.0)).clamp(-1.0, 1.0))
            })
            .collect()
    }
}

impl NpcRecord {
    /// The version and the bytes of its state.
    ///
    /// # Errors
    /// [`RecordError::Npc`] if it cannot be written as MessagePack, which no state is known to do.
    pub(super) fn encode(&self) -> Result<(i32, Vec<u8>), RecordError> {
        let state = rmp_serde::to_vec_named(&self.state).map_err(|error| self.broken(&error))?;
        Ok((VERSION, state))
    }

    /// Reads the state, as it was stored with this version, into the rest.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(super) fn with_state(self, version: i32, state: &[u8]) -> Result<Self, RecordError> {
        if !(1..=VERSION).contains(&version) {
            let reason = format!("it has version {version}, and this program reads versions up to {VERSION}");
            return Err(self.broken(&reason));
        }
        let state = rmp_serde::from_slice(state).map_err(|error| self.broken(&error))?;
        Ok(Self { state, ..self })
    }

    fn broken(&self, reason: &impl ToString) -> RecordError {
        RecordError::Npc { id: self.id.clone(), reason: reason.to_string() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub fn npc(id: &str) -> NpcRecord {
        NpcRecord {
            id: id.into(),
            archetype: "vampire".into(),
            name: "Lucy".into(),
            seed: u64::MAX,
            state: NpcState {
                personality: Some([("neo_modesty".to_owned(), -0.5)].into()),
                born: [("neo_modesty".to_owned(), -0.5), ("neo_anger".to_owned(), 0.25)].into(),
                drift: [("neo_anger".to_owned(), 0.125)].into(),
                growth: vec![NpcGrowth {
                    cause: "injury".into(),
                    player: Some("anna".into()),
                    at_ms: 5,
                    times: 2,
                    moved: [("neo_anger".to_owned(), 0.125)].into(),
                }],
                counts: [("injury".to_owned(), 2)].into(),
                relationships: [(
                    "anna".to_owned(),
                    NpcTie {
                        trust: 0.5,
                        respect: 0.0,
                        familiarity: 1.0,
                        fear: -1.0,
                        affection: 0.25,
                        at_ms: 7,
                    },
                )]
                .into(),
                goals: vec![NpcGoal { id: "g".into(), text: "Blood".into(), priority: 0.75, at_ms: 9 }],
                body: [("scars".to_owned(), json!([{"place": "cheek", "since": 3}]))].into(),
                mood: Some(NpcMood { value: 0.5, at_ms: 3 }),
            },
        }
    }

    #[test]
    fn everything_comes_back() {
        for npc in [npc("n"), NpcRecord { state: NpcState::default(), ..npc("n") }] {
            let (version, bytes) = npc.encode().unwrap();
            let bare = NpcRecord { state: NpcState::default(), ..npc.clone() };
            assert_eq!(bare.with_state(version, &bytes), Ok(npc));
        }
    }

    /// The bytes that version 1 began with: they are read for ever.
    #[test]
    fn the_first_version_is_read() {
        let old = json!({
            "personality": {"neo_modesty": -0.5},
            "relationships": {"anna": {"trust": 0.5, "respect": 0.0, "familiarity": 1.0, "fear": -1.0, "affection": 0.25}},
            "goals": [{"id": "g", "text": "Blood", "priority": 0.75}],
            "body": {"scars": [{"place": "cheek", "since": 3}]},
            "from_a_later_program": 1,
        });
        let read = npc("n").with_state(1, &rmp_serde::to_vec_named(&old).unwrap()).unwrap().state;
        let now = npc("n").state;
        let anna = now.relationships["anna"];
        let expected = NpcState {
            personality: now.personality,
            relationships: [("anna".to_owned(), NpcTie { at_ms: 0, ..anna })].into(),
            goals: vec![NpcGoal { at_ms: 0, ..now.goals[0].clone() }],
            body: now.body,
            ..NpcState::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_player_is_forgotten_and_what_they_did_stays() {
        let mut state = npc("n").state;
        assert!(!state.forget("ben") && state.forget("anna") && !state.forget("anna"));
        assert!(state.relationships.is_empty());
        assert_eq!((state.growth.len(), &state.growth[0].player), (1, &None));
        assert_eq!(state.traits(), [("neo_anger", 0.375), ("neo_modesty", -0.5)].into());
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let (version, bytes) = npc("n").encode().unwrap();
        for (version, bytes) in [(version + 1, &bytes[..]), (0, &bytes), (version, &bytes[1..])] {
            let error = npc("n").with_state(version, bytes).unwrap_err();
            assert!(matches!(&error, RecordError::Npc { id, .. } if id == "n"), "{error}");
        }
    }
}

//! What is stored of an NPC itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::RecordError;
use crate::wire::{GoalInfo, Relationship};

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

/// What changes in an NPC's life, and what it was born with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NpcState {
    /// As whoever made it gave it; `None`: nobody gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<BTreeMap<String, f32>>,
    /// By player.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub relationships: BTreeMap<String, Relationship>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<GoalInfo>,
    /// What it looks like, scars and all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub body: BTreeMap<String, serde_json::Value>,
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
                relationships: [(
                    "anna".to_owned(),
                    Relationship { trust: 0.5, respect: 0.0, familiarity: 1.0, fear: -1.0, affection: 0.25 },
                )]
                .into(),
                goals: vec![GoalInfo { id: "g".into(), text: "Blood".into(), priority: 0.75 }],
                body: [("scars".to_owned(), json!([{"place": "cheek", "since": 3}]))].into(),
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

    #[test]
    fn what_cannot_be_read_says_so() {
        let (version, bytes) = npc("n").encode().unwrap();
        for (version, bytes) in [(version + 1, &bytes[..]), (0, &bytes), (version, &bytes[1..])] {
            let error = npc("n").with_state(version, bytes).unwrap_err();
            assert!(matches!(&error, RecordError::Npc { id, .. } if id == "n"), "{error}");
        }
    }
}

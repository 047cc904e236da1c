//! What may be remembered of a record, and by whom.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::record::{Kind, Record};

/// Places of one memory at most. A line has one for each of at most 64 listeners and the speaker; an event one for each
/// of at most 64 witnesses and the NPC that it happened to.
pub const MAX_PLACES: usize = 256;

/// A record as the warm tier and recall hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub id: Uuid,
    pub kind: Kind,
    pub npc: String,
    pub player: String,
    /// The client's id.
    pub turn: String,
    /// What the NPC was when it happened.
    pub archetype: String,
    /// What the player said, or what happened.
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// What was heard of the NPC's answer.
    pub reply: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<f32>,
    /// Milliseconds since 1970, UTC.
    pub at_ms: u64,
}

/// Where memories are kept together: what an NPC knows that one player took part in, or what it knows of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub npc: String,
    /// `None`: what happened in the world, which it may tell anybody.
    pub player: Option<String>,
}

impl Place {
    pub fn with(npc: &str, player: &str) -> Self {
        Self { npc: npc.to_owned(), player: Some(player.to_owned()) }
    }

    pub fn world(npc: &str) -> Self {
        Self { npc: npc.to_owned(), player: None }
    }
}

impl From<&Record> for Memory {
    fn from(record: &Record) -> Self {
        let body = &record.body;
        Self {
            id: record.id,
            kind: record.kind,
            npc: record.npc.clone(),
            player: record.player.clone(),
            turn: body.turn.clone(),
            archetype: body.archetype.clone(),
            text: body.text.clone(),
            context: body.context.clone(),
            reply: record.heard.text().to_owned(),
            audience: body.audience.clone(),
            witnesses: body.witnesses.clone(),
            importance: body.importance,
            at_ms: body.at_ms,
        }
    }
}

impl Memory {
    /// Said among those who were there, and nobody else's business.
    pub fn is_private(&self) -> bool {
        self.kind == Kind::Dialogue
    }

    /// Whether there is something to remember: a line that was cancelled before an answer began is as if unsaid, and
    /// something without words cannot be told.
    pub fn is_memorable(&self) -> bool {
        !if self.is_private() { &self.reply } else { &self.text }.is_empty()
    }

    /// Whether an NPC was there.
    pub fn is_known_to(&self, npc: &str) -> bool {
        self.npc == npc || self.witnesses.iter().any(|witness| witness == npc)
    }

    /// Whether a player was there.
    pub fn took_part(&self, player: &str) -> bool {
        let all = self.audience.iter().chain(&self.witnesses);
        self.player == player || all.into_iter().any(|id| id == player)
    }

    /// Whether an NPC may let it show in a line to a player in front of an audience. This is the rule: what was said
    /// among some is for their ears only, whatever the NPC is asked; what happened in the world may be told.
    pub fn may_be_told(&self, npc: &str, player: &str, audience: &[String]) -> bool {
        self.is_known_to(npc)
            && (!self.is_private()
                || self.took_part(player) && audience.iter().all(|listener| self.took_part(listener)))
    }

    /// Every place that it belongs to, each once.
    pub fn places(&self) -> Vec<Place> {
        let knowers = std::iter::once(&self.npc).chain(&self.witnesses);
        let mut places: Vec<Place> = if self.is_private() {
            let there: Vec<_> =
                std::iter::once(&self.player).chain(&self.audience).chain(&self.witnesses).collect();
            knowers
                .flat_map(|npc| there.iter().map(|player| Place::with(npc, player)))
                .take(MAX_PLACES)
                .collect()
        } else {
            knowers.map(|npc| Place::world(npc)).take(MAX_PLACES).collect()
        };
        places.sort_unstable();
        places.dedup();
        places
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let texts = [&self.npc, &self.player, &self.turn, &self.archetype, &self.text, &self.reply];
        let ids = self.audience.iter().chain(&self.witnesses).map(|id| id.len() + size_of::<String>());
        let context = self.context.as_ref().map_or(0, String::len);
        size_of::<Self>() + context + texts.iter().map(|text| text.len()).sum::<usize>() + ids.sum::<usize>()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::history::record::tests::record;

    /// Something that a player told an NPC and was answered.
    pub fn told(npc: &str, player: &str, text: &str) -> Memory {
        let mut record = record(npc, player, "t");
        record.body.turn = record.id.to_string();
        text.clone_into(&mut record.body.text);
        Memory::from(&record)
    }

    fn ids(all: &[&str]) -> Vec<String> {
        all.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn can_x_know_y() {
        let told = told("lucy", "anna", "I stole the ring.");
        assert!(told.is_known_to("lucy") && !told.is_known_to("igor"));
        let seen = Memory { witnesses: ids(&["igor", "ben"]), ..told };
        assert!(seen.is_known_to("lucy") && seen.is_known_to("igor") && !seen.is_known_to("anna"));
    }

    #[test]
    fn what_was_said_is_for_those_who_were_there() {
        let secret = told("lucy", "anna", "I stole the ring.");
        let may = |memory: &Memory, player: &str, audience: &[&str]| {
            memory.may_be_told("lucy", player, &ids(audience))
        };
        assert!(may(&secret, "anna", &[]) && may(&secret, "anna", &["anna"]));
        assert!(!may(&secret, "ben", &[]));
        assert!(!may(&secret, "anna", &["ben"]), "nor in front of somebody else");
        let open = Memory { audience: ids(&["ben"]), ..secret };
        assert!(may(&open, "ben", &[]) && may(&open, "anna", &["ben"]) && may(&open, "ben", &["anna"]));
        assert!(!may(&open, "cleo", &[]) && !may(&open, "anna", &["ben", "cleo"]));
        assert!(!open.may_be_told("igor", "anna", &[]), "who was not there knows nothing");
    }

    #[test]
    fn what_happened_may_be_told_by_those_who_saw_it() {
        for kind in [Kind::Event, Kind::Action, Kind::Attitude, Kind::Injury, Kind::Gift] {
            let wound = Memory { kind, witnesses: ids(&["igor"]), ..told("lucy", "anna", "Anna cut her.") };
            for npc in ["lucy", "igor"] {
                assert!(wound.may_be_told(npc, "cleo", &ids(&["ben"])), "{kind:?}");
            }
            assert!(!wound.may_be_told("mina", "cleo", &[]), "{kind:?}");
        }
    }

    /// A memory is found where it is looked for: by an NPC that knows it, for a player to whom it may be told.
    #[test]
    fn places_hold_what_may_be_told() {
        let all = ["anna", "ben", "cleo", "lucy", "igor"];
        let base = told("lucy", "anna", "Hello.");
        for kind in [Kind::Dialogue, Kind::Gift] {
            for (audience, witnesses) in
                [(&[][..], &[][..]), (&["ben"], &[]), (&["ben", "anna"], &["igor"]), (&[], &["igor", "cleo"])]
            {
                let memory =
                    Memory { kind, audience: ids(audience), witnesses: ids(witnesses), ..base.clone() };
                let places = memory.places();
                for npc in all {
                    for player in all {
                        let looked_for = [Place::with(npc, player), Place::world(npc)];
                        let found = looked_for.iter().any(|place| places.contains(place));
                        assert_eq!(found, memory.may_be_told(npc, player, &[]), "{npc} {player} {memory:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn places_are_bounded() {
        let many: Vec<String> = (0..64).map(|id| format!("w{id}")).collect();
        let memory = Memory { witnesses: many.clone(), audience: many, ..told("lucy", "anna", "Hello.") };
        assert!(memory.places().len() <= MAX_PLACES);
        assert!(memory.places().contains(&Place::with("lucy", "anna")));
    }
}

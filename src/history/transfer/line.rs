//! The lines of a file.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::history::npc::NpcRecord;
use crate::history::record::{Body, Heard, Kind, Record};

pub const FORMAT: &str = "npc-gateway.npc";
/// Keys may be added, with a default for files that lack them; whatever else changes needs a new version.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Head {
    pub format: String,
    pub version: u32,
    pub npc: NpcRecord,
}

/// A line for each thing that happened.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub id: Uuid,
    pub kind: Kind,
    pub player: String,
    pub said: String,
    /// Characters of `said`; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<u64>,
    pub body: Body,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Foot {
    pub interactions: u64,
    /// Of all bytes before this line, in hexadecimal digits.
    pub sha256: String,
}

impl Line {
    pub fn new(record: Record) -> Self {
        let Record { id, kind, npc: _, player, heard, body } = record;
        Self { id, kind, player, said: heard.said, heard: heard.chars, body }
    }

    pub fn record(self, npc: &str) -> Record {
        let Self { id, kind, player, said, heard, body } = self;
        Record { id, kind, npc: npc.to_owned(), player, heard: Heard { said, chars: heard }, body }
    }
}

//! Records as the journal's database has them.

use diesel::prelude::*;
use uuid::Uuid;

use super::JournalError;
use super::places::PlaceRow;
use super::schema::interactions;
use super::store::read_error;
use crate::history::record::{Heard, Record, Stored};

/// A record to be written.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub row: Row,
    /// Who is named in it besides its own player.
    pub mentions: Vec<String>,
    /// Where it belongs besides its own conversation.
    pub places: Vec<PlaceRow>,
}

impl Entry {
    pub fn new(record: &Record) -> Result<Self, JournalError> {
        let mentions = record.body.mentions().filter(|name| *name != record.player).map(str::to_owned);
        Ok(Self { mentions: mentions.collect(), places: PlaceRow::all(record), row: Row::new(record)? })
    }

    /// NPCs and players who know of it from elsewhere; an empty player stands for the world.
    pub fn conversations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(PlaceRow::conversation)
    }
}

/// A record as it is stored.
#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = interactions, treat_none_as_default_value = false)]
pub(super) struct Row {
    pub id: Vec<u8>,
    pub idempotency_key: Vec<u8>,
    version: i32,
    kind: String,
    pub npc: String,
    pub player: String,
    said: String,
    heard: Option<i64>,
    body: Vec<u8>,
}

impl Row {
    pub fn new(record: &Record) -> Result<Self, JournalError> {
        let (version, body) = record.encode()?;
        Ok(Self {
            id: record.id.as_bytes().to_vec(),
            idempotency_key: record.key().to_vec(),
            version,
            kind: record.kind.name().to_owned(),
            npc: record.npc.clone(),
            player: record.player.clone(),
            said: record.heard.said.clone(),
            heard: record.heard.stored_chars(),
            body,
        })
    }

    pub fn id(&self) -> &[u8] {
        &self.id
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What it is kept for as long as there is a store.
    pub fn key(&self) -> &[u8] {
        &self.idempotency_key
    }

    pub fn record(self) -> Result<Record, JournalError> {
        Ok(Record::decode(self.stored()?)?)
    }

    pub fn stored(self) -> Result<Stored, JournalError> {
        Ok(Stored {
            id: uuid(&self.id)?,
            version: self.version,
            kind: self.kind,
            npc: self.npc,
            player: self.player,
            heard: Heard::from_stored(self.said, self.heard),
            body: self.body,
        })
    }
}

pub(super) fn uuid(bytes: &[u8]) -> Result<Uuid, JournalError> {
    Uuid::from_slice(bytes).map_err(read_error)
}

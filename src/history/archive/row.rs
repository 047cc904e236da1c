//! A record as Postgres has it. Its body is JSON there, so that it can be asked about in SQL.

use diesel::{Queryable, Selectable};
use serde_json::{Map, Number, Value};
use uuid::Uuid;

use super::schema::npc_interactions;
use super::text::{escape, unescape};
use crate::history::journal::Leaving;
use crate::history::record::{Heard, Record, RecordError, StoredJson};

/// A row on its way to Postgres.
#[derive(Debug)]
pub(super) struct Row {
    pub id: Uuid,
    pub key: Vec<u8>,
    pub version: i32,
    pub kind: String,
    pub npc: String,
    pub player: String,
    pub said: String,
    pub heard: Option<i64>,
    /// JSON.
    pub body: String,
    pub at_ms: i64,
    /// Of the journal's row.
    pub revision: i64,
}

impl Row {
    /// # Errors
    /// [`RecordError::Broken`] if the body is no MessagePack.
    pub fn new(leaving: Leaving) -> Result<Self, RecordError> {
        let Leaving { stored, key, revision } = leaving;
        let broken = |reason: String| RecordError::Broken { id: stored.id, reason };
        // As it is, so that what a later program has put into it stays.
        let body: rmpv::Value =
            rmp_serde::from_slice(&stored.body).map_err(|error| broken(error.to_string()))?;
        let body = json(body).ok_or_else(|| broken("its body cannot be written as JSON".to_owned()))?;
        let at_ms = body.get("at_ms").and_then(Value::as_i64).unwrap_or_else(|| first_ms(stored.id) as i64);
        Ok(Self {
            id: stored.id,
            key,
            version: stored.version,
            kind: stored.kind,
            npc: stored.npc,
            player: stored.player,
            said: escape(&stored.heard.said).into_owned(),
            heard: stored.heard.stored_chars(),
            body: body.to_string(),
            at_ms,
            revision,
        })
    }
}

/// The millisecond of a UUIDv7.
pub(super) fn first_ms(id: Uuid) -> u64 {
    (id.as_u128() >> 80) as u64
}

/// The same value; `None` if JSON has no such thing.
fn json(value: rmpv::Value) -> Option<Value> {
    Some(match value {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(flag) => Value::Bool(flag),
        rmpv::Value::Integer(whole) => match (whole.as_u64(), whole.as_i64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(whole)) => whole.into(),
            (None, None) => return None,
        },
        // By its own digits: 0.1 and not 0.10000000149011612.
        rmpv::Value::F32(number) => Value::Number(Number::from_f64(number.to_string().parse().ok()?)?),
        rmpv::Value::F64(number) => Value::Number(Number::from_f64(number)?),
        rmpv::Value::String(text) => Value::String(escape(text.as_str()?).into_owned()),
        rmpv::Value::Array(items) => Value::Array(items.into_iter().map(json).collect::<Option<_>>()?),
        rmpv::Value::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                map.insert(escape(key.as_str()?).into_owned(), json(value)?);
            }
            Value::Object(map)
        }
        // The ids of other records; nothing else is kept in bytes.
        rmpv::Value::Binary(bytes) => Value::String(Uuid::from_slice(&bytes).ok()?.to_string()),
        rmpv::Value::Ext(..) => return None,
    })
}

fn unescape_all(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(unescape(text)),
        Value::Array(items) => Value::Array(items.into_iter().map(unescape_all).collect()),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (unescape(key), unescape_all(value))).collect())
        }
        value => value,
    }
}

/// A row as it is read.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = npc_interactions)]
pub(super) struct Read {
    id: Uuid,
    version: i32,
    kind: String,
    npc: String,
    player: String,
    said: String,
    heard: Option<i64>,
    body: Value,
}

impl Read {
    pub fn record(self) -> Result<Record, RecordError> {
        Record::decode_json(StoredJson {
            id: self.id,
            version: self.version,
            kind: self.kind,
            npc: self.npc,
            player: self.player,
            heard: Heard::from_stored(unescape(self.said), self.heard),
            body: unescape_all(self.body),
        })
    }
}

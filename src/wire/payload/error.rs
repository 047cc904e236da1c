use serde::{Deserialize, Serialize};

use crate::wire::ErrorCode;
#[cfg(test)]
use crate::wire::schema;

/// S `error`: what a client frame or a turn ran into. The socket stays open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Error"))]
pub struct ErrorPayload {
    pub code: ErrorCode,
    /// For a person; names the field and the limit in words.
    pub message: String,
    /// Whether the same frame may succeed later.
    pub temporary: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: Option<String>,
    /// Path of the offending key inside `d`: `generation.temperature`, `actions[3].name`. `cid` and `d` name
    /// the frame's own keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The bound that was broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

impl ErrorPayload {
    /// An error without any of the optional keys.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            temporary: false,
            retry_after_ms: None,
            turn: None,
            npc: None,
            field: None,
            limit: None,
        }
    }
}

/// A bound: a whole number where a count is limited, a float where a weight is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Limit {
    Count(u64),
    Number(#[serde(deserialize_with = "finite")] f64),
}

/// JSON has no other numbers, and no bound is one.
fn finite<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number.is_finite() { Ok(number) } else { Err(serde::de::Error::custom("a limit is a finite number")) }
}

impl From<u64> for Limit {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Limit {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<f64> for Limit {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

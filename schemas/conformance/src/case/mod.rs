//! Case files: what is sent, and what must come back.

mod load;
mod step;

use serde::Deserialize;
use serde_json::Value;

pub use load::load;
pub use step::{Action, Close, Door, Http, Loop, Pair, Resume, Session, Step, Upgrade};

/// One file: a table or chapter of the protocol.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// What it walks.
    pub chapter: String,
    pub cases: Vec<Case>,
    /// The file's name without its extension.
    #[serde(skip)]
    pub name: String,
}

/// One thing that a server does right or wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// Sentences of the protocol that it proves, word for word.
    pub proves: Vec<String>,
    /// What a run must have; without it the case is skipped.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Subprotocols in which it runs; absent: each.
    #[serde(default)]
    pub subprotocols: Option<Vec<String>>,
    /// It ends the server, and so runs behind all others.
    #[serde(default)]
    pub last: bool,
    pub steps: Vec<Step>,
    /// The file that it stands in.
    #[serde(skip)]
    pub file: String,
}

impl Case {
    /// As reports and `--filter` have it.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.file, self.name)
    }
}

/// What a run must have.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Need {
    /// See `run/needs.rs`.
    Named(String),
    /// A value that is there and not above the other.
    AtMost { at_most: (Value, Value) },
    /// A value that is not announced, told by `--told NAME=VALUE`.
    Told { told: String },
}

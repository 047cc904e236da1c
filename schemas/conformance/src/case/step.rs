//! One step of a case: a map with one key that says what to do, and `on`, the socket's name (`"a"` if it is absent).

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    pub on: String,
    pub action: Action,
    /// As the file has it, for reports.
    pub text: String,
}

/// What to do.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Opens a socket and reads `hello`.
    Connect(Door),
    /// The same, and identifies.
    Session(Session),
    /// Asks for an upgrade, and looks at the answer alone.
    Upgrade(Upgrade),
    /// Makes sure that there is an NPC with this id, and joins it.
    Join(String),
    Send(Value),
    /// Sends a frame as the other subprotocol has it.
    SendAsOther(Value),
    /// Sends a frame so many times, whether the server still reads or not.
    Flood {
        frame: Value,
        times: Value,
    },
    /// Sends what need not be a frame: bytes in hexadecimal, or text.
    Raw {
        msgpack: Option<Value>,
        json: Option<Value>,
    },
    /// Sends a frame; the first answer with its `cid` must match. Frames without it are passed over.
    Ask(Pair),
    /// The next frame must match.
    Expect(Value),
    /// A frame must come that matches; others are passed over.
    Until(Value),
    /// For each of these a frame must come, in any order; others are passed over.
    UntilAll(Vec<Value>),
    /// A frame must come that matches the first; if one matches the second before, this server does not have it.
    Has(Pair),
    /// The first value must match the second; if it is not there, this server does not have it.
    Available(Pair),
    /// Everything sent so far is answered, and no frame of these (`{}`: none at all) came with it.
    Silence {
        #[serde(default)]
        of: Option<Vec<Value>>,
    },
    /// The server closes the socket. Frames before that are passed over.
    ExpectClose {
        code: Value,
        reason: Value,
    },
    /// Ends the connection without a word.
    Drop {},
    /// Closes as a client does.
    Close {
        code: u16,
    },
    /// Opens a socket and takes the session of another one up; what comes until `resumed` must be what that socket got,
    /// byte for byte, and what it missed.
    Resume(Resume),
    Http(Http),
    /// Names values.
    Set(BTreeMap<String, Value>),
    /// The first value must match the second.
    Check(Pair),
    Wait {
        ms: Value,
    },
    /// Does steps again and again.
    Repeat(Loop),
    /// Does the steps for each of these values.
    Each {
        of: Value,
        r#as: String,
        steps: Vec<Step>,
    },
    /// Sends the bytes of every golden frame of clients.
    Golden {},
    /// Tells the server to go down.
    Drain {},
}

/// Two values.
pub type Pair = (Value, Value);

/// How a socket is opened.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Door {
    /// `msgpack` or `json`; absent: the run's.
    #[serde(default)]
    pub subprotocol: Option<String>,
    /// The kernel buffers little of what is not read.
    #[serde(default)]
    pub narrow: bool,
    /// No heartbeats are sent, which otherwise are.
    #[serde(default)]
    pub silent: bool,
    /// No subprotocol is offered.
    #[serde(default)]
    pub offers_none: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Absent: `$player`.
    #[serde(default)]
    pub player: Option<Value>,
    /// Absent: every right that a player can have.
    #[serde(default)]
    pub scope: Option<String>,
    #[serde(default)]
    pub door: Door,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// `Sec-WebSocket-Protocol`; absent: no such header.
    #[serde(default)]
    pub offer: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    pub status: Value,
    /// The subprotocol that must be chosen.
    #[serde(default)]
    pub chosen: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The socket whose session it is.
    pub from: String,
    /// The last `s` that is said to be there; absent: what that socket has.
    #[serde(default)]
    pub seq: Option<Value>,
    /// The token; absent: the newest that the socket has.
    #[serde(default)]
    pub token: Option<Value>,
    #[serde(default)]
    pub door: Door,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    #[serde(default)]
    pub method: Option<String>,
    pub path: Value,
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    /// A pattern.
    pub status: Value,
    /// A pattern for the body.
    #[serde(default)]
    pub json: Option<Value>,
    #[serde(default)]
    pub text: Option<Value>,
    /// 404 says that this server does not have it.
    #[serde(default)]
    pub optional: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loop {
    pub times: Value,
    /// The name of the count, from 0.
    #[serde(default)]
    pub r#as: Option<String>,
    /// A frame that matches ends the loop, wherever it comes.
    #[serde(default)]
    pub until: Option<Value>,
    /// So does a close.
    #[serde(default)]
    pub until_close: Option<Close>,
    /// Why the case is skipped if that never comes; absent: it fails.
    #[serde(default)]
    pub else_skip: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    pub code: u16,
    pub reason: String,
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = Map::deserialize(deserializer)?;
        let text = Value::Object(map.clone()).to_string();
        let on = match map.remove("on") {
            None => "a".to_owned(),
            Some(Value::String(on)) => on,
            Some(other) => return Err(D::Error::custom(format!("`on` is {other} in {text}"))),
        };
        let wrong = |error| D::Error::custom(format!("{error} in the step {text}"));
        let action = serde_json::from_value(Value::Object(map)).map_err(wrong)?;
        Ok(Self { on, action, text })
    }
}

//! Frames as the protocol's page has them, as far as players need them.

use std::borrow::Cow;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Message;

/// How frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    Msgpack,
    Json,
}

impl Encoding {
    /// Its name in `Sec-WebSocket-Protocol`.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Msgpack => "npc.v1.msgpack",
            Self::Json => "npc.v1.json",
        }
    }

    /// A client's frame as a message.
    pub fn write<D: Serialize>(self, op: &str, cid: Option<u64>, payload: &D) -> anyhow::Result<Message> {
        #[derive(Serialize)]
        struct Frame<'a, D> {
            op: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            cid: Option<u64>,
            d: &'a D,
        }
        let frame = Frame { op, cid, d: payload };
        Ok(match self {
            Self::Msgpack => Message::binary(rmp_serde::to_vec_named(&frame)?),
            Self::Json => Message::text(serde_json::to_string(&frame)?),
        })
    }

    fn parse<'m, T: Deserialize<'m>>(self, bytes: &'m [u8]) -> anyhow::Result<T> {
        Ok(match self {
            Self::Msgpack => rmp_serde::from_slice(bytes)?,
            Self::Json => serde_json::from_slice(bytes)?,
        })
    }

    /// The bytes of a server's frame.
    ///
    /// # Errors
    /// A message of the wrong type.
    pub fn bytes(self, message: &Message) -> anyhow::Result<&[u8]> {
        match (self, message) {
            (Self::Msgpack, Message::Binary(bytes)) => Ok(bytes),
            (Self::Json, Message::Text(text)) => Ok(text.as_bytes()),
            _ => bail!("a message of the wrong type came: {message:.80}"),
        }
    }

    /// Only what a frame is, which is all that a reader needs that counts.
    pub fn head(self, message: &Message) -> anyhow::Result<Head<'_>> {
        self.parse(self.bytes(message)?)
    }

    /// Reads a server's frame.
    pub fn read(self, message: &Message) -> anyhow::Result<Frame> {
        let bytes = self.bytes(message)?;
        let Head { op, s, cid } = self.parse(bytes).context("a frame without head came")?;
        let what = || format!("a bad {op} came");
        let body = match &*op {
            "hello" => Body::Hello(self.payload(bytes).with_context(what)?),
            "ready" => Body::Ready(self.payload(bytes).with_context(what)?),
            "resumed" => Body::Resumed(self.payload(bytes).with_context(what)?),
            "resume_failed" => Body::ResumeFailed(self.payload(bytes).with_context(what)?),
            "turn.started" => Body::Started(self.payload(bytes).with_context(what)?),
            "dialogue.delta" => Body::Delta(self.payload(bytes).with_context(what)?),
            "turn.cancelled" => Body::Cancelled(self.payload(bytes).with_context(what)?),
            "turn.done" => Body::Done(self.payload(bytes).with_context(what)?),
            "error" => Body::Error(self.payload(bytes).with_context(what)?),
            _ => Body::Other,
        };
        Ok(Frame { op: op.into_owned(), s, cid, body })
    }

    fn payload<'m, D: Deserialize<'m>>(self, bytes: &'m [u8]) -> anyhow::Result<D> {
        #[derive(Deserialize)]
        struct Payload<D> {
            d: D,
        }
        Ok(self.parse::<Payload<D>>(bytes)?.d)
    }
}

/// What every frame begins with.
#[derive(Debug, Deserialize)]
pub struct Head<'m> {
    #[serde(borrow)]
    pub op: Cow<'m, str>,
    pub s: Option<u64>,
    /// These clients number their frames.
    pub cid: Option<u64>,
}

/// A frame from the server.
#[derive(Debug)]
pub struct Frame {
    pub op: String,
    pub s: Option<u64>,
    pub cid: Option<u64>,
    pub body: Body,
}

/// The payloads that somebody looks into.
#[derive(Debug)]
pub enum Body {
    Hello(Hello),
    Ready(Ready),
    Resumed(Resumed),
    ResumeFailed(ResumeFailed),
    Started(Started),
    Delta(Delta),
    Cancelled(Cancelled),
    Done(Done),
    Error(Refusal),
    Other,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Hello {
    pub protocol: u64,
    pub engine: String,
    pub heartbeat_ms: u64,
}

#[derive(Debug, Deserialize)]
pub struct Ready {
    pub session: String,
    pub resume_token: String,
    pub epoch: String,
    pub player: String,
    pub resume_window_ms: u64,
}

#[derive(Debug, Deserialize)]
pub struct Resumed {
    pub replayed: u64,
    pub resume_token: String,
}

#[derive(Debug, Deserialize)]
pub struct ResumeFailed {
    pub reason: String,
}

#[derive(Debug, Deserialize)]
pub struct Started {
    pub turn: String,
    pub player: String,
}

#[derive(Debug, Deserialize)]
pub struct Delta {
    pub turn: String,
    pub player: String,
    pub text: String,
    pub offset: u64,
}

#[derive(Debug, Deserialize)]
pub struct Cancelled {
    pub turn: String,
    pub player: String,
}

#[derive(Debug, Deserialize)]
pub struct Done {
    pub turn: String,
    pub player: String,
    pub reason: String,
    pub text: String,
    #[serde(default)]
    pub fallback: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub retry_after_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct Identify<'a> {
    pub token: &'a str,
    pub client: Client,
}

#[derive(Debug, Serialize)]
pub struct Client {
    pub name: &'static str,
    pub version: &'static str,
}

#[derive(Debug, Serialize)]
#[allow(clippy::struct_field_names)] // The protocol names it.
pub struct Resume<'a> {
    pub session: &'a str,
    pub resume_token: &'a str,
    pub epoch: &'a str,
    pub seq: u64,
}

#[derive(Debug, Serialize)]
pub struct Heartbeat {
    pub seq: u64,
}

#[derive(Debug, Serialize)]
pub struct Join<'a> {
    pub npc: &'a str,
    pub archetype: &'a str,
}

/// `npc.focus` and `npc.leave`.
#[derive(Debug, Serialize)]
pub struct Which<'a> {
    pub npc: &'a str,
}

#[derive(Debug, Serialize)]
pub struct Say<'a> {
    pub npc: &'a str,
    pub turn: &'a str,
    pub text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub audience: &'a [String],
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Generation {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_frame_is_the_map_of_the_page() {
        let say = Say { npc: "n", turn: "t", text: "Hi", generation: None, audience: &[] };
        let Message::Text(text) = Encoding::Json.write("say", Some(7), &say).unwrap() else { panic!() };
        assert_eq!(&*text, r#"{"op":"say","cid":7,"d":{"npc":"n","turn":"t","text":"Hi"}}"#);
    }

    #[test]
    fn a_servers_frame_is_read_whatever_else_is_in_it() {
        let text = r#"{"op":"dialogue.delta","s":3,"new":[1],"d":{"turn":"t","player":"p","text":"é",
            "offset":2,"t_ms":1,"tokens":1,"more":{}}}"#;
        let frame = Encoding::Json.read(&Message::text(text)).unwrap();
        assert_eq!((frame.s, frame.op.as_str()), (Some(3), "dialogue.delta"));
        assert!(matches!(frame.body, Body::Delta(delta) if delta.text == "é" && delta.offset == 2));
        assert!(Encoding::Json.read(&Message::text("[]")).is_err());
        assert!(Encoding::Msgpack.read(&Message::text(text)).is_err());
        assert!(Encoding::Json.read(&Message::text(r#"{"op":"turn.done","d":{}}"#)).is_err());
    }
}

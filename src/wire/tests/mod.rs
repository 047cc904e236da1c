mod client_frames;
mod codes;
mod golden;
mod hostile;
mod properties;
mod schemas;

use super::*;

const LIMITS: Limits = Limits { text_chars: 20, context_chars: 10, actions: 2 };

/// What the server makes of one message.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    NotAFrame,
    Error(Result<Option<Cid>, Box<ErrorPayload>>, Box<ErrorPayload>),
    Frame(Result<Option<Cid>, Box<ErrorPayload>>, ClientFrame),
}

fn read(subprotocol: Subprotocol, message: &[u8]) -> Outcome {
    let Ok(raw) = RawFrame::decode(subprotocol, message) else { return Outcome::NotAFrame };
    match raw.parse(&LIMITS) {
        Ok(frame) => Outcome::Frame(raw.cid(), frame),
        Err(error) => Outcome::Error(raw.cid(), error),
    }
}

fn read_json(message: &serde_json::Value) -> Outcome {
    read(Subprotocol::Json, message.to_string().as_bytes())
}

/// The same message in MessagePack, by way of a tree that has nothing to do with `src/wire`.
fn read_msgpack(message: &serde_json::Value) -> Outcome {
    let value = rmpv::ext::to_value(message).unwrap();
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &value).unwrap();
    read(Subprotocol::Msgpack, &bytes)
}

/// The outcome of a message, which both encodings must agree on.
fn read_both(message: &serde_json::Value) -> Outcome {
    let json = read_json(message);
    assert_eq!(json, read_msgpack(message), "the encodings disagree on {message}");
    json
}

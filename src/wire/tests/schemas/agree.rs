//! The schema and the decoder take the same frames.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::mutate::mutations;
use super::*;
use crate::wire::tests::client_frames::{wrong_values, wrong_values_of_later_frames};
use crate::wire::tests::properties::{any_client_frame, any_frame};

/// Settings cannot be in a schema, so they do not count here.
const BOUNDLESS: Limits = Limits { text_chars: usize::MAX, context_chars: usize::MAX, actions: usize::MAX };

fn decode(subprotocol: Subprotocol, message: &[u8]) -> Result<ClientFrame, String> {
    let raw = RawFrame::decode(subprotocol, message).map_err(|error| error.to_string())?;
    raw.cid().map_err(|error| error.message)?;
    raw.parse(&BOUNDLESS).map_err(|error| error.message)
}

/// What the server makes of a client's frame, the same in both encodings.
fn decode_client(frame: &Value) -> Result<ClientFrame, String> {
    let json = decode(Subprotocol::Json, frame.to_string().as_bytes());
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &rmpv::ext::to_value(frame).unwrap()).unwrap();
    let msgpack = decode(Subprotocol::Msgpack, &bytes);
    assert_eq!(json.is_ok(), msgpack.is_ok(), "{frame}: {json:?}, {msgpack:?}");
    json
}

#[test]
fn every_bound_of_a_client_frame_is_the_decoders() {
    let validators = validators(Direction::Client);
    let mut tried = 0;
    for (name, op, frame) in golden_values(Direction::Client) {
        let schema = build::frame(Direction::Client, &op);
        for mutation in mutations(&schema, &frame) {
            let (valid, decoded) =
                (validators[op.as_str()].is_valid(&mutation.frame), decode_client(&mutation.frame));
            assert_eq!(valid, mutation.ok, "the schema of {name}, {}: {}", mutation.what, mutation.frame);
            assert_eq!(decoded.is_ok(), mutation.ok, "{name}, {}: {decoded:?}", mutation.what);
            tried += 1;
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn every_bound_of_a_server_frame_holds() {
    let validators = validators(Direction::Server);
    let mut tried = 0;
    for (name, op, frame) in golden_values(Direction::Server) {
        let schema = build::frame(Direction::Server, &op);
        for mutation in mutations(&schema, &frame) {
            let valid = validators[op.as_str()].is_valid(&mutation.frame);
            assert_eq!(valid, mutation.ok, "{name}, {}: {}", mutation.what, mutation.frame);
            if mutation.ok {
                let message = mutation.frame.to_string();
                let read = decode_server(Subprotocol::Json, message.as_bytes());
                // Of a payload without required keys `d` may be absent; this reader wants it.
                assert!(
                    read.is_ok() || mutation.what.ends_with("without d"),
                    "{name}, {}: {read:?}",
                    mutation.what
                );
            }
            tried += 1;
        }
    }
    assert!(tried > 3000, "{tried}");
}

/// The words of the bounds that the schemas use.
#[test]
fn every_kind_of_bound_is_tried() {
    let mut kinds = BTreeSet::new();
    for direction in [Direction::Client, Direction::Server] {
        for (_, op, frame) in golden_values(direction) {
            for mutation in mutations(&build::frame(direction, &op), &frame) {
                kinds.insert(mutation.what.split(": ").nth(1).unwrap().to_owned());
            }
        }
    }
    for kind in [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    ] {
        assert!(kinds.contains(kind) && kinds.contains(&format!("past {kind}")), "{kind}: {kinds:?}");
    }
    assert!(kinds.contains("uniqueItems") && kinds.contains("propertyNames") && kinds.contains("enum"));
}

#[test]
fn the_schema_refuses_what_the_decoder_refuses() {
    let validators = validators(Direction::Client);
    for (message, field, _) in wrong_values().into_iter().chain(wrong_values_of_later_frames()) {
        let op = message["op"].as_str().unwrap();
        let words = match (op, field) {
            // Two actions of one name: no word of JSON Schema says it, so the description does.
            ("say", "actions[1].name") => false,
            // In JSON Schema 1.0 is an integer.
            ("heartbeat", "seq") if message["d"]["seq"] == json!(1.0) => false,
            ("say", "generation.max_tokens") if message["d"]["generation"]["max_tokens"] == json!(8.0) => {
                false
            }
            // Below 1, until it is rounded to 32 bits.
            ("say", "generation.min_p") if message["d"]["generation"]["min_p"] != json!(1) => false,
            _ => true,
        };
        assert_eq!(validators[op].is_valid(&message), !words, "{message}");
    }
}

/// A payload with a text somewhere in it.
type Holding = fn(&str) -> Value;

#[test]
fn every_character_is_judged_alike() {
    let validators = validators(Direction::Client);
    let frames: [(&str, Holding); 4] = [
        ("npc.focus", |c| json!({"npc": c})),
        ("npc.join", |c| json!({"npc": "n", "archetype": c})),
        ("npc.join", |c| json!({"npc": "n", "name": c})),
        (
            "say",
            |c| json!({"npc": "n", "turn": "t", "text": "", "actions": [{"name": c, "description": ""}]}),
        ),
    ];
    let far = ['ß', 'Ω', 'ı', '\u{200b}', '\u{2028}', '🦇', '\u{10ffff}', '\u{ff10}', '\u{661}'];
    for (op, d) in frames {
        for character in (0..0x180).filter_map(char::from_u32).chain(far) {
            // In the middle, and at the end, where some dialects of patterns pass over a line feed.
            for text in [format!("a{character}a"), format!("a{character}"), character.to_string()] {
                let frame = json!({"op": op, "d": d(&text)});
                let valid = validators[op].is_valid(&frame);
                assert_eq!(valid, decode_client(&frame).is_ok(), "{op}: {text:?}");
            }
        }
    }
}

/// Without what the server passes over and the schema does not: keys whose value is null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_a_client_writes_is_valid(frame in any_client_frame()) {
        let message = encode_client(Subprotocol::Json, &frame, None).unwrap();
        let validator = jsonschema::draft202012::new(&build::frame(Direction::Client, frame.op())).unwrap();
        let value: Value = serde_json::from_slice(&message).unwrap();
        prop_assert!(validator.is_valid(&value), "{}", value);
    }

    #[test]
    fn the_schema_and_the_decoder_agree_on_any_frame(frame in any_frame()) {
        let frame = without_nulls(frame);
        let op = frame["op"].as_str().unwrap();
        if let Some(op) = CLIENT_OPS.iter().find(|known| **known == op) {
            let validator = jsonschema::draft202012::new(&build::frame(Direction::Client, op)).unwrap();
            match (validator.is_valid(&frame), decode_client(&frame)) {
                (true, Ok(_)) | (false, Err(_)) => {}
                (true, Err(error)) => prop_assert!(error.contains("two actions"), "{}: {}", frame, error),
                // A version of the protocol that is not ours is an answer of its own.
                (false, Ok(ClientFrame::Identify(identify))) if identify.protocol.is_some_and(|version| version != PROTOCOL) => {}
                (false, Ok(_)) => prop_assert!(false, "{}", frame),
            }
        }
    }
}

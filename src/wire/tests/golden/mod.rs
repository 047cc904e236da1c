//! Bytes that a client may rely on: `schemas/golden/`, written from the tables here.

mod client;
pub mod files;
mod handshake;
mod npcs;
mod tracks;
mod turns;

use serde_json::Value;

use super::*;
use files::Golden;

/// One server frame with its envelope; `variant` is empty for the usual form.
struct ServerCase {
    variant: &'static str,
    frame: ServerFrame,
    s: Option<u64>,
    cid: Option<Cid>,
}

/// A numbered server frame.
fn numbered(variant: &'static str, s: u64, frame: ServerFrame) -> ServerCase {
    ServerCase { variant, frame, s: Some(s), cid: None }
}

/// A numbered server frame that answers a client's frame.
fn reply(variant: &'static str, s: u64, cid: Cid, frame: ServerFrame) -> ServerCase {
    ServerCase { variant, frame, s: Some(s), cid: Some(cid) }
}

/// A server frame that belongs to the socket.
fn unnumbered(variant: &'static str, cid: Option<Cid>, frame: ServerFrame) -> ServerCase {
    ServerCase { variant, frame, s: None, cid }
}

fn text(cid: &str) -> Cid {
    Cid::Str(cid.into())
}

fn server_cases() -> Vec<ServerCase> {
    [handshake::cases(), npcs::cases(), turns::cases(), tracks::cases()].into_iter().flatten().collect()
}

pub fn server_golden() -> Golden {
    let mut golden = Golden::new("server");
    for ServerCase { variant, frame, s, cid } in server_cases() {
        let [json, msgpack] = [Subprotocol::Json, Subprotocol::Msgpack]
            .map(|subprotocol| encode_server(subprotocol, &frame, s, cid.as_ref()).unwrap());
        golden.add(frame.op(), variant, &json, &msgpack);
    }
    golden
}

pub fn client_golden() -> Golden {
    let mut golden = Golden::new("client");
    for (variant, frame, cid) in client::cases() {
        let [json, msgpack] = [Subprotocol::Json, Subprotocol::Msgpack]
            .map(|subprotocol| encode_client(subprotocol, &frame, cid.as_ref()).unwrap());
        golden.add(frame.op(), variant, &json, &msgpack);
    }
    for (variant, frame, message) in client::other_spellings() {
        golden.add(frame.op(), variant, message.as_bytes(), &msgpack(message));
    }
    golden
}

/// A JSON text as MessagePack, by way of a tree that has nothing to do with `src/wire`.
fn msgpack(json: &str) -> Vec<u8> {
    let message: Value = serde_json::from_str(json).unwrap();
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &rmpv::ext::to_value(&message).unwrap()).unwrap();
    bytes
}

#[test]
fn frames_in_a_burst_are_the_same_bytes() {
    for subprotocol in [Subprotocol::Json, Subprotocol::Msgpack] {
        // Several times, so that they fill more than one piece of memory.
        let cases: Vec<_> = std::iter::repeat_with(server_cases).take(3).flatten().collect();
        let mut burst = Burst::new(subprotocol, cases.len());
        let mut expected = Vec::new();
        for (s, case) in (1..).zip(&cases) {
            let (frame, cid) = (&case.frame, case.cid.as_ref());
            burst.frame(frame, s, cid).unwrap();
            expected.push(encode_server(subprotocol, frame, Some(s), cid).unwrap());
            if let ServerFrame::DialogueDelta(delta) = frame {
                let DialogueDelta { turn, player, text, offset, t_ms, tokens } = delta;
                let (offset, t_ms, tokens) = (*offset, *t_ms, *tokens);
                burst.delta(&DeltaRef { turn, player, text, offset, t_ms, tokens }, s).unwrap();
                expected.push(encode_server(subprotocol, frame, Some(s), None).unwrap());
            }
        }
        let bytes: usize = expected.iter().map(bytes::Bytes::len).sum();
        assert!(bytes > 3 * 4096, "{bytes}");
        assert_eq!(burst.messages(), expected);
        assert!(Burst::new(subprotocol, 0).messages().is_empty());
    }
}

#[test]
fn the_golden_files_are_what_is_written() {
    server_golden().check();
    client_golden().check();
}

#[test]
fn both_encodings_of_a_golden_frame_carry_the_same_map() {
    for (name, json, msgpack) in server_golden().frames().chain(client_golden().frames()) {
        let json: Value = serde_json::from_slice(json).unwrap();
        let mut rest = msgpack;
        let tree = rmpv::decode::read_value(&mut rest).unwrap();
        assert!(rest.is_empty(), "{name}");
        assert!(same(&json, &tree), "{name}: {json} is not {tree}");
    }
}

/// A blob is an array of integers in JSON, and a 32-bit float the shortest text that rounds to it.
fn same(json: &Value, tree: &rmpv::Value) -> bool {
    match (json, tree) {
        (Value::Array(items), rmpv::Value::Binary(bytes)) => {
            items.len() == bytes.len() && items.iter().zip(bytes).all(|(item, byte)| *item == *byte)
        }
        (Value::Array(items), rmpv::Value::Array(others)) => {
            items.len() == others.len() && items.iter().zip(others).all(|(item, other)| same(item, other))
        }
        (Value::Object(map), rmpv::Value::Map(entries)) => {
            map.len() == entries.len()
                && entries.iter().all(|(key, value)| {
                    key.as_str().and_then(|key| map.get(key)).is_some_and(|item| same(item, value))
                })
        }
        (Value::Number(number), rmpv::Value::F32(float)) => {
            number.is_f64() && number.as_f64().is_some_and(|number| number as f32 == *float)
        }
        (Value::Number(number), rmpv::Value::F64(float)) => {
            number.is_f64() && number.as_f64() == Some(*float)
        }
        (Value::Number(number), rmpv::Value::Integer(integer)) => {
            (number.is_u64() && number.as_u64() == integer.as_u64())
                || (number.is_i64() && number.as_i64() == integer.as_i64())
        }
        (Value::String(text), rmpv::Value::String(other)) => Some(text.as_str()) == other.as_str(),
        (Value::Bool(a), rmpv::Value::Boolean(b)) => a == b,
        (Value::Null, rmpv::Value::Nil) => true,
        _ => false,
    }
}

#[test]
fn a_client_gets_back_what_the_server_meant() {
    for ServerCase { variant, frame, s, cid } in server_cases() {
        for subprotocol in [Subprotocol::Json, Subprotocol::Msgpack] {
            let message = encode_server(subprotocol, &frame, s, cid.as_ref()).unwrap();
            let read = decode_server(subprotocol, &message).unwrap();
            assert_eq!((read.op.as_str(), read.s, &read.cid), (frame.op(), s, &cid), "{variant}");
            assert_eq!(read.frame.as_ref(), Some(&frame), "{variant}");
        }
    }
}

#[test]
fn the_server_gets_back_what_a_client_meant() {
    fn read(subprotocol: Subprotocol, message: &[u8]) -> (Option<Cid>, ClientFrame) {
        let raw = RawFrame::decode(subprotocol, message).unwrap();
        (raw.cid().unwrap(), raw.parse(&LIMITS).unwrap())
    }
    for (variant, frame, cid) in client::cases() {
        for subprotocol in [Subprotocol::Json, Subprotocol::Msgpack] {
            let message = encode_client(subprotocol, &frame, cid.as_ref()).unwrap();
            assert_eq!(read(subprotocol, &message), (cid.clone(), frame.clone()), "{variant}");
        }
    }
    for (variant, frame, json) in client::other_spellings() {
        assert_eq!(read(Subprotocol::Json, json.as_bytes()), (None, frame.clone()), "{variant}");
        assert_eq!(read(Subprotocol::Msgpack, &msgpack(json)), (None, frame), "{variant}");
    }
}

#[test]
fn every_frame_has_golden_bytes() {
    let ops = |golden: &Golden| {
        let mut ops: Vec<String> =
            golden.frames().map(|(name, ..)| name.split('~').next().unwrap().to_owned()).collect();
        ops.dedup();
        ops.sort_unstable();
        ops
    };
    assert_eq!(ops(&server_golden()), sorted(&SERVER_OPS));
    assert_eq!(ops(&client_golden()), sorted(&CLIENT_OPS));
}

fn sorted(ops: &[&str]) -> Vec<String> {
    let mut ops: Vec<_> = ops.iter().map(ToString::to_string).collect();
    ops.sort_unstable();
    ops
}

#[test]
fn msgpack_has_the_shortest_forms_bin_for_blobs_and_32_bits_for_floats() {
    let golden = server_golden();
    let bytes = |name: &str| golden.frames().find(|(other, ..)| *other == name).unwrap().2;
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert_eq!(bytes("heartbeat_ack"), b"\x82\xa2op\xadheartbeat_ack\xa1d\x81\xa3seq\x07");
    assert!(holds(bytes("heartbeat_ack~max"), b"\xa3cid\xcf\xff\xff\xff\xff\xff\xff\xff\xff"));
    // `weight` −0.5.
    assert!(holds(bytes("turn.started"), b"\xa6weight\xca\xbf\0\0\0"));
    // A float that is a whole number stays a float.
    assert!(holds(bytes("social"), b"\xa4fear\xca\0\0\0\0"));
    // bin 8 with 52 bytes.
    assert!(holds(bytes("face.key"), b"\xa1w\xc4\x34"));
}

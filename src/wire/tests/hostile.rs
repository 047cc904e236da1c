//! Messages that no honest client sends.

use super::*;

fn msgpack(bytes: &[u8]) -> Outcome {
    read(Subprotocol::Msgpack, bytes)
}

fn json(text: &str) -> Outcome {
    read(Subprotocol::Json, text.as_bytes())
}

/// `{"op": "heartbeat", "d": {"seq": 1, "x": …}}` in MessagePack.
fn heartbeat_with(x: &[u8]) -> Vec<u8> {
    [b"\x82\xa2op\xa9heartbeat\xa1d\x82\xa3seq\x01\xa1x", x].concat()
}

const HEARTBEAT: ClientFrame = ClientFrame::Heartbeat(Heartbeat { seq: 1 });

#[test]
fn what_is_no_map_with_an_op_is_no_frame() {
    for bytes in [
        &b""[..],
        b"\xc1",
        b"\x80",
        b"\x90",
        b"\xc0",
        b"\x07",
        b"\xa2op",
        // `op` is null, an integer, bin, and a str that is not UTF-8.
        b"\x81\xa2op\xc0",
        b"\x81\xa2op\x01",
        b"\x81\xa2op\xc4\x03say",
        b"\x81\xa2op\xa1\xff",
        // Cut off, and with a byte too many.
        b"\x81\xa2op\xa3sa",
        b"\x82\xa2op\xa3say",
        b"\x81\xa2op\xa3say\x00",
        // Lengths that are not there.
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffx",
        b"\x82\xa2op\xa3say\xa1d\xc6\xff\xff\xff\xff",
    ] {
        assert_eq!(msgpack(bytes), Outcome::NotAFrame, "{bytes:x?}");
    }
    for text in [
        "",
        " ",
        "null",
        "1",
        "[]",
        "\"say\"",
        "{}",
        "{\"op\":null}",
        "{\"op\":1}",
        "{\"op\":[\"say\"]}",
        "{\"op\":\"say\"",
        "{\"op\":\"say\"} x",
        "{\"op\":\"say\"}{}",
        "{op:\"say\"}",
        "{\"op\":\"\\ud800\"}",
        "{\"op\":\"say\",}",
        "{\"op\":\"say\",\"d\":NaN}",
        "{\"op\":\"say\",\"d\":1e999}",
    ] {
        assert_eq!(json(text), Outcome::NotAFrame, "{text}");
    }
}

#[test]
fn unknown_keys_may_hold_anything() {
    for x in [
        &b"\xc4\x02\xff\xfe"[..],    // bin
        b"\xd4\x05\x00",             // fixext 1
        b"\xd6\xff\x00\x00\x00\x00", // a timestamp
        b"\xc7\x03\x01abc",          // ext 8
        b"\xc7\x00\x01",             // an empty ext
        b"\xa1\xff",                 // str that is not UTF-8
        b"\xca\x7f\xc0\x00\x00",     // NaN
        b"\x82\x01\x02\xc0\x03",     // a map whose keys are no strings
        b"\x81\x93\x01\x02\x03\x04",
        b"\x92\xd4\x05\x00\xc4\x01\x00",
    ] {
        assert_eq!(msgpack(&heartbeat_with(x)), Outcome::Frame(Ok(None), HEARTBEAT), "{x:x?}");
    }
    // A key that is no string, beside the known ones.
    let message = b"\x83\xa2op\xa9heartbeat\x2a\xa3say\xa1d\x82\x01\x02\xa3seq\x01";
    assert_eq!(msgpack(message), Outcome::Frame(Ok(None), HEARTBEAT));
}

#[test]
fn binary_data_is_no_string_and_no_number() {
    for seq in [&b"\xc4\x01\x01"[..], b"\xd4\x05\x01", b"\xa1\xff", b"\xcb\x7f\xf8\0\0\0\0\0\0"] {
        let message = [b"\x82\xa2op\xa9heartbeat\xa1d\x81\xa3seq", seq].concat();
        let Outcome::Error(_, error) = msgpack(&message) else { panic!("{seq:x?}") };
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::BadPayload, Some("seq")), "{seq:x?}");
    }
}

#[test]
fn infinities_and_nan_are_no_weights() {
    for float in [&b"\xca\x7f\xc0\x00\x00"[..], b"\xca\x7f\x80\x00\x00", b"\xcb\xff\xf0\0\0\0\0\0\0"] {
        let head =
            b"\x82\xa2op\xa3say\xa1d\x84\xa3npc\xa1n\xa4turn\xa1t\xa4text\xa2hi\xa3mix\x81\xaepersonality";
        // The name is eleven characters long, so its head is 0xab.
        let head = [&head[..head.len() - 12], b"\xabpersonality"].concat();
        let message = [&head, float].concat();
        let Outcome::Error(_, error) = msgpack(&message) else { panic!("{float:x?}") };
        assert_eq!(error.field.as_deref(), Some("mix.personality"), "{float:x?}");
    }
}

#[test]
fn a_positive_integer_in_a_signed_form_is_unsigned() {
    let message = b"\x82\xa2op\xa9heartbeat\xa1d\x81\xa3seq\xd3\0\0\0\0\0\0\0\x01";
    assert_eq!(msgpack(message), Outcome::Frame(Ok(None), HEARTBEAT));
}

#[test]
fn the_last_of_several_equal_keys_counts() {
    let message = b"\x83\xa2op\xa3say\xa2op\xa9heartbeat\xa1d\x82\xa3seq\x09\xa3seq\x01";
    assert_eq!(msgpack(message), Outcome::Frame(Ok(None), HEARTBEAT));
    let message = r#"{"op":"say","op":"heartbeat","d":{"seq":9,"seq":1}}"#;
    assert_eq!(json(message), Outcome::Frame(Ok(None), HEARTBEAT));
}

#[test]
fn deep_nesting_ends_at_the_bound_in_both_encodings() {
    let nested = |levels: usize| {
        let text = format!(
            r#"{{"op":"heartbeat","d":{{"seq":1}},"x":{}{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        );
        let mut bytes = b"\x83\xa2op\xa9heartbeat\xa1d\x81\xa3seq\x01\xa1x".to_vec();
        bytes.extend(std::iter::repeat_n(0x91, levels - 1));
        bytes.push(0x90);
        (json(&text), msgpack(&bytes))
    };
    // The outermost map is a level too.
    let deepest = value::MAX_DEPTH - 1;
    let fine = Outcome::Frame(Ok(None), HEARTBEAT);
    assert_eq!(nested(deepest), (fine.clone(), fine));
    for levels in [deepest + 1, 1000, 60_000] {
        assert_eq!(nested(levels), (Outcome::NotAFrame, Outcome::NotAFrame), "{levels}");
    }
    // The same as keys, as ext inside arrays, and never closed.
    assert_eq!(msgpack(&b"\x81".repeat(60_000)), Outcome::NotAFrame);
    assert_eq!(json(&"{\"a\":".repeat(60_000)), Outcome::NotAFrame);
}

//! Every client frame and every way in which its payload can be wrong.

use serde_json::{Value, json};

use super::*;

fn parse(message: &Value) -> ClientFrame {
    match read_both(message) {
        Outcome::Frame(_, frame) => frame,
        other => panic!("{message}: {other:?}"),
    }
}

fn error(message: &Value) -> ErrorPayload {
    match read_both(message) {
        Outcome::Error(_, error) => *error,
        other => panic!("{message}: {other:?}"),
    }
}

fn say(extra: &Value) -> Value {
    let mut d = json!({"npc": "n", "turn": "t", "text": "hi"});
    for (key, value) in extra.as_object().unwrap() {
        d[key] = value.clone();
    }
    json!({"op": "say", "d": d})
}

#[test]
fn a_full_say_is_read() {
    let frame = parse(&say(&json!({
        "actions": [{"name": "bow", "description": "bows"}],
        "context": "rain",
        "generation": {"max_tokens": 8, "temperature": 1, "top_p": 0.5, "min_p": 0, "seed": u64::MAX,
                       "greedy": true, "stop": ["\n"]},
        "mix": {"dialogue_style": -2, "personality": 0.5},
        "audience": ["b"],
        "unknown": {"deep": [1, {"er": null}]},
    })));
    let ClientFrame::Say(say) = frame else { panic!("{frame:?}") };
    assert_eq!(
        *say,
        SayFrame {
            npc: "n".into(),
            turn: "t".into(),
            text: "hi".into(),
            actions: vec![Action { name: "bow".into(), description: "bows".into() }],
            context: Some("rain".into()),
            generation: Some(GenerationOptions {
                max_tokens: Some(8),
                temperature: Some(1.0),
                top_p: Some(0.5),
                min_p: Some(0.0),
                seed: Some(u64::MAX),
                greedy: true,
                stop: vec!["\n".into()],
            }),
            mix: Some([("dialogue_style".into(), -2.0), ("personality".into(), 0.5)].into()),
            audience: Some(vec!["b".into()]),
        }
    );
}

#[test]
fn null_counts_as_absent() {
    let frame = parse(&say(&json!({"context": null, "generation": null, "actions": null})));
    assert_eq!(frame, parse(&say(&json!({}))));
    assert_eq!(error(&json!({"op": "heartbeat", "d": null})), error(&json!({"op": "heartbeat"})));
}

/// A frame, the field that is wrong in it, and the bound that is broken.
#[allow(clippy::too_many_lines)] // A table.
pub fn wrong_values() -> Vec<(Value, &'static str, Option<Limit>)> {
    let long = |n: usize| "x".repeat(n);
    let none: Option<Limit> = None;
    let count = |n: u64| Some(Limit::Count(n));
    let number = |n: f64| Some(Limit::Number(n));
    let of = |op: &str, d: Value| json!({"op": op, "d": d});
    let client = json!({"name": "c", "version": "1"});
    vec![
        (json!({"op": "say", "d": []}), "d", none),
        (json!({"op": "say", "d": "x"}), "d", none),
        (of("identify", json!({"client": client})), "token", none),
        (of("identify", json!({"token": 7, "client": client})), "token", none),
        (of("identify", json!({"token": "a"})), "client", none),
        (of("identify", json!({"token": "a", "client": {"name": "c"}})), "client.version", none),
        (
            of("identify", json!({"token": "a", "client": {"name": "", "version": "1"}})),
            "client.name",
            count(1),
        ),
        (
            of("identify", json!({"token": "a", "client": {"name": long(65), "version": "1"}})),
            "client.name",
            count(64),
        ),
        (of("identify", json!({"token": "a", "client": client, "protocol": "1"})), "protocol", none),
        (of("resume", json!({"resume_token": "t", "epoch": "e", "seq": 1})), "session", none),
        (of("resume", json!({"session": "s", "resume_token": "t", "epoch": "e", "seq": -1})), "seq", none),
        (of("auth", json!({})), "token", none),
        (of("auth", json!({"token": null})), "token", none),
        (of("auth", json!({"token": ["a"]})), "token", none),
        (of("heartbeat", json!({})), "seq", none),
        (of("heartbeat", json!({"seq": -1})), "seq", none),
        (of("heartbeat", json!({"seq": 1.0})), "seq", none),
        (of("heartbeat", json!({"seq": "1"})), "seq", none),
        (of("npc.join", json!({})), "npc", none),
        (of("npc.join", json!({"npc": ""})), "npc", count(1)),
        (of("npc.join", json!({"npc": "a b"})), "npc", none),
        (of("npc.join", json!({"npc": "ä"})), "npc", none),
        (of("npc.join", json!({"npc": long(65)})), "npc", count(64)),
        (of("npc.join", json!({"npc": "n", "archetype": "Lich"})), "archetype", none),
        (of("npc.join", json!({"npc": "n", "archetype": long(33)})), "archetype", count(32)),
        (of("npc.join", json!({"npc": "n", "name": "a\u{7}b"})), "name", none),
        (of("npc.join", json!({"npc": "n", "name": long(65)})), "name", count(64)),
        (of("npc.join", json!({"npc": "n", "seed": 0.5})), "seed", none),
        (of("npc.join", json!({"npc": "n", "personality": []})), "personality", none),
        (of("npc.join", json!({"npc": "n", "personality": {"calm": 1.5}})), "personality.calm", number(1.0)),
        (of("npc.focus", json!({})), "npc", none),
        (of("npc.leave", json!({"npc": 1})), "npc", none),
        (say(&json!({"npc": "a/b"})), "npc", none),
        (say(&json!({"turn": ""})), "turn", count(1)),
        (say(&json!({"turn": long(65)})), "turn", count(64)),
        (say(&json!({"text": null})), "text", none),
        (say(&json!({"text": 5})), "text", none),
        (say(&json!({"actions": {}})), "actions", none),
        (say(&json!({"actions": [1]})), "actions[0]", none),
        (say(&json!({"actions": [{"name": "a"}]})), "actions[0].description", none),
        (
            say(&json!({"actions": [{"name": "a", "description": ""}, {"name": "a", "description": ""}]})),
            "actions[1].name",
            none,
        ),
        (
            say(&json!({"actions": [{"name": "a", "description": long(257)}]})),
            "actions[0].description",
            count(256),
        ),
        (say(&json!({"actions": [{}, {}, {}]})), "actions", count(2)),
        (say(&json!({"generation": 1})), "generation", none),
        (say(&json!({"generation": {"max_tokens": 0}})), "generation.max_tokens", count(1)),
        (say(&json!({"generation": {"max_tokens": 4097}})), "generation.max_tokens", count(4096)),
        (say(&json!({"generation": {"max_tokens": u64::MAX}})), "generation.max_tokens", count(4096)),
        (say(&json!({"generation": {"max_tokens": 8.0}})), "generation.max_tokens", none),
        (say(&json!({"generation": {"temperature": 2.5}})), "generation.temperature", number(2.0)),
        (say(&json!({"generation": {"temperature": -1}})), "generation.temperature", number(0.0)),
        (say(&json!({"generation": {"temperature": "hot"}})), "generation.temperature", none),
        (say(&json!({"generation": {"top_p": 0}})), "generation.top_p", number(0.0)),
        (say(&json!({"generation": {"min_p": 1}})), "generation.min_p", number(1.0)),
        // Rounds to 1 as a 32-bit float.
        (say(&json!({"generation": {"min_p": 0.999_999_999_9}})), "generation.min_p", number(1.0)),
        (say(&json!({"generation": {"seed": -1}})), "generation.seed", none),
        (say(&json!({"generation": {"greedy": 1}})), "generation.greedy", none),
        (say(&json!({"generation": {"stop": "x"}})), "generation.stop", none),
        (say(&json!({"generation": {"stop": [""]}})), "generation.stop[0]", count(1)),
        (
            say(&json!({"generation": {"stop": ["1", "2", "3", "4", "5", "6", "7", "8", "9"]}})),
            "generation.stop",
            count(8),
        ),
        (say(&json!({"mix": {"dialogue_style": 2.01}})), "mix.dialogue_style", number(2.0)),
        (say(&json!({"mix": {"dialogue_style": -3}})), "mix.dialogue_style", number(-2.0)),
        (say(&json!({"mix": {"cooking": 1}})), "mix.cooking", none),
        (say(&json!({"audience": "b"})), "audience", none),
        (say(&json!({"audience": ["a", ""]})), "audience[1]", count(1)),
        (say(&json!({"audience": vec!["a"; 65]})), "audience", count(64)),
        (of("cancel", json!({})), "turn", none),
        (of("cancel", json!({"turn": "t", "heard_offset": -1})), "heard_offset", none),
        (of("playback", json!({"turn": "t"})), "heard_offset", none),
    ]
}

/// The same for frames that this server does not have yet.
pub fn wrong_values_of_later_frames() -> Vec<(Value, &'static str, Option<Limit>)> {
    let of = |op: &str, base: Value, key: &str, value: Value| {
        let mut d = base;
        d[key] = value;
        json!({"op": op, "d": d})
    };
    let result =
        |key, value| of("action.result", json!({"turn": "t", "action": "a", "ok": true}), key, value);
    let event =
        |key, value| of("event", json!({"npc": "n", "event": "e", "kind": "gift", "text": ""}), key, value);
    let act = |key, value| {
        let base = json!({"npc": "n", "act": "a", "tasks": ["personality"], "context": ""});
        of("npc.act", base, key, value)
    };
    let count = |n: u64| Some(Limit::Count(n));
    vec![
        (of("auth", json!({}), "token", json!(7)), "token", None),
        (of("auth", json!({}), "token", json!(null)), "token", None),
        (result("turn", json!("")), "turn", count(1)),
        (result("action", json!("x".repeat(65))), "action", count(64)),
        (result("action", json!(null)), "action", None),
        (result("ok", json!("yes")), "ok", None),
        (result("reason", json!("x".repeat(257))), "reason", count(256)),
        (event("npc", json!("a b")), "npc", None),
        (event("event", json!("")), "event", count(1)),
        (event("kind", json!("joke")), "kind", None),
        (event("kind", json!(1)), "kind", None),
        (event("text", json!(null)), "text", None),
        (event("importance", json!(1.5)), "importance", Some(Limit::Number(1.0))),
        (event("importance", json!(-0.5)), "importance", Some(Limit::Number(0.0))),
        (event("witnesses", json!(["a", ""])), "witnesses[1]", count(1)),
        (event("witnesses", json!(vec!["a"; 65])), "witnesses", count(64)),
        (act("npc", json!(null)), "npc", None),
        (act("act", json!("x".repeat(65))), "act", count(64)),
        (act("tasks", json!([])), "tasks", count(1)),
        (act("tasks", json!(["personality", "cooking"])), "tasks[1]", None),
        (act("tasks", json!(["personality", "personality"])), "tasks[1]", None),
        (act("tasks", json!(vec!["personality"; 8])), "tasks", count(7)),
        (act("tasks", json!("personality")), "tasks", None),
        (act("context", json!(null)), "context", None),
        (act("actions", json!([{"name": "a"}])), "actions[0].description", None),
    ]
}

#[test]
fn wrong_values_of_later_frames_are_named_too() {
    for (message, field, limit) in wrong_values_of_later_frames() {
        let text = message.to_string();
        let raw = RawFrame::decode(Subprotocol::Json, text.as_bytes()).unwrap();
        let error = raw.parse(&LIMITS).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::BadPayload, Some(field)), "{message}");
        assert_eq!(error.limit, limit, "{message}");
    }
}

#[test]
fn every_wrong_value_is_named_with_its_bound() {
    for (message, field, limit) in wrong_values() {
        let error = error(&message);
        assert_eq!(error.code, ErrorCode::BadPayload, "{message}");
        assert_eq!(error.field.as_deref(), Some(field), "{message}");
        assert_eq!(error.limit, limit, "{message}");
        assert!(!error.temporary, "{message}");
        assert!(error.message.contains(field), "{message}: {}", error.message);
    }
}

#[test]
fn a_text_may_be_as_long_as_the_limit_says_in_characters() {
    parse(&say(&json!({"text": "ß".repeat(20), "context": "🦇".repeat(10)})));
    for (extra, field, limit) in
        [(json!({"text": "x".repeat(21)}), "text", 20), (json!({"context": "x".repeat(11)}), "context", 10)]
    {
        let error = error(&say(&extra));
        assert_eq!(error.code, ErrorCode::TextTooLong);
        assert_eq!((error.field.as_deref(), error.limit), (Some(field), Some(Limit::Count(limit))));
    }
}

#[test]
fn another_version_is_seen_whatever_stands_beside_it() {
    let ClientFrame::Identify(identify) =
        parse(&json!({"op": "identify", "d": {"protocol": 2, "token": {}}}))
    else {
        panic!()
    };
    assert_eq!(identify.protocol, Some(2));
}

#[test]
fn an_error_names_the_turn_and_the_npc_of_its_frame() {
    let error = error(&say(&json!({"mix": 1})));
    assert_eq!((error.turn.as_deref(), error.npc.as_deref()), (Some("t"), Some("n")));
}

#[test]
fn an_op_that_no_client_sends_is_unknown() {
    for op in ["", "sing", "hello", "turn.started", "SAY"] {
        assert_eq!(error(&json!({"op": op})).code, ErrorCode::UnknownOp, "{op}");
    }
}

#[test]
fn a_cid_is_a_string_or_an_unsigned_integer() {
    let cid = |cid: Value| match read_both(&json!({"op": "say", "cid": cid})) {
        Outcome::Error(cid, _) => cid,
        other => panic!("{other:?}"),
    };
    assert_eq!(cid(json!("a")), Ok(Some(Cid::Str("a".into()))));
    assert_eq!(cid(json!("")), Ok(Some(Cid::Str(String::new()))));
    assert_eq!(cid(json!(u64::MAX)), Ok(Some(Cid::Uint(u64::MAX))));
    assert_eq!(cid(json!(null)), Ok(None));
    for wrong in [json!(-1), json!(1.0), json!(true), json!([]), json!({})] {
        assert_eq!(cid(wrong.clone()).unwrap_err().field.as_deref(), Some("cid"), "{wrong}");
    }
}

#[test]
fn a_long_unknown_key_is_not_repeated_in_full() {
    let mut mix = serde_json::Map::new();
    mix.insert("k".repeat(5000), json!(1));
    assert!(error(&say(&json!({ "mix": mix }))).field.unwrap().chars().count() < 80);
    assert!(error(&json!({"op": "o".repeat(5000)})).message.len() < 200);
}

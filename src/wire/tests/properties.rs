//! Properties of the codecs.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A JSON value as a client might send it: keys and texts of the protocol come up often.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (i64::MIN..0).prop_map(Value::from),
        (-3.0..3.0).prop_map(|x: f64| json!(x)),
        "[a-zA-Z0-9_.: -]{0,70}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any_key(), inner, 0..5)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "npc",
        "turn",
        "text",
        "token",
        "client",
        "name",
        "version",
        "protocol",
        "seq",
        "session",
        "epoch",
        "resume_token",
        "actions",
        "description",
        "context",
        "generation",
        "max_tokens",
        "temperature",
        "top_p",
        "min_p",
        "seed",
        "greedy",
        "stop",
        "mix",
        "dialogue_style",
        "personality",
        "audience",
        "archetype",
        "heard_offset",
        "event",
        "kind",
        "importance",
        "witnesses",
        "act",
        "tasks",
        "action",
        "ok",
        "reason",
        "op",
        "cid",
        "d",
        "s",
    ];
    prop_oneof![9 => prop::sample::select(KNOWN).prop_map(str::to_owned), 1 => ".{0,8}"]
}

pub fn any_frame() -> impl Strategy<Value = Value> {
    const OPS: &[&str] = &[
        "identify",
        "resume",
        "heartbeat",
        "npc.join",
        "npc.leave",
        "say",
        "cancel",
        "playback",
        "auth",
        "action.result",
        "event",
        "npc.act",
        "nonsense",
    ];
    let payload = prop::collection::btree_map(any_key(), any_value(), 0..6);
    (prop::sample::select(OPS), any_value(), payload)
        .prop_map(|(op, cid, d)| json!({"op": op, "cid": cid, "d": d}))
}

fn any_id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.:-]{1,64}"
}

pub fn any_client_frame() -> impl Strategy<Value = ClientFrame> {
    let generation =
        (
            proptest::option::of(1..=MAX_TOKENS),
            proptest::option::of(0.0..=2.0_f32),
            proptest::option::of(0.001..=1.0_f32),
            proptest::option::of(0.0..0.999_f32),
            proptest::option::of(any::<u64>()),
            any::<bool>(),
            prop::collection::vec(".{1,64}", 0..=MAX_STOPS),
        )
            .prop_map(|(max_tokens, temperature, top_p, min_p, seed, greedy, stop)| {
                GenerationOptions { max_tokens, temperature, top_p, min_p, seed, greedy, stop }
            });
    let mix = prop::collection::btree_map(
        prop::sample::select(&TASKS[..]).prop_map(str::to_owned),
        -2.0..=2.0_f32,
        0..TASKS.len(),
    );
    let say = (
        any_id(),
        ".{1,64}",
        ".{0,20}",
        proptest::option::of(".{0,10}"),
        proptest::option::of(generation),
        proptest::option::of(mix),
        proptest::option::of(prop::collection::vec(".{1,64}", 0..4)),
    )
        .prop_map(|(npc, turn, text, context, generation, mix, audience)| {
            let actions = vec![Action { name: "bow".into(), description: text.clone() }];
            let frame = SayFrame { npc, turn, text, actions, context, generation, mix, audience };
            ClientFrame::Say(Box::new(frame))
        });
    let join = (
        any_id(),
        proptest::option::of("[a-z0-9_-]{1,32}"),
        proptest::option::of("[a-zA-Zäß🦇 ]{1,64}"),
        proptest::option::of(any::<u64>()),
        proptest::option::of(prop::collection::btree_map("[a-z]{1,20}", -1.0..=1.0_f32, 0..5)),
    )
        .prop_map(|(npc, archetype, name, seed, personality)| {
            ClientFrame::NpcJoin(NpcJoin { npc, archetype, name, seed, personality })
        });
    prop_oneof![
        (any::<String>(), proptest::option::of(Just(PROTOCOL))).prop_map(|(token, protocol)| {
            let client = ClientInfo { name: "c".into(), version: "1".into() };
            ClientFrame::Identify(Identify { token, client, protocol })
        }),
        (any::<String>(), any::<u64>()).prop_map(|(session, seq)| {
            ClientFrame::Resume(Resume {
                resume_token: session.clone(),
                epoch: session.clone(),
                session,
                seq,
            })
        }),
        any::<u64>().prop_map(|seq| ClientFrame::Heartbeat(Heartbeat { seq })),
        any::<String>().prop_map(|token| ClientFrame::Auth(Auth { token })),
        join,
        any_id().prop_map(|npc| ClientFrame::NpcFocus(NpcFocus { npc })),
        any_id().prop_map(|npc| ClientFrame::NpcLeave(NpcLeave { npc })),
        say,
        (".{1,64}", proptest::option::of(any::<u64>()))
            .prop_map(|(turn, heard_offset)| ClientFrame::Cancel(Cancel { turn, heard_offset })),
        (".{1,64}", any::<u64>())
            .prop_map(|(turn, heard_offset)| ClientFrame::Playback(Playback { turn, heard_offset })),
    ]
}

fn any_cid() -> impl Strategy<Value = Option<Cid>> {
    prop_oneof![
        Just(None),
        any::<u64>().prop_map(|cid| Some(Cid::Uint(cid))),
        any::<String>().prop_map(|cid| Some(Cid::Str(cid))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_a_client_writes_is_read_back(frame in any_client_frame(), cid in any_cid()) {
        for subprotocol in [Subprotocol::Msgpack, Subprotocol::Json] {
            let message = encode_client(subprotocol, &frame, cid.as_ref()).unwrap();
            prop_assert_eq!(read(subprotocol, &message), Outcome::Frame(Ok(cid.clone()), frame.clone()));
        }
    }

    #[test]
    fn both_encodings_mean_the_same(message in any_frame()) {
        prop_assert_eq!(read_json(&message), read_msgpack(&message));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(Subprotocol::Msgpack, &bytes);
        let _ = read(Subprotocol::Json, &bytes);
    }

    #[test]
    fn damaged_frames_are_read_without_a_panic(
        frame in any_client_frame(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for subprotocol in [Subprotocol::Msgpack, Subprotocol::Json] {
            let mut message = encode_client(subprotocol, &frame, None).unwrap().to_vec();
            for (at, byte) in &damage {
                let at = at.index(message.len());
                message[at] = *byte;
            }
            let _ = read(subprotocol, &message);
            let _ = decode_server(subprotocol, &message);
            let _ = read(subprotocol, &message[..cut.index(message.len())]);
        }
    }

    #[test]
    fn an_error_always_says_which_field(message in any_frame()) {
        if let Outcome::Error(_, error) = read_json(&message) {
            let about_op = error.code == ErrorCode::UnknownOp;
            prop_assert!(about_op || error.field.is_some(), "{:?}", error);
        }
    }
}

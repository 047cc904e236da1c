//! Bytes that a client may rely on.

use std::fmt::Write as _;

use super::*;

#[allow(clippy::too_many_lines)] // A table.
fn frames() -> Vec<(ServerFrame, Option<u64>, Option<Cid>, &'static str)> {
    vec![
        (
            ServerFrame::Hello(Hello {
                protocol: 1,
                server: "npc-gateway/0.1.0".into(),
                engine: EngineKind::Model,
                heartbeat_ms: 15000,
                identify_timeout_ms: 5000,
                max_frame_bytes: 65536,
            }),
            None,
            None,
            r#"{"op":"hello","d":{"protocol":1,"server":"npc-gateway/0.1.0","engine":"model","heartbeat_ms":15000,"identify_timeout_ms":5000,"max_frame_bytes":65536}}"#,
        ),
        (
            ServerFrame::Ready(Ready {
                session: "s1".into(),
                resume_token: "r1".into(),
                epoch: "e1".into(),
                player: "mina".into(),
                scopes: vec!["play".into()],
                resume_window_ms: 0,
                limits: [("max_turns".into(), 16)].into(),
            }),
            Some(1),
            Some(Cid::Str("c".into())),
            r#"{"op":"ready","s":1,"cid":"c","d":{"session":"s1","resume_token":"r1","epoch":"e1","player":"mina","scopes":["play"],"resume_window_ms":0,"limits":{"max_turns":16}}}"#,
        ),
        (
            ServerFrame::HeartbeatAck(HeartbeatAck { seq: 7 }),
            None,
            Some(Cid::Uint(3)),
            r#"{"op":"heartbeat_ack","cid":3,"d":{"seq":7}}"#,
        ),
        (
            ServerFrame::Resumed(Resumed { seq: 12, replayed: 5, resume_token: "r2".into() }),
            None,
            Some(Cid::Uint(1)),
            r#"{"op":"resumed","cid":1,"d":{"seq":12,"replayed":5,"resume_token":"r2"}}"#,
        ),
        (
            ServerFrame::ResumeFailed(ResumeFailed {
                reason: ResumeFailReason::UnknownSession,
                recovered: false,
            }),
            None,
            None,
            r#"{"op":"resume_failed","d":{"reason":"unknown_session","recovered":false}}"#,
        ),
        (
            ServerFrame::NpcJoined(NpcJoined {
                npc: NpcInfo { id: "v:1".into(), name: "Vlad".into(), archetype: "vampire".into(), seed: 9 },
                chain: ChainInfo {
                    archetype: "vampire".into(),
                    generic: false,
                    tasks: [(
                        "dialogue_style".into(),
                        ChainTask { adapter: "vampire.dialogue_style".into(), version: "v1".into() },
                    )]
                    .into(),
                },
            }),
            Some(2),
            None,
            r#"{"op":"npc.joined","s":2,"d":{"npc":{"id":"v:1","name":"Vlad","archetype":"vampire","seed":9},"chain":{"archetype":"vampire","generic":false,"tasks":{"dialogue_style":{"adapter":"vampire.dialogue_style","version":"v1"}}}}}"#,
        ),
        (
            ServerFrame::NpcLeft(NpcLeft { npc: "v:1".into() }),
            Some(3),
            None,
            r#"{"op":"npc.left","s":3,"d":{"npc":"v:1"}}"#,
        ),
        (
            ServerFrame::NpcWarm(NpcWarm { npc: "v:1".into(), tokens: 130, ms: 41 }),
            Some(3),
            Some(Cid::Uint(9)),
            r#"{"op":"npc.warm","s":3,"cid":9,"d":{"npc":"v:1","tokens":130,"ms":41}}"#,
        ),
        (
            ServerFrame::TurnStarted(TurnStarted {
                turn: "t".into(),
                npc: "v:1".into(),
                player: "mina".into(),
                text: "Grüße 🦇".into(),
                generic: true,
                adapters: vec![AdapterUse {
                    id: "vampire.personality".into(),
                    task: "personality".into(),
                    version: "v2".into(),
                    weight: -0.5,
                }],
                prompt_tokens: 40,
                cached_tokens: 12,
            }),
            Some(4),
            None,
            r#"{"op":"turn.started","s":4,"d":{"turn":"t","npc":"v:1","player":"mina","text":"Grüße 🦇","generic":true,"adapters":[{"id":"vampire.personality","task":"personality","version":"v2","weight":-0.5}],"prompt_tokens":40,"cached_tokens":12}}"#,
        ),
        (
            ServerFrame::DialogueDelta(DialogueDelta {
                turn: "t".into(),
                player: "mina".into(),
                text: "Ah".into(),
                offset: 0,
                t_ms: 0,
                tokens: 1,
            }),
            Some(5),
            None,
            r#"{"op":"dialogue.delta","s":5,"d":{"turn":"t","player":"mina","text":"Ah","offset":0,"t_ms":0,"tokens":1}}"#,
        ),
        (
            ServerFrame::TurnCancelled(TurnCancelled {
                turn: "t".into(),
                player: "mina".into(),
                valid_through: ValidThrough { text_offset: 2, t_ms: 125 },
                retracted: vec![],
            }),
            Some(6),
            None,
            r#"{"op":"turn.cancelled","s":6,"d":{"turn":"t","player":"mina","valid_through":{"text_offset":2,"t_ms":125},"retracted":[]}}"#,
        ),
        (
            ServerFrame::TurnDone(TurnDone {
                turn: "t".into(),
                player: "mina".into(),
                npc: "v:1".into(),
                reason: DoneReason::Cancelled,
                text: "Ah".into(),
                fallback: false,
                usage: UsageInfo { prompt_tokens: 40, cached_tokens: 12, generated_tokens: 1 },
                timing: TimingInfo { queue_ms: 1, ttft_ms: 20, total_ms: 300 },
                interaction: None,
            }),
            Some(7),
            None,
            r#"{"op":"turn.done","s":7,"d":{"turn":"t","player":"mina","npc":"v:1","reason":"cancelled","text":"Ah","fallback":false,"usage":{"prompt_tokens":40,"cached_tokens":12,"generated_tokens":1},"timing":{"queue_ms":1,"ttft_ms":20,"total_ms":300}}}"#,
        ),
        (
            ServerFrame::Error(ErrorPayload {
                temporary: true,
                retry_after_ms: Some(250),
                turn: Some("t".into()),
                npc: Some("v:1".into()),
                field: Some("mix.personality".into()),
                limit: Some(Limit::Number(2.0)),
                ..ErrorPayload::new(ErrorCode::BadPayload, "no")
            }),
            None,
            None,
            r#"{"op":"error","d":{"code":"bad_payload","message":"no","temporary":true,"retry_after_ms":250,"turn":"t","npc":"v:1","field":"mix.personality","limit":2.0}}"#,
        ),
    ]
}

#[test]
fn server_frames_have_exactly_these_bytes() {
    for (frame, s, cid, json) in frames() {
        let text = encode_server(Subprotocol::Json, &frame, s, cid.as_ref()).unwrap();
        assert_eq!(std::str::from_utf8(&text).unwrap(), json);

        // MessagePack carries the same map, in the same order.
        let bytes = encode_server(Subprotocol::Msgpack, &frame, s, cid.as_ref()).unwrap();
        let value = rmpv::decode::read_value(&mut &bytes[..]).unwrap();
        let expected: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(rmpv::ext::from_value::<serde_json::Value>(value).unwrap(), expected);

        // A client gets back what was meant.
        for (subprotocol, message) in [(Subprotocol::Json, text), (Subprotocol::Msgpack, bytes)] {
            let read = decode_server(subprotocol, &message).unwrap();
            assert_eq!((read.op.as_str(), read.s, read.cid), (frame.op(), s, cid.clone()));
            assert_eq!(read.frame, Some(frame.clone()));
        }
    }
}

#[test]
fn msgpack_bytes_are_the_shortest_forms() {
    let frame = ServerFrame::HeartbeatAck(HeartbeatAck { seq: 7 });
    let bytes = encode_server(Subprotocol::Msgpack, &frame, None, Some(&Cid::Uint(300))).unwrap();
    assert_eq!(&bytes[..], b"\x83\xa2op\xadheartbeat_ack\xa3cid\xcd\x01\x2c\xa1d\x81\xa3seq\x07");

    let started = &frames()[8].0;
    let bytes = encode_server(Subprotocol::Msgpack, started, Some(4), None).unwrap();
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    // … "weight": float32 −0.5, "prompt_tokens": 40, "cached_tokens": 12.
    assert!(
        hex.ends_with("a6776569676874cabf000000ad70726f6d70745f746f6b656e7328ad6361636865645f746f6b656e730c")
    );
}

#[test]
fn an_unknown_server_frame_is_passed_over_by_a_client() {
    let read = decode_server(Subprotocol::Json, br#"{"op":"emotion","s":9,"d":{"label":"joy"}}"#).unwrap();
    assert_eq!((read.op.as_str(), read.s, read.frame), ("emotion", Some(9), None));
}

#[test]
fn every_close_code_has_the_number_of_its_name() {
    let codes = [
        (CloseCode::Internal, 4000, "internal"),
        (CloseCode::Draining, 4001, "draining"),
        (CloseCode::SlowConsumer, 4002, "slow_consumer"),
        (CloseCode::HeartbeatTimeout, 4003, "heartbeat_timeout"),
        (CloseCode::RateLimited, 4004, "rate_limited"),
        (CloseCode::SessionLimit, 4005, "session_limit"),
        (CloseCode::Idle, 4006, "idle"),
        (CloseCode::BadFrame, 4500, "bad_frame"),
        (CloseCode::UnsupportedProtocol, 4501, "unsupported_protocol"),
        (CloseCode::Unauthenticated, 4502, "unauthenticated"),
        (CloseCode::Forbidden, 4503, "forbidden"),
        (CloseCode::FrameTooLarge, 4504, "frame_too_large"),
        (CloseCode::SessionReplaced, 4505, "session_replaced"),
        (CloseCode::IdentifyTimeout, 4506, "identify_timeout"),
    ];
    for (code, number, name) in codes {
        assert_eq!((code.number(), code.name()), (number, name));
    }
}

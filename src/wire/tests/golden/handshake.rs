use super::*;

#[allow(clippy::too_many_lines)] // A table.
pub fn cases() -> Vec<ServerCase> {
    let hello = Hello {
        protocol: 1,
        server: "npc-gateway/0.1.0".into(),
        engine: EngineKind::Model,
        heartbeat_ms: 15000,
        identify_timeout_ms: 5000,
        max_frame_bytes: 65536,
    };
    let ready = Ready {
        session: "0b6f3c9e5a1d4c2e".into(),
        resume_token: "wJ7pXq".into(),
        epoch: "e-1".into(),
        player: "mina".into(),
        scopes: vec!["play".into(), "director".into()],
        resume_window_ms: 60000,
        limits: [("max_npcs".into(), 64), ("max_turns".into(), 16)].into(),
    };
    let resumed = Resumed { seq: 41, replayed: 3, resume_token: "k2Vn4d".into() };
    let mut cases = vec![
        unnumbered("", None, ServerFrame::Hello(hello.clone())),
        unnumbered("scripted", None, ServerFrame::Hello(Hello { engine: EngineKind::Scripted, ..hello })),
        reply("", 1, text("c1"), ServerFrame::Ready(ready.clone())),
        numbered(
            "bare",
            1,
            ServerFrame::Ready(Ready {
                scopes: vec![],
                resume_window_ms: 0,
                limits: std::collections::BTreeMap::new(),
                ..ready
            }),
        ),
        unnumbered("", None, ServerFrame::HeartbeatAck(HeartbeatAck { seq: 7 })),
        unnumbered(
            "max",
            Some(Cid::Uint(u64::MAX)),
            ServerFrame::HeartbeatAck(HeartbeatAck { seq: u64::MAX }),
        ),
        unnumbered("", Some(Cid::Uint(0)), ServerFrame::Resumed(resumed.clone())),
        unnumbered("nothing", None, ServerFrame::Resumed(Resumed { replayed: 0, ..resumed })),
        reply("", 44, Cid::Uint(5), ServerFrame::Authed(Authed { expires_ms: Some(3_600_000) })),
        numbered("forever", 44, ServerFrame::Authed(Authed { expires_ms: None })),
    ];
    for (variant, reason) in [
        ("", ResumeFailReason::UnknownSession),
        ("bad_token", ResumeFailReason::BadToken),
        ("epoch_changed", ResumeFailReason::EpochChanged),
        ("expired", ResumeFailReason::Expired),
        ("gap", ResumeFailReason::Gap),
        ("bad_subprotocol", ResumeFailReason::BadSubprotocol),
    ] {
        let failed = ResumeFailed { reason, recovered: false };
        cases.push(unnumbered(variant, Some(text("r")), ServerFrame::ResumeFailed(failed)));
    }
    cases.extend(errors());
    cases
}

fn errors() -> Vec<ServerCase> {
    let error = |code| ErrorPayload::new(code, "why, in words");
    let full = ErrorPayload {
        temporary: true,
        retry_after_ms: Some(250),
        turn: Some("t-1".into()),
        npc: Some("v:1".into()),
        field: Some("mix.personality".into()),
        limit: Some(Limit::Number(2.0)),
        ..error(ErrorCode::BadPayload)
    };
    let mut cases = vec![
        reply("", 12, text("c9"), ServerFrame::Error(full)),
        unnumbered("before_ready", Some(Cid::Uint(1)), ServerFrame::Error(error(ErrorCode::BadPayload))),
        numbered(
            "count_limit",
            13,
            ServerFrame::Error(ErrorPayload {
                field: Some("text".into()),
                limit: Some(Limit::Count(2000)),
                ..error(ErrorCode::TextTooLong)
            }),
        ),
    ];
    for (variant, code) in [
        ("unknown_op", ErrorCode::UnknownOp),
        ("bad_payload", ErrorCode::BadPayload),
        ("unknown_npc", ErrorCode::UnknownNpc),
        ("unknown_archetype", ErrorCode::UnknownArchetype),
        ("unknown_turn", ErrorCode::UnknownTurn),
        ("duplicate_turn", ErrorCode::DuplicateTurn),
        ("text_too_long", ErrorCode::TextTooLong),
        ("too_many_npcs", ErrorCode::TooManyNpcs),
        ("rate_limited", ErrorCode::RateLimited),
        ("overloaded", ErrorCode::Overloaded),
        ("engine_failed", ErrorCode::EngineFailed),
        ("storage_failed", ErrorCode::StorageFailed),
        ("forbidden", ErrorCode::Forbidden),
        ("not_available", ErrorCode::NotAvailable),
    ] {
        cases.push(numbered(variant, 14, ServerFrame::Error(error(code))));
    }
    cases
}

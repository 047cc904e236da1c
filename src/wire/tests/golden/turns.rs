use super::*;

#[allow(clippy::too_many_lines)] // A table.
pub fn cases() -> Vec<ServerCase> {
    let started = TurnStarted {
        turn: "t-1".into(),
        npc: "v:1".into(),
        player: "mina".into(),
        text: "Grüße 🦇".into(),
        generic: false,
        reason: Some(RouteReason::Promoted),
        adapters: vec![AdapterUse {
            id: "vampire.personality".into(),
            task: "personality".into(),
            version: "v2".into(),
            weight: -0.5,
        }],
        prompt_tokens: 40,
        cached_tokens: 12,
    };
    let delta = DialogueDelta {
        turn: "t-1".into(),
        player: "mina".into(),
        text: "Ah, \"Mina\"\n🦇".into(),
        offset: 0,
        t_ms: 0,
        tokens: 3,
    };
    let cancelled = TurnCancelled {
        turn: "t-1".into(),
        player: "mina".into(),
        valid_through: ValidThrough { text_offset: 2, t_ms: 125 },
        retracted: vec!["a-1".into(), "a-2".into()],
    };
    let done = TurnDone {
        turn: "t-1".into(),
        player: "mina".into(),
        npc: "v:1".into(),
        reason: DoneReason::Stop,
        text: "Ah".into(),
        fallback: false,
        usage: UsageInfo { prompt_tokens: 40, cached_tokens: 12, generated_tokens: 3 },
        timing: TimingInfo { queue_ms: 1, ttft_ms: 20, total_ms: 300 },
        interaction: Some("0197a3b2-77aa-7d10-8000-0000000000aa".into()),
    };
    let mut cases = vec![
        reply("", 4, text("c4"), ServerFrame::TurnStarted(started.clone())),
        numbered(
            "minimal",
            4,
            ServerFrame::TurnStarted(TurnStarted {
                text: String::new(),
                generic: true,
                reason: None,
                adapters: vec![],
                cached_tokens: 0,
                ..started
            }),
        ),
        numbered("", 5, ServerFrame::DialogueDelta(delta.clone())),
        numbered(
            "max",
            u64::MAX,
            ServerFrame::DialogueDelta(DialogueDelta {
                offset: u64::MAX,
                t_ms: u64::from(u32::MAX) + 1,
                tokens: u32::MAX,
                ..delta
            }),
        ),
        numbered("", 6, ServerFrame::TurnCancelled(cancelled.clone())),
        reply(
            "nothing",
            6,
            Cid::Uint(256),
            ServerFrame::TurnCancelled(TurnCancelled {
                valid_through: ValidThrough::default(),
                retracted: vec![],
                ..cancelled
            }),
        ),
        numbered("", 7, ServerFrame::TurnDone(done.clone())),
        numbered(
            "fallback",
            7,
            ServerFrame::TurnDone(TurnDone {
                fallback: true,
                usage: UsageInfo::default(),
                timing: TimingInfo::default(),
                interaction: None,
                ..done.clone()
            }),
        ),
    ];
    for (variant, reason) in [
        ("length", DoneReason::Length),
        ("cancelled", DoneReason::Cancelled),
        ("blocked", DoneReason::Blocked),
        ("error", DoneReason::Error),
    ] {
        let frame = TurnDone { reason, interaction: None, text: String::new(), ..done.clone() };
        cases.push(numbered(variant, 65536, ServerFrame::TurnDone(frame)));
    }
    cases
}

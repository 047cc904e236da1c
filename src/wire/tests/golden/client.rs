use std::collections::BTreeMap;

use super::*;

type Case = (&'static str, ClientFrame, Option<Cid>);

fn bow() -> Action {
    Action { name: "bow".into(), description: "Bows low".into() }
}

fn line() -> SayFrame {
    SayFrame {
        npc: "v:1".into(),
        turn: "t-1".into(),
        text: "Grüße 🦇".into(),
        actions: vec![],
        context: None,
        generation: None,
        mix: None,
        audience: None,
    }
}

fn say(say: SayFrame) -> ClientFrame {
    ClientFrame::Say(Box::new(say))
}

pub fn cases() -> Vec<Case> {
    [handshake(), npcs(), talking(), events()].into_iter().flatten().collect()
}

fn handshake() -> Vec<Case> {
    let identify = Identify {
        token: "mina".into(),
        client: ClientInfo { name: "golden".into(), version: "1.0".into() },
        protocol: None,
    };
    vec![
        ("", ClientFrame::Identify(identify.clone()), Some(text("c1"))),
        ("protocol", ClientFrame::Identify(Identify { protocol: Some(PROTOCOL), ..identify }), None),
        (
            "",
            ClientFrame::Resume(Resume {
                session: "0b6f3c9e5a1d4c2e".into(),
                resume_token: "wJ7pXq".into(),
                epoch: "e-1".into(),
                seq: 41,
            }),
            Some(Cid::Uint(0)),
        ),
        ("", ClientFrame::Heartbeat(Heartbeat { seq: 7 }), None),
        ("zero", ClientFrame::Heartbeat(Heartbeat { seq: 0 }), Some(text(""))),
        ("max", ClientFrame::Heartbeat(Heartbeat { seq: u64::MAX }), Some(Cid::Uint(u64::MAX))),
        ("", ClientFrame::Auth(Auth { token: "eyJhbGciOiJFZERTQSJ9.e30.c2ln".into() }), Some(Cid::Uint(5))),
    ]
}

fn npcs() -> Vec<Case> {
    let npc = || "v:1".to_owned();
    vec![
        (
            "",
            ClientFrame::NpcJoin(NpcJoin {
                npc: npc(),
                archetype: Some("vampire".into()),
                name: Some("Vlad".into()),
                seed: Some(u64::MAX),
                personality: Some([("pride".into(), 1.0), ("warmth".into(), -0.5)].into()),
            }),
            Some(text("c2")),
        ),
        (
            "known",
            ClientFrame::NpcJoin(NpcJoin {
                npc: npc(),
                archetype: None,
                name: None,
                seed: None,
                personality: None,
            }),
            None,
        ),
        ("", ClientFrame::NpcFocus(NpcFocus { npc: npc() }), Some(Cid::Uint(9))),
        ("", ClientFrame::NpcLeave(NpcLeave { npc: npc() }), Some(text("c8"))),
    ]
}

fn talking() -> Vec<Case> {
    vec![
        ("", say(line()), Some(text("c4"))),
        (
            "full",
            say(SayFrame {
                actions: vec![bow(), Action { name: "attack".into(), description: String::new() }],
                context: Some("Rain".into()),
                generation: Some(GenerationOptions {
                    max_tokens: Some(64),
                    temperature: Some(0.5),
                    top_p: Some(1.0),
                    min_p: Some(0.0),
                    seed: Some(u64::MAX),
                    greedy: true,
                    stop: vec!["\n".into()],
                }),
                mix: Some([("dialogue_style".into(), 2.0), ("personality".into(), -0.5)].into()),
                audience: Some(vec!["mina".into(), "jonathan".into()]),
                ..line()
            }),
            Some(Cid::Uint(4)),
        ),
        (
            "empty",
            say(SayFrame {
                text: String::new(),
                context: Some(String::new()),
                generation: Some(GenerationOptions::default()),
                mix: Some(BTreeMap::new()),
                audience: Some(vec![]),
                ..line()
            }),
            None,
        ),
        ("", ClientFrame::Cancel(Cancel { turn: "t-1".into(), heard_offset: Some(12) }), Some(text("c5"))),
        ("all", ClientFrame::Cancel(Cancel { turn: "t-1".into(), heard_offset: None }), None),
        ("", ClientFrame::Playback(Playback { turn: "t-1".into(), heard_offset: 12 }), None),
    ]
}

fn events() -> Vec<Case> {
    let result = |ok, reason| {
        ClientFrame::ActionResult(ActionResult { turn: "t-1".into(), action: "a-1".into(), ok, reason })
    };
    let gift = Event {
        npc: "v:1".into(),
        event: "gift-1".into(),
        kind: EventKind::Gift,
        text: "A silver ring".into(),
        importance: Some(1.0),
        witnesses: Some(vec!["jonathan".into()]),
    };
    let plain = |kind| Event { kind, importance: None, witnesses: None, ..gift.clone() };
    let act = NpcAct {
        npc: "v:1".into(),
        act: "dusk-1".into(),
        tasks: vec!["action_policy".into(), "goal_prioritization".into()],
        context: "Dusk".into(),
        actions: vec![bow()],
    };
    vec![
        ("", result(true, None), Some(text("c6"))),
        ("failed", result(false, Some("The door is locked".into())), Some(text("c6"))),
        ("", ClientFrame::Event(gift.clone()), Some(text("c3"))),
        ("injury", ClientFrame::Event(plain(EventKind::Injury)), None),
        ("threat", ClientFrame::Event(plain(EventKind::Threat)), None),
        ("witness", ClientFrame::Event(plain(EventKind::Witness)), None),
        ("custom", ClientFrame::Event(plain(EventKind::Custom)), None),
        ("", ClientFrame::NpcAct(act.clone()), Some(Cid::Uint(77))),
        (
            "bare",
            ClientFrame::NpcAct(NpcAct {
                tasks: vec!["emotional_response".into()],
                context: String::new(),
                actions: vec![],
                ..act
            }),
            None,
        ),
    ]
}

/// Frames that mean the same as ones that `src/wire` writes otherwise.
pub fn other_spellings() -> Vec<Spelling> {
    vec![
        (
            "integers",
            say(SayFrame {
                generation: Some(GenerationOptions {
                    temperature: Some(1.0),
                    top_p: Some(1.0),
                    min_p: Some(0.0),
                    ..GenerationOptions::default()
                }),
                mix: Some([("dialogue_style".into(), 2.0), ("personality".into(), -1.0)].into()),
                ..line()
            }),
            r#"{"op":"say","d":{"npc":"v:1","turn":"t-1","text":"Grüße 🦇","generation":{"temperature":1,"top_p":1,"min_p":0},"mix":{"dialogue_style":2,"personality":-1}}}"#,
        ),
        (
            "unknown_keys",
            say(SayFrame { actions: vec![bow()], ..line() }),
            r#"{"later":{"deep":[1,{"er":null}]},"op":"say","s":3,"d":{"turn":"t-1","npc":"v:1","mood":0.5,"text":"Grüße 🦇","actions":[{"name":"bow","icon":7,"description":"Bows low"}]}}"#,
        ),
    ]
}

type Spelling = (&'static str, ClientFrame, &'static str);

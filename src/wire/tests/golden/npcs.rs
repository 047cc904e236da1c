use std::collections::BTreeMap;

use serde_json::json;

use super::*;

/// Apple's names, in Apple's order.
const SHAPES: [&str; FACE_SHAPES] = [
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawRight",
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthLeft",
    "mouthRight",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
];

pub fn cases() -> Vec<ServerCase> {
    let npc = NpcInfo {
        id: "v:1".into(),
        name: "Vlad".into(),
        archetype: "vampire".into(),
        seed: 9,
        ..NpcInfo::default()
    };
    let chain = ChainInfo { archetype: "vampire".into(), generic: true, ..ChainInfo::default() };
    let mut cases = vec![
        numbered(
            "minimal",
            2,
            ServerFrame::NpcJoined(Box::new(NpcJoined {
                npc: npc.clone(),
                relationship: None,
                face: None,
                chain,
            })),
        ),
        reply("", 2, text("c2"), ServerFrame::NpcJoined(Box::new(full(npc)))),
        numbered("", 3, ServerFrame::NpcLeft(NpcLeft { npc: "v:1".into() })),
        reply("", 3, Cid::Uint(9), ServerFrame::NpcWarm(NpcWarm { npc: "v:1".into(), tokens: 130, ms: 41 })),
        reply(
            "",
            20,
            text("c3"),
            ServerFrame::EventRecorded(EventRecorded {
                event: Some("gift-1".into()),
                interaction: "0197a3b2-77aa-7d10-8000-0000000000a1".into(),
            }),
        ),
        numbered(
            "action",
            21,
            ServerFrame::EventRecorded(EventRecorded {
                event: None,
                interaction: "0197a3b2-77aa-7d10-8000-0000000000a2".into(),
            }),
        ),
        numbered(
            "nothing",
            22,
            ServerFrame::NpcActed(NpcActed {
                npc: "v:1".into(),
                act: "dusk-0".into(),
                results: BTreeMap::new(),
            }),
        ),
    ];
    let choice = |choice: &str, other: &str| Choice {
        choice: choice.into(),
        probs: [(choice.into(), 0.75), (other.into(), 0.25)].into(),
    };
    cases.push(reply(
        "",
        22,
        Cid::Uint(77),
        ServerFrame::NpcActed(NpcActed {
            npc: "v:1".into(),
            act: "dusk-1".into(),
            results: [
                ("action_policy".into(), choice("bow", "attack")),
                ("goal_prioritization".into(), choice("feed", "hide")),
            ]
            .into(),
        }),
    ));
    cases
}

fn full(npc: NpcInfo) -> NpcJoined {
    let service = |url: &str| ServiceInfo {
        url: url.into(),
        parameters: [("pitch".to_owned(), json!(0.5)), ("voice".to_owned(), json!("v1"))].into(),
    };
    NpcJoined {
        npc: NpcInfo {
            seed: u64::MAX,
            personality: Some((1..=50).map(|i| (format!("trait_{i:02}"), (i - 25) as f32 / 32.0)).collect()),
            body: Some([("height_m".to_owned(), json!(1.75)), ("scars".to_owned(), json!(["cheek"]))].into()),
            goals: Some(vec![GoalInfo { id: "feed".into(), text: "Find blood".into(), priority: 1.0 }]),
            ..npc
        },
        relationship: Some(Relationship {
            trust: -1.0,
            respect: 0.25,
            familiarity: 1.0,
            fear: 0.0,
            affection: 0.1,
        }),
        face: Some(FaceInfo { rig: "arkit52".into(), shapes: SHAPES.map(str::to_owned).into() }),
        chain: ChainInfo {
            archetype: "vampire".into(),
            generic: false,
            tasks: [(
                "dialogue_style".into(),
                ChainTask { adapter: "vampire.dialogue_style".into(), version: "v1".into() },
            )]
            .into(),
            services: Some(ChainServices {
                voice: Some(service("https://voice.example/v1")),
                facial: Some(service("https://face.example/v1")),
                body: Some(ServiceInfo {
                    url: "https://body.example/v1".into(),
                    parameters: BTreeMap::new(),
                }),
            }),
        },
    }
}

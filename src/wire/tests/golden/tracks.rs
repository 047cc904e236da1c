use std::collections::BTreeMap;

use super::*;

#[allow(clippy::too_many_lines)] // A table.
pub fn cases() -> Vec<ServerCase> {
    let turn = || "t-1".to_owned();
    let player = || "mina".to_owned();
    let probs = [
        (EmotionLabel::Neutral, 0.25),
        (EmotionLabel::Joy, 0.5),
        (EmotionLabel::Sadness, 0.0),
        (EmotionLabel::Anger, 0.03125),
        (EmotionLabel::Fear, 0.03125),
        (EmotionLabel::Disgust, 0.0625),
        (EmotionLabel::Surprise, 0.1),
        (EmotionLabel::Contempt, 0.025),
    ];
    let key = FaceKey {
        turn: turn(),
        player: player(),
        text_offset: 6,
        t_ms: 375,
        ease_ms: 120,
        au: [("AU12".into(), 1.0), ("AU14L".into(), 0.5), ("AU2R".into(), 0.1)].into(),
        w: std::array::from_fn::<u8, FACE_SHAPES, _>(|i| (i * 5) as u8).into(),
    };
    let social = Social {
        turn: turn(),
        player: player(),
        delta: [(Axis::Trust, -0.25), (Axis::Affection, 0.1)].into(),
        relationship: Relationship { trust: -1.0, respect: 0.5, familiarity: 1.0, fear: 0.0, affection: 0.1 },
        text_offset: 0,
        t_ms: 0,
    };
    let ranked = |id: &str, text: &str, p: f32| RankedGoal { id: id.into(), text: text.into(), p };
    vec![
        numbered(
            "",
            8,
            ServerFrame::Emotion(Emotion {
                turn: turn(),
                player: player(),
                label: EmotionLabel::Joy,
                intensity: 1.0,
                probs: probs.into(),
                text_offset: 6,
                t_ms: 375,
            }),
        ),
        numbered(
            "neutral",
            8,
            ServerFrame::Emotion(Emotion {
                turn: turn(),
                player: player(),
                label: EmotionLabel::Neutral,
                intensity: 0.0,
                probs: BTreeMap::new(),
                text_offset: 0,
                t_ms: 0,
            }),
        ),
        numbered("", 9, ServerFrame::FaceKey(key.clone())),
        numbered(
            "neutral",
            9,
            ServerFrame::FaceKey(FaceKey { au: BTreeMap::new(), w: [0; FACE_SHAPES].into(), ..key.clone() }),
        ),
        numbered("full", 9, ServerFrame::FaceKey(FaceKey { w: [255; FACE_SHAPES].into(), ..key })),
        numbered(
            "",
            10,
            ServerFrame::ActionProposed(ActionProposed {
                turn: turn(),
                player: player(),
                action: "a-1".into(),
                name: "bow".into(),
                p: 0.875,
                text_offset: 12,
                t_ms: 750,
            }),
        ),
        numbered("", 11, ServerFrame::Social(social.clone())),
        numbered("still", 11, ServerFrame::Social(Social { delta: BTreeMap::new(), ..social })),
        numbered(
            "",
            12,
            ServerFrame::Goal(Goal {
                turn: turn(),
                player: player(),
                ranked: vec![ranked("feed", "Find blood", 0.75), ranked("hide", "Be gone by dawn", 0.25)],
                text_offset: 12,
                t_ms: 750,
            }),
        ),
        numbered(
            "none",
            12,
            ServerFrame::Goal(Goal {
                turn: turn(),
                player: player(),
                ranked: vec![],
                text_offset: 0,
                t_ms: 0,
            }),
        ),
    ]
}

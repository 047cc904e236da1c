use super::*;
use crate::archetype::Packs;
use crate::chain::Chains;
use crate::config::Config;
use crate::engine::Script;
use crate::history::{History, HotLimits};
use crate::npc::Npcs;
use crate::wire::NpcJoin;

#[tokio::test]
async fn nothing_is_lost_of_what_the_engine_says_at_once() {
    let words = 5 * BURST + 7;
    let line = (0..words).map(|word| format!("w{word}")).collect::<Vec<_>>().join(" ");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &line).unwrap();
    let sets = [
        "engine.script_tokens_per_second=0".to_owned(),
        format!("engine.script_file={}", file.path().display()),
        "turn.max_tokens=1000".to_owned(),
    ];
    let config = Config::load(None, std::iter::empty(), &sets).unwrap();
    let data = tempfile::tempdir().unwrap();
    let limits = HotLimits { conversations: 10, window_min: 5, window_max: 10 };
    let history = History::open(data.path(), &config.history, limits).unwrap();
    let packs = Packs::load(None).unwrap();
    let npcs =
        Arc::new(Npcs::new(Chains::generic(&packs).unwrap(), config.npc.clone(), Arc::clone(&history)));
    let archetype = Some("vampire".to_owned());
    let join = NpcJoin { npc: "n".into(), archetype, name: None, seed: None, personality: None };
    npcs.join(&join, true).await.unwrap();
    let script = Script::start(&config.engine).unwrap();
    let turns = Turns::new(script, npcs, history, &config).unwrap();
    let mut events = turns
        .say(Say {
            player: "anna".into(),
            npc: "n".into(),
            turn: "t".into(),
            session: None,
            text: "Go on.".into(),
            context: None,
            generation: None,
            mix: None,
            audience: None,
            actions: Vec::new(),
            at_ms: 0,
        })
        .unwrap();
    let (mut text, mut pieces, mut taken) = (String::new(), 0, Vec::new());
    while events.recv_many(&mut taken, 7).await > 0 {
        for event in taken.drain(..) {
            match event {
                TurnEvent::Started(_) => assert_eq!(pieces, 0),
                TurnEvent::Emotion(_) | TurnEvent::Face(_) | TurnEvent::Social(_) | TurnEvent::Goal(_) => {}
                TurnEvent::Delta(piece) => {
                    assert_eq!(piece.offset, text.chars().count() as u64);
                    text.push_str(&piece.text);
                    pieces += 1;
                }
                TurnEvent::Done(done) => {
                    assert_eq!((&done.text, done.reason), (&line, DoneReason::Stop));
                    assert!(done.interaction.is_some(), "durable");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((text, pieces), (line, words));
}

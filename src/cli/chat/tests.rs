use std::time::{Duration, Instant};

use super::{conversation::Conversation, screen::Screen};
use crate::wire::*;

type Talk = Conversation<Vec<u8>, Vec<u8>>;

fn conversation(say: Option<&str>) -> Talk {
    let mut screen = Screen::new(Vec::new(), Vec::new());
    screen.names = say.is_none();
    Conversation::new(screen, "v1".to_owned(), None, say.map(str::to_owned))
}

/// At a terminal.
fn typed() -> Talk {
    let mut screen = Screen::new(Vec::new(), Vec::new());
    (screen.names, screen.prompt) = (true, true);
    Conversation::new(screen, "v1".to_owned(), Some("vampire".to_owned()), None)
}

fn server(talk: &mut Talk, cid: Option<Cid>, frame: ServerFrame, now: Instant) {
    talk.message(ServerMessage { op: frame.op().to_owned(), s: Some(1), cid, frame: Some(frame) }, now)
        .unwrap();
}

/// The one frame that is to be sent.
fn sent(talk: &mut Talk) -> (ClientFrame, Option<Cid>) {
    let mut frames = talk.take_outbox();
    assert_eq!(frames.len(), 1, "{frames:?}");
    frames.remove(0)
}

fn joined(talk: &mut Talk, cid: Option<Cid>, name: &str) {
    let npc = NpcInfo {
        id: "v1".to_owned(),
        name: name.to_owned(),
        archetype: "vampire".to_owned(),
        seed: 1,
        ..NpcInfo::default()
    };
    let chain = ChainInfo { archetype: "vampire".to_owned(), generic: true, ..ChainInfo::default() };
    let joined = NpcJoined { npc, relationship: None, face: None, chain };
    server(talk, cid, ServerFrame::NpcJoined(Box::new(joined)), Instant::now());
}

fn join(talk: &mut Talk) {
    let (frame, cid) = sent(talk);
    assert!(matches!(frame, ClientFrame::NpcJoin(_)));
    joined(talk, cid, "Carmilla");
}

fn say(talk: &mut Talk) -> (SayFrame, Option<Cid>) {
    match sent(talk) {
        (ClientFrame::Say(say), cid) => (*say, cid),
        other => panic!("{other:?}"),
    }
}

fn delta(talk: &mut Talk, turn: &str, offset: u64, text: &str, now: Instant) {
    let frame = DialogueDelta {
        turn: turn.to_owned(),
        player: "p".to_owned(),
        text: text.to_owned(),
        offset,
        t_ms: 0,
        tokens: 2,
    };
    server(talk, None, ServerFrame::DialogueDelta(frame), now);
}

fn started(talk: &mut Talk, turn: &str) {
    let frame = TurnStarted {
        turn: turn.to_owned(),
        npc: "v1".to_owned(),
        player: "p".to_owned(),
        text: String::new(),
        generic: true,
        reason: None,
        adapters: Vec::new(),
        prompt_tokens: 50,
        cached_tokens: 40,
    };
    server(talk, None, ServerFrame::TurnStarted(frame), Instant::now());
}

fn done(talk: &mut Talk, turn: &str, reason: DoneReason) {
    let frame = TurnDone {
        turn: turn.to_owned(),
        player: "p".to_owned(),
        npc: "v1".to_owned(),
        reason,
        text: String::new(),
        fallback: false,
        usage: UsageInfo { prompt_tokens: 50, cached_tokens: 40, generated_tokens: 6 },
        timing: TimingInfo::default(),
        interaction: None,
    };
    server(talk, None, ServerFrame::TurnDone(frame), Instant::now());
}

fn error(code: ErrorCode, message: &str) -> ServerFrame {
    ServerFrame::Error(ErrorPayload::new(code, message))
}

fn out(talk: &Talk) -> String {
    String::from_utf8(talk.screen().out.clone()).unwrap()
}

fn err(talk: &Talk) -> String {
    String::from_utf8(talk.screen().err.clone()).unwrap()
}

#[test]
fn one_line_prints_the_answer_alone_and_ends() {
    let mut talk = conversation(Some("Who are you?"));
    assert!(!talk.wants_input());
    join(&mut talk);
    let (said, _) = say(&mut talk);
    assert_eq!((said.npc.as_str(), said.text.as_str(), &said.mix), ("v1", "Who are you?", &None));
    started(&mut talk, &said.turn);
    let now = Instant::now();
    delta(&mut talk, &said.turn, 0, " I am\x1b[2J", now);
    delta(&mut talk, "another turn", 0, "nothing", now);
    delta(&mut talk, &said.turn, 9, " Carmilla.", now + Duration::from_millis(500));
    assert!(talk.ended().is_none());
    done(&mut talk, &said.turn, DoneReason::Stop);
    assert_eq!(out(&talk), "I am[2J Carmilla.\n");
    let err = err(&talk);
    assert!(err.contains("Carmilla the vampire is here, on the base model alone"), "{err}");
    assert!(
        err.contains("[6 tokens, 4.0 tokens/s, first after ") && err.contains("prompt 50 tokens, 40 cached]"),
        "{err}"
    );
    assert_eq!(talk.ended(), Some(Ok(())));
}

#[test]
fn a_failed_turn_is_the_result() {
    let mut talk = conversation(Some("Hi"));
    join(&mut talk);
    let (said, cid) = say(&mut talk);
    server(&mut talk, cid, error(ErrorCode::TextTooLong, "text has 9000 characters"), Instant::now());
    assert_eq!(talk.ended(), Some(Err("text has 9000 characters".to_owned())), "refused before it started");
    assert_eq!(said.text, "Hi");

    let mut talk = conversation(Some("Hi"));
    join(&mut talk);
    let (said, _) = say(&mut talk);
    started(&mut talk, &said.turn);
    let mut payload = ErrorPayload::new(ErrorCode::EngineFailed, "the model failed");
    payload.turn = Some(said.turn.clone());
    server(&mut talk, None, ServerFrame::Error(payload), Instant::now());
    assert!(talk.ended().is_none(), "turn.done is still to come");
    done(&mut talk, &said.turn, DoneReason::Error);
    assert_eq!(talk.ended(), Some(Err("the model failed".to_owned())));
}

#[test]
fn an_npc_that_does_not_exist_is_made() {
    let mut talk = conversation(None);
    let (frame, cid) = sent(&mut talk);
    assert!(matches!(&frame, ClientFrame::NpcJoin(join) if join.archetype.is_none()));
    server(&mut talk, cid, error(ErrorCode::UnknownNpc, "there is none"), Instant::now());
    let (frame, cid) = sent(&mut talk);
    assert!(
        matches!(&frame, ClientFrame::NpcJoin(join) if join.npc == "v1" && join.archetype.as_deref() == Some("vampire"))
    );
    server(&mut talk, cid, error(ErrorCode::UnknownArchetype, "no such pack"), Instant::now());
    assert_eq!(talk.ended(), Some(Err("no such pack".to_owned())));
}

#[test]
fn a_script_runs_in_order_and_ends_with_its_input() {
    let mut talk = conversation(None);
    for line in ["One", "/mix personality=0.5", "Two", "/cancel", "/nonsense"] {
        assert!(talk.wants_input());
        talk.line(line).unwrap();
    }
    talk.input_ended();
    assert!(!talk.wants_input());
    join(&mut talk);
    let (one, _) = say(&mut talk);
    assert_eq!((one.text.as_str(), &one.mix), ("One", &None));
    started(&mut talk, &one.turn);
    delta(&mut talk, &one.turn, 0, "1", Instant::now());
    done(&mut talk, &one.turn, DoneReason::Stop);

    let mut frames = talk.take_outbox();
    assert_eq!(frames.len(), 2, "the second line and its cancel");
    let (ClientFrame::Say(two), _) = frames.remove(0) else { panic!() };
    assert_eq!(two.mix, Some([("personality".to_owned(), 0.5)].into_iter().collect()));
    let (ClientFrame::Cancel(cancel), cid) = frames.remove(0) else { panic!() };
    assert_eq!(cancel, Cancel { turn: two.turn.clone(), heard_offset: Some(0) });
    // An error about the cancel is none about the turn.
    server(&mut talk, cid, error(ErrorCode::UnknownTurn, "it just ended"), Instant::now());
    assert!(talk.ended().is_none());
    done(&mut talk, &two.turn, DoneReason::Stop);
    assert_eq!(out(&talk), "Carmilla: 1\n");
    let failure = "there is no command /nonsense; /help lists them";
    assert_eq!(talk.ended(), Some(Err(failure.to_owned())), "a script that had a mistake fails");
}

#[test]
fn ctrl_c_stops_the_answer_and_twice_leaves() {
    let mut talk = typed();
    join(&mut talk);
    talk.line("Tell me all.").unwrap();
    let (said, _) = say(&mut talk);
    started(&mut talk, &said.turn);
    delta(&mut talk, &said.turn, 0, "Once upon", Instant::now());
    talk.interrupt().unwrap();
    let (frame, _) = sent(&mut talk);
    assert_eq!(frame, ClientFrame::Cancel(Cancel { turn: said.turn.clone(), heard_offset: Some(9) }));
    assert!(talk.ended().is_none());
    done(&mut talk, &said.turn, DoneReason::Cancelled);
    assert!(err(&talk).ends_with("(stopped)\n> "), "{}", err(&talk));
    // A new line forgets the first Ctrl-C.
    talk.line("Go on.").unwrap();
    let (said, _) = say(&mut talk);
    talk.interrupt().unwrap();
    talk.interrupt().unwrap();
    assert_eq!(talk.ended(), Some(Ok(())));
    assert_ne!(said.turn, "");

    let mut idle = typed();
    join(&mut idle);
    idle.interrupt().unwrap();
    assert!(idle.ended().is_none());
    idle.interrupt().unwrap();
    assert_eq!(idle.ended(), Some(Ok(())));
}

#[test]
fn at_a_terminal_commands_act_at_once_and_lines_wait() {
    let mut talk = typed();
    join(&mut talk);
    talk.line("One").unwrap();
    let (one, _) = say(&mut talk);
    talk.line("Two").unwrap();
    assert!(talk.take_outbox().is_empty());
    talk.line("/cancel").unwrap();
    assert!(matches!(sent(&mut talk), (ClientFrame::Cancel(_), _)));
    talk.line("/cancel").unwrap();
    assert!(talk.take_outbox().is_empty(), "once is enough");
    done(&mut talk, &one.turn, DoneReason::Cancelled);
    assert_eq!(say(&mut talk).0.text, "Two");
    for _ in 0..16 {
        assert!(talk.wants_input());
        talk.line("more").unwrap();
    }
    assert!(!talk.wants_input());
    talk.line("/quit").unwrap();
    assert_eq!(talk.ended(), Some(Ok(())));
}

#[test]
fn an_npc_that_cannot_be_joined_leaves_the_old_one() {
    let mut talk = typed();
    join(&mut talk);
    talk.line("/npc nobody").unwrap();
    let (_, cid) = sent(&mut talk);
    server(&mut talk, cid, error(ErrorCode::UnknownNpc, "there is no npc \"nobody\""), Instant::now());
    assert!(talk.ended().is_none());
    assert!(err(&talk).ends_with("there is no npc \"nobody\"\n> "), "{}", err(&talk));
    talk.line("Still there?").unwrap();
    assert_eq!(say(&mut talk).0.npc, "v1");
}

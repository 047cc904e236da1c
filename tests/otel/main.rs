//! What an OpenTelemetry Collector gets of a turn: `cargo test --features otel --test otel`.
//!
//! The collector is a few lines of this test, and reads protobuf by itself: it shares no code with what sends.

mod collector;
mod protobuf;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, connect};

use collector::Collector;
use protobuf::Span;

fn needed(variable: &str) -> PathBuf {
    std::env::var_os(variable).expect("run the tests with `cargo xtask test`").into()
}

/// A gateway with the real model that sends its spans to a collector; killed when it is dropped.
struct Gateway {
    process: Child,
    address: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    fn start(data: &std::path::Path, sets: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
        command.current_dir(env!("CARGO_TARGET_TMPDIR")).args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--model",
        ]);
        command.arg(needed("NPC_GATEWAY_TEST_MODEL")).env("ORT_DYLIB_PATH", needed("ORT_DYLIB_PATH"));
        command.arg("--data").arg(data);
        for set in sets {
            command.args(["--set", set]);
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").expect("it starts").trim().to_owned();
        Self { process, address }
    }

    /// Ends it as an operator does: what is not sent yet is sent.
    fn end(mut self) {
        let kill = format!("kill -TERM {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert!(self.process.wait().unwrap().success());
    }

    /// One line of a player; returns the session's id.
    fn say(&self, text: &str) -> String {
        let mut request = format!("ws://{}/ws", self.address).into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "npc.v1.json".parse().unwrap());
        let (mut socket, _) = connect(request).unwrap();
        let actions =
            json!([{"name": "bow", "description": "bows"}, {"name": "flee", "description": "flees"}]);
        let mut session = String::new();
        for (op, d, answer) in [
            ("identify", json!({"token": "anna", "client": {"name": "test", "version": "1"}}), "ready"),
            ("npc.join", json!({"npc": "lucy", "archetype": "vampire"}), "npc.joined"),
            ("heartbeat", json!({"seq": 2}), "heartbeat_ack"),
            (
                "say",
                json!({"npc": "lucy", "turn": "t1", "text": text, "actions": actions,
                    "generation": {"max_tokens": 12}}),
                "turn.done",
            ),
        ] {
            socket.send(Message::text(json!({"op": op, "d": d}).to_string())).unwrap();
            loop {
                let message = socket.read().unwrap();
                let Message::Text(text) = &message else { panic!("no {answer}, but {message:?}") };
                let frame: Value = serde_json::from_str(text).unwrap();
                assert_ne!(frame["op"], "error", "{frame}");
                if frame["op"] == "ready" {
                    frame["d"]["session"].as_str().unwrap().clone_into(&mut session);
                }
                if frame["op"] == answer {
                    break;
                }
            }
        }
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
        session
    }
}

/// The only span that is so.
fn only<'a>(spans: &'a [Span], what: &str, is: impl Fn(&Span) -> bool) -> &'a Span {
    let mut found = spans.iter().filter(|span| is(span));
    let first = found.next().unwrap_or_else(|| panic!("no {what} in {spans:#?}"));
    assert!(found.next().is_none(), "more than one {what} in {spans:#?}");
    first
}

const SAID: &str = "Who are you, quagmire?";

#[test]
fn a_collector_gets_a_turn_from_its_frame_to_its_requests() {
    let collector = Collector::start();
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("log.otlp_url={}", collector.url());
    let gateway = Gateway::start(data.path(), &[&url, r#"turn.tracks=["emotion","action"]"#]);
    let session_id = gateway.say(SAID);
    gateway.end();
    let (spans, service) = collector.spans();
    assert_eq!(service.as_deref(), Some("npc-gateway"));

    let turn = only(&spans, "turn", |span| span.name == "turn");
    assert_eq!(turn.text("turn"), Some("t1"));
    assert_eq!(turn.text("npc"), Some("lucy"));
    assert_eq!(turn.text("session"), Some(session_id.as_str()));
    assert!(turn.text("ended").is_some_and(|end| ["Stop", "Length"].contains(&end)), "{turn:?}");

    // A frame is the beginning of a trace; the session that it belongs to is linked.
    let frame =
        only(&spans, "frame of the line", |span| span.name == "frame" && span.text("op") == Some("say"));
    assert_eq!((turn.parent.as_slice(), &turn.trace), (frame.id.as_slice(), &frame.trace));
    assert!(frame.parent.is_empty(), "{frame:?}");
    let session = only(&spans, "session", |span| span.name == "session");
    assert_eq!(session.text("session"), Some(session_id.as_str()));
    assert_eq!(frame.links, std::slice::from_ref(&session.id));
    assert!(!spans.iter().any(|span| span.text("op") == Some("heartbeat")), "nothing comes of a heartbeat");

    let inside = |parent: &Span, name: &str| -> Vec<&Span> {
        let children: Vec<_> =
            spans.iter().filter(|span| span.parent == parent.id && span.name == name).collect();
        for child in &children {
            assert_eq!(child.trace, parent.trace, "{name}");
            assert!(
                child.start >= parent.start && child.end >= child.start,
                "{name}: {child:?} in {parent:?}"
            );
        }
        children
    };
    for name in ["mailbox", "moderation", "recall", "journal"] {
        assert_eq!(inside(turn, name).len(), 1, "{name}: {spans:#?}");
    }
    let requests = inside(turn, "request");
    assert_eq!(requests.len(), 1, "the line");
    let line = requests[0];
    assert_eq!(line.text("kind"), Some("generate"));
    assert!(line.number("prompt_tokens") > Some(0) && line.number("generated_tokens") > Some(0), "{line:?}");
    let phases: Vec<&Span> =
        ["queued", "prefill", "decode"].iter().flat_map(|name| inside(line, name)).collect();
    assert_eq!(phases.len(), 3, "{spans:#?}");
    assert!(
        phases.windows(2).all(|two| two[0].end <= two[1].start + 1_000_000),
        "one after another: {phases:?}"
    );

    let mut tasks = BTreeMap::new();
    for question in inside(turn, "question") {
        for request in inside(question, "request") {
            assert_eq!(request.text("kind"), Some("choose"));
            assert_eq!(inside(request, "prefill").len(), 1, "{request:?}");
            *tasks.entry(question.text("task").unwrap_or_default()).or_insert(0) += 1;
        }
    }
    assert!(tasks.contains_key("emotional_response") && tasks.contains_key("action_policy"), "{tasks:?}");

    assert!(!spans.iter().any(|span| span.name == "step"), "the steps are for those who ask for them");
    for hidden in [SAID, "quagmire", "anna"] {
        assert!(!collector.has_seen(hidden), "{hidden:?} was sent");
    }
}

#[test]
fn steps_are_linked_to_the_requests_that_they_compute() {
    let collector = Collector::start();
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("log.otlp_url={}", collector.url());
    let gateway = Gateway::start(data.path(), &[&url, "log.otlp_steps=true", "turn.tracks=[]"]);
    gateway.say(SAID);
    gateway.end();
    let (spans, _) = collector.spans();
    let line = only(&spans, "request", |span| span.name == "request");
    let steps: Vec<_> = spans.iter().filter(|span| span.name == "step").collect();
    assert!(steps.len() > 1 && steps.iter().all(|step| step.number("tokens") > Some(0)), "{spans:#?}");
    assert!(steps.iter().all(|step| step.links == [line.id.clone()]), "{steps:?}");
}

#[test]
fn a_collector_that_is_away_holds_up_nothing() {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // Nobody listens at this port.
    let gateway = Gateway::start(data.path(), &["log.otlp_url=http://127.0.0.1:1/v1/traces"]);
    gateway.say(SAID);
    gateway.end();
}

#[test]
fn no_frame_is_sent_where_none_is_wanted() {
    let collector = Collector::start();
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("log.otlp_url={}", collector.url());
    let gateway = Gateway::start(data.path(), &[&url, "log.otlp_share=0"]);
    gateway.say(SAID);
    gateway.end();
    assert!(collector.spans().0.is_empty());
}

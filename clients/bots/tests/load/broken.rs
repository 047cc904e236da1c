//! A server that breaks promises on purpose: whatever it breaks, the load tool sees it, says it, and exits with 1.

use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::support::bots;

/// What is done to the numbered frames of a turn: `turn.started`, two deltas, `turn.done`.
type Misdeed = fn(&mut Vec<Value>);

/// One session, and what of its turn is still to be sent.
#[derive(Debug, Default)]
struct State {
    s: u64,
    /// Every numbered frame so far, also those that nobody was sent.
    sent: Vec<Value>,
}

#[derive(Debug, Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    misdeed: Misdeed,
    /// A turn stops after its first delta, and its end comes only with a resume.
    halts: bool,
    /// A resume replays so many frames less than it should.
    swallows: usize,
}

type Socket = WebSocketStream<TcpStream>;

impl Server {
    /// Numbers a frame and notes it.
    fn number(&self, op: &str, cid: &Value, d: &Value) -> Value {
        let mut state = self.state.lock().unwrap();
        state.s += 1;
        let frame = json!({"op": op, "s": state.s, "cid": cid, "d": d});
        state.sent.push(frame.clone());
        frame
    }

    /// The frames of a turn.
    fn turn(&self, frame: &Value) -> Vec<Value> {
        let (turn, cid) = (&frame["d"]["turn"], &frame["cid"]);
        let delta = |text, offset| json!({"turn": turn, "player": "bot-0", "text": text, "offset": offset});
        let text = "Good evening, traveller.";
        let mut frames = vec![
            self.number("turn.started", cid, &json!({"turn": turn, "player": "bot-0"})),
            self.number("dialogue.delta", &Value::Null, &delta("Good evening,", 0)),
            self.number("dialogue.delta", &Value::Null, &delta(" traveller.", 13)),
            self.number(
                "turn.done",
                &Value::Null,
                &json!({"turn": turn, "player": "bot-0", "reason": "stop", "text": text}),
            ),
        ];
        (self.misdeed)(&mut frames);
        if self.halts {
            frames.truncate(2);
        }
        frames
    }

    /// What a resume brings.
    fn resumed(&self, d: &Value) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        let missed = state.sent.iter().filter(|frame| frame["s"].as_u64() > d["seq"].as_u64());
        let mut frames: Vec<_> = missed.cloned().collect();
        frames.truncate(frames.len() - self.swallows.min(frames.len()));
        let replayed = frames.len();
        frames
            .push(json!({"op": "resumed", "d": {"seq": state.s, "replayed": replayed, "resume_token": "r"}}));
        frames
    }

    async fn serve(self, stream: TcpStream) -> Option<()> {
        #[allow(clippy::result_large_err)] // The type of the callback is the library's.
        let echo = |request: &Request, mut response: Response| {
            let protocol = request.headers()["sec-websocket-protocol"].clone();
            response.headers_mut().insert("sec-websocket-protocol", protocol);
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, echo).await.ok()?;
        let hello = json!({"op": "hello", "d": {"protocol": 1, "engine": "model", "heartbeat_ms": 60_000}});
        send(&mut socket, vec![hello]).await?;
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            let (cid, d) = (&frame["cid"], &frame["d"]);
            let answer = match frame["op"].as_str().unwrap() {
                "identify" => {
                    *self.state.lock().unwrap() = State::default();
                    let ready = json!({"session": "x", "resume_token": "r", "epoch": "e", "player": "bot-0",
                        "resume_window_ms": 60_000});
                    vec![self.number("ready", cid, &ready)]
                }
                "resume" => self.resumed(d),
                "npc.join" => vec![self.number("npc.joined", cid, &json!({}))],
                "npc.focus" => vec![self.number("npc.warm", cid, &json!({}))],
                "npc.leave" => vec![self.number("npc.left", cid, &json!({}))],
                "say" => self.turn(&frame),
                _ => vec![],
            };
            send(&mut socket, answer).await?;
        }
        Some(())
    }
}

/// `None`: the client is gone.
async fn send(socket: &mut Socket, frames: Vec<Value>) -> Option<()> {
    for frame in frames {
        socket.send(Message::text(frame.to_string())).await.ok()?;
    }
    Some(())
}

/// Runs a scenario of one player against such a server; returns the exit code and what was said.
fn run(scenario: &[&str], misdeed: Misdeed, halts: bool, swallows: usize) -> (i32, String) {
    let server = Server { state: Arc::default(), misdeed, halts, swallows };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(server.clone().serve(stream));
        }
    });
    let common = ["--clients", "1", "--encoding", "json", "--patience", "3", "--url", &address];
    let (code, _, text) = bots(&[scenario, &common].concat());
    (code, text)
}

const CHAT: [&str; 7] = ["chat", "--duration", "0", "--pause", "0", "--lines", "1"];
const STORM: [&str; 3] = ["storm", "--calm", "0.1"];

#[test]
fn a_server_that_keeps_its_promises_is_not_blamed() {
    let (code, text) = run(&CHAT, |_| {}, false, 0);
    assert_eq!(code, 0, "{text}");
    let (code, text) = run(&STORM, |_| {}, true, 0);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn every_broken_promise_is_named_and_exits_with_1() {
    let misdeeds: [(&str, Misdeed); 9] = [
        ("has s 6 after 4", |frames| {
            for frame in &mut frames[1..] {
                frame["s"] = (frame["s"].as_u64().unwrap() + 1).into();
            }
        }),
        ("has s 5 after 5", |frames| frames.insert(1, frames[1].clone())),
        ("has s 6 after 4", |frames| frames.swap(1, 2)),
        ("a delta at 14 came after 13 characters", |frames| frames[2]["d"]["offset"] = 14.into()),
        ("but its deltas are", |frames| frames[3]["d"]["text"] = "Good evening".into()),
        ("ended with reason error", |frames| frames[3]["d"]["reason"] = "error".into()),
        ("which does not run", |frames| {
            let mut again = frames[3].clone();
            again["s"] = 8.into();
            frames.push(again);
        }),
        ("nothing came for 3 s", |frames| frames.truncate(3)),
        ("a bad turn.done came", |frames| frames[3]["d"] = json!({})),
    ];
    for (words, misdeed) in misdeeds {
        let (code, text) = run(&CHAT, misdeed, false, 0);
        assert_eq!(code, 1, "{words}: {text}");
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_resume_that_loses_frames_is_seen() {
    // A part of what was missed, and all of it.
    for swallowed in [1, 2] {
        let (code, text) = run(&STORM, |_| {}, true, swallowed);
        assert_eq!(code, 1, "{swallowed}: {text}");
        assert!(text.contains("promises broke"), "{swallowed}: {text}");
    }
}

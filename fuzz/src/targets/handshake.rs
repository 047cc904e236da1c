//! The protocol's state machine: what a client may send, in any order, over one socket after the other.
//!
//! The first byte chooses the subprotocol. Then come steps: a byte that says which, and what it needs. Good frames
//! have a byte each, so that whole conversations are short; everything else is a message with its length before it.

use std::sync::Arc;

use bytes::Bytes;
use npc_gateway::session::{Gateway, Offline};
use npc_gateway::wire::{Subprotocol, decode_server};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::support::gateway;

/// Steps of one input; what comes behind is passed over.
const MAX_STEPS: usize = 64;

/// Accepted is what led to a session.
pub fn handshake(data: &[u8]) -> bool {
    let Some((first, mut rest)) = data.split_first() else { return false };
    let (gateway, runtime) = gateway();
    // Turns are tasks.
    let _inside = runtime.enter();
    let subprotocol = if first & 1 == 0 { Subprotocol::Json } else { Subprotocol::Msgpack };
    let mut client = Client::connect(&gateway, subprotocol);
    for _ in 0..MAX_STEPS {
        let Some((step, behind)) = rest.split_first() else { break };
        rest = behind;
        let message = match step {
            0 => {
                // The network is gone, and comes back.
                client.connect_again(&gateway);
                continue;
            }
            1..32 => client.good(*step),
            _ => {
                let length = usize::from(*step - 32).min(rest.len());
                let (message, behind) = rest.split_at(length);
                rest = behind;
                message.to_vec()
            }
        };
        client.say(&message);
    }
    client.ready.is_some()
}

/// A client that holds the server to the protocol.
struct Client {
    subprotocol: Subprotocol,
    socket: Offline,
    /// The code that the socket was closed with.
    closed: bool,
    identified: bool,
    /// Of the last session: `ready`, and the last `s`.
    ready: Option<Value>,
    last_s: u64,
    /// Its numbered frames.
    numbered: Vec<Bytes>,
}

impl Client {
    fn connect(gateway: &Arc<Gateway>, subprotocol: Subprotocol) -> Self {
        let socket = Offline::open(gateway, subprotocol);
        let (ready, last_s, numbered) = (None, 0, Vec::new());
        let mut client =
            Self { subprotocol, socket, closed: false, identified: false, ready, last_s, numbered };
        client.greeted();
        client
    }

    fn connect_again(&mut self, gateway: &Arc<Gateway>) {
        self.socket = Offline::open(gateway, self.subprotocol);
        (self.closed, self.identified) = (false, false);
        self.greeted();
    }

    fn greeted(&mut self) {
        let sent = self.socket.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!(self.read(&sent[0])["op"], "hello");
    }

    /// One of the frames of a client that means well.
    fn good(&self, step: u8) -> Vec<u8> {
        let ready = self.ready.as_ref().map_or(&Value::Null, |ready| &ready["d"]);
        let (op, d) = match step {
            1 => ("identify", json!({"token": "mina", "client": {"name": "fuzz", "version": "1"}})),
            2 => ("identify", json!({"token": "", "client": {"name": "fuzz", "version": "1"}})),
            3 => {
                ("identify", json!({"token": "mina", "protocol": 1, "client": {"name": "f", "version": "1"}}))
            }
            4 => ("identify", json!({"protocol": 2})),
            5..9 => {
                let seq = match step {
                    5 => self.last_s,
                    6 => 0,
                    7 => self.last_s + 1,
                    _ => self.last_s / 2,
                };
                let (session, token) = (&ready["session"], &ready["resume_token"]);
                (
                    "resume",
                    json!({"session": session, "resume_token": token, "epoch": ready["epoch"], "seq": seq}),
                )
            }
            9 => ("resume", json!({"session": "s", "resume_token": "t", "epoch": "e", "seq": 1})),
            10 => ("heartbeat", json!({"seq": self.last_s})),
            11 => ("heartbeat", json!({"seq": u64::MAX})),
            12 => ("npc.join", json!({"npc": "n", "archetype": "vampire"})),
            13 => ("npc.join", json!({"npc": "n"})),
            14 => ("npc.join", json!({"npc": "m", "archetype": "lich", "seed": 7})),
            15 => ("npc.leave", json!({"npc": "n"})),
            16 => ("npc.leave", json!({"npc": "nobody"})),
            17 => ("cancel", json!({"turn": "t"})),
            18 => ("playback", json!({"turn": "t", "heard_offset": 2})),
            19 => ("auth", json!({"token": "mina"})),
            20 => ("auth", json!({"token": ""})),
            21 => ("npc.join", json!({"npc": "n", "archetype": "dragon"})),
            22 => ("say", json!({"npc": "nobody", "turn": "t", "text": "Hello?"})),
            23 => ("event", json!({"npc": "n", "event": "e", "kind": "gift", "text": "A rose."})),
            24 => ("npc.act", json!({"npc": "n", "act": "a", "tasks": ["action_policy"], "context": ""})),
            25 => ("action.result", json!({"turn": "t", "action": "a", "ok": true})),
            _ => ("no.such.op", json!({})),
        };
        let frame = json!({"op": op, "cid": step, "d": d});
        match self.subprotocol {
            Subprotocol::Json => frame.to_string().into_bytes(),
            Subprotocol::Msgpack => rmp_serde::to_vec(&frame).expect("JSON has a MessagePack form"),
        }
    }

    fn say(&mut self, message: &[u8]) {
        if self.closed {
            return;
        }
        let taken = Handle::current().block_on(self.socket.take(message));
        let sent = self.socket.sent();
        let frames: Vec<Value> = sent.iter().map(|frame| self.read(frame)).collect();
        let answers = frames.len();
        let replayed = frames.iter().position(|frame| frame["op"] == "resumed").unwrap_or_default();
        self.replayed(&sent[..replayed], &frames[..replayed]);
        for (bytes, frame) in sent.iter().zip(&frames).skip(replayed) {
            self.heard(frame);
            if frame["s"].is_u64() {
                self.numbered.push(bytes.clone());
            }
        }
        match taken.err().or(self.socket.closed()) {
            Some(code) => {
                let code = code.number();
                assert!((4001..=4999).contains(&code), "closed with {code}");
                self.closed = true;
            }
            // Whatever does not end the socket is answered, but for `playback`, and what a session already has.
            None => {
                assert!(answers > 0 || self.identified, "no answer to {}", String::from_utf8_lossy(message));
            }
        }
    }

    /// What a resumed socket is sent first: the frames that were sent before, byte for byte, to the last one that was
    /// seen and further.
    fn replayed(&mut self, sent: &[Bytes], frames: &[Value]) {
        for (bytes, frame) in sent.iter().zip(frames) {
            let s = frame["s"].as_u64().expect("only numbered frames are replayed");
            if let Some(before) = self.numbered.get(s as usize - 1) {
                assert_eq!(before, bytes, "not the same again: {frame}");
            } else {
                assert_eq!(s, self.last_s + 1, "{frame}");
                self.numbered.push(bytes.clone());
                self.last_s = s;
            }
        }
    }

    fn heard(&mut self, frame: &Value) {
        let op = frame["op"].as_str().expect("an op");
        if op == "ready" {
            assert!(!self.identified, "a second session: {frame}");
            self.identified = true;
            self.ready = Some(frame.clone());
            self.last_s = 0;
            self.numbered.clear();
        }
        if let Some(s) = frame["s"].as_u64() {
            assert_eq!(s, self.last_s + 1, "{frame}");
            self.last_s = s;
        } else {
            let unnumbered = ["heartbeat_ack", "resumed", "resume_failed"].contains(&op);
            assert!(unnumbered || (op == "error" && !self.identified), "{frame}");
        }
        if op == "resumed" {
            assert!(!self.identified, "{frame}");
            self.identified = true;
            let token = frame["d"]["resume_token"].clone();
            let ready = self.ready.as_mut().expect("only a session that was there can be resumed");
            ready["d"]["resume_token"] = token;
        }
    }

    /// A frame of the server as JSON. A client can read it, whichever encoding it has.
    fn read(&self, message: &[u8]) -> Value {
        decode_server(self.subprotocol, message).expect("a client can read it");
        match self.subprotocol {
            Subprotocol::Json => serde_json::from_slice(message).expect("JSON"),
            Subprotocol::Msgpack => rmp_serde::from_slice(message).expect("MessagePack"),
        }
    }
}

//! What must hold for the frames of every session, whatever the case is about: `s` has no holes, a `cid` is one that
//! was sent, what is replayed is what was sent, and [`Turns`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::stop::short;
use crate::turns::Turns;

/// Frames that never have an `s`.
const UNNUMBERED: [&str; 4] = ["hello", "heartbeat_ack", "resumed", "resume_failed"];

/// The frames of one session, over all of its sockets.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// There was `ready`, or a `resume` is asked for.
    in_session: bool,
    /// The last `s` received.
    last: u64,
    /// Up to here frames come once more.
    known: u64,
    messages: BTreeMap<u64, Vec<u8>>,
    cids: BTreeSet<String>,
    turns: Turns,
}

impl Ledger {
    /// The last `s` received.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// A frame with this `cid` was sent.
    pub fn sent(&mut self, cid: &Value) {
        self.cids.insert(cid.to_string());
    }

    /// The session goes on at another socket, which says to have everything up to `seq`.
    pub fn resumed_after(&self, seq: u64) -> Self {
        Self { in_session: true, known: self.last.max(self.known), last: seq, ..self.clone() }
    }

    /// Judges the next frame. `bytes`: its message.
    ///
    /// # Errors
    /// What it breaks.
    pub fn take(&mut self, frame: &Value, bytes: &[u8]) -> Result<(), String> {
        let op = frame["op"].as_str().unwrap_or_default();
        if let Some(cid) = frame.get("cid")
            && !self.cids.contains(&cid.to_string())
        {
            return Err(format!("`{op}` has the cid {cid}, which no frame of this session had"));
        }
        if op == "ready" {
            if self.in_session {
                return Err("ready comes twice".into());
            }
            self.in_session = true;
        }
        let Some(s) = frame.get("s") else {
            return if UNNUMBERED.contains(&op) || (op == "error" && !self.in_session) {
                Ok(())
            } else {
                Err(format!("`{op}` has no s: {}", short(&frame.to_string())))
            };
        };
        if UNNUMBERED.contains(&op) || !self.in_session {
            return Err(format!("`{op}` has an s and should have none"));
        }
        if s.as_u64() != Some(self.last + 1) {
            return Err(format!("`{op}` has s {s} after {}", self.last));
        }
        self.last += 1;
        if self.last <= self.known {
            return match self.messages.get(&self.last) {
                Some(before) if before != bytes => {
                    Err(format!("`{op}` with s {} is not byte for byte what was sent before", self.last))
                }
                _ => Ok(()),
            };
        }
        self.messages.insert(self.last, bytes.to_vec());
        self.turns.take(frame)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn started(s: u64) -> Value {
        json!({"op": "turn.started", "s": s, "d": {"turn": "t", "player": "p"}})
    }

    fn delta(s: u64, offset: u64, text: &str) -> Value {
        json!({"op": "dialogue.delta", "s": s, "d": {"turn": "t", "player": "p", "text": text, "offset": offset, "t_ms": s}})
    }

    fn done(s: u64, reason: &str, text: &str) -> Value {
        json!({"op": "turn.done", "s": s, "d": {"turn": "t", "player": "p", "reason": reason, "text": text}})
    }

    fn cancelled(s: u64, offset: u64) -> Value {
        json!({"op": "turn.cancelled", "s": s, "d": {"turn": "t", "player": "p", "valid_through": {"text_offset": offset}}})
    }

    /// Takes frames behind `ready`; the answer is the last one's.
    fn judge(frames: &[Value]) -> Result<(), String> {
        let mut ledger = Ledger::default();
        ledger.take(&json!({"op": "ready", "s": 1}), b"").unwrap();
        let (last, before) = frames.split_last().unwrap();
        for frame in before {
            ledger.take(frame, b"").unwrap();
        }
        ledger.take(last, b"")
    }

    #[test]
    fn a_good_turn_is_good() {
        judge(&[started(2), delta(3, 0, "Grüße "), delta(4, 6, "🦇."), done(5, "stop", "Grüße 🦇.")])
            .unwrap();
        judge(&[started(2), delta(3, 0, "Grüße"), cancelled(4, 2), done(5, "cancelled", "Gr")]).unwrap();
        judge(&[started(2), done(3, "stop", ""), cancelled(4, 0)]).unwrap();
        let error = json!({"op": "error", "s": 3, "d": {"turn": "t", "code": "engine_failed"}});
        judge(&[started(2), error, done(4, "error", "")]).unwrap();
    }

    #[test]
    fn what_breaks_a_promise_is_named() {
        let bad: [(&[Value], &str); 16] = [
            (&[started(3)], "has s 3 after 1"),
            (&[started(2), delta(2, 0, "x")], "has s 2 after 2"),
            (&[json!({"op": "npc.left"})], "has no s"),
            (&[json!({"op": "heartbeat_ack", "s": 2})], "should have none"),
            (&[json!({"op": "npc.left", "s": 2, "cid": 1})], "which no frame"),
            (&[json!({"op": "ready", "s": 2})], "ready comes twice"),
            (&[delta(2, 0, "x")], "without turn.started"),
            (&[started(2), started(3)], "comes twice"),
            (&[started(2), delta(3, 1, "x")], "offset 1 after 0"),
            (&[started(2), delta(3, 0, "🦇"), delta(4, 4, "x")], "offset 4 after 1"),
            (&[started(2), delta(3, 0, "ab"), done(4, "stop", "a")], "its deltas are"),
            (&[started(2), done(3, "stop", ""), done(4, "stop", "")], "after turn.done"),
            (&[started(2), done(3, "error", "")], "no error frame"),
            (&[started(2), done(3, "cancelled", "")], "was not cancelled"),
            (&[started(2), delta(3, 0, "ab"), cancelled(4, 1), delta(5, 2, "c")], "after turn.cancelled"),
            (&[started(2), cancelled(3, 1)], "only 0 characters came"),
        ];
        for (frames, problem) in bad {
            let said = judge(frames).unwrap_err();
            assert!(said.contains(problem), "{said:?} does not say {problem:?}");
        }
    }

    #[test]
    fn what_is_replayed_is_what_was_sent() {
        let mut ledger = Ledger::default();
        let left = |s: u64| json!({"op": "npc.left", "s": s});
        ledger.take(&json!({"op": "ready", "s": 1}), b"ready").unwrap();
        ledger.take(&left(2), b"two").unwrap();
        let mut good = ledger.resumed_after(1);
        good.take(&left(2), b"two").unwrap();
        good.take(&left(3), b"three").unwrap();
        assert!(ledger.resumed_after(1).take(&left(2), b"other").unwrap_err().contains("byte for byte"));
        assert!(ledger.resumed_after(1).take(&left(3), b"three").unwrap_err().contains("after 1"));
        // A turn that was heard of before goes on.
        let mut ledger = Ledger::default();
        for (frame, bytes) in
            [(json!({"op": "ready", "s": 1}), b"1"), (started(2), b"2"), (delta(3, 0, "a"), b"3")]
        {
            ledger.take(&frame, bytes).unwrap();
        }
        let mut ledger = ledger.resumed_after(2);
        ledger.take(&delta(3, 0, "a"), b"3").unwrap();
        ledger.take(&delta(4, 1, "b"), b"4").unwrap();
        ledger.take(&done(5, "stop", "ab"), b"5").unwrap();
    }
}

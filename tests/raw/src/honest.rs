//! A client that keeps to the protocol.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::encoding::{Encoding, heartbeat};
use crate::peer::Peer;

/// What an honest client saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Honest {
    /// Turns that ended as they should.
    pub turns: u64,
    /// Of those, turns that were answered with a scripted line.
    pub scripted: u64,
}

/// Says one line after the other on one socket until it is told to stop; at least one.
///
/// # Errors
/// The connection's, or `InvalidData` for a turn that did not end as it should: the deltas join to the text of
/// `turn.done`, `s` has no gap, and the reason is `stop` or `length`.
pub fn converse(address: SocketAddr, encoding: Encoding, stop: &AtomicBool) -> io::Result<Honest> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    // Turn ids are a player's own: two clients of one player would repeat each other's.
    let mut peer = Peer::identified(address, encoding, &format!("honest-{}", encoding.name()))?;
    peer.say(&json!({"op": "npc.join", "d": {"npc": "honest:npc", "archetype": "lich"}}))?;
    peer.expect("npc.joined")?;
    let (mut seen, mut last_s) = (Honest::default(), 2);
    while seen.turns == 0 || !stop.load(Ordering::Relaxed) {
        peer.say(&heartbeat("alive"))?;
        peer.expect("heartbeat_ack")?;
        let turn = format!("turn-{}", seen.turns);
        let d = json!({"npc": "honest:npc", "turn": turn, "text": "What do you guard?",
            "generation": {"max_tokens": 12}});
        peer.say(&json!({"op": "say", "cid": seen.turns, "d": d}))?;
        let mut text = String::new();
        loop {
            let frame = peer.hear()?;
            last_s += 1;
            if frame["s"] != last_s || frame["d"]["turn"] != turn.as_str() {
                return Err(wrong(format!("not frame {last_s} of {turn}: {frame}")));
            }
            match frame["op"].as_str() {
                Some("dialogue.delta") => {
                    if frame["d"]["offset"] != text.chars().count() {
                        return Err(wrong(format!("a gap behind {text:?}: {frame}")));
                    }
                    text += frame["d"]["text"].as_str().unwrap_or_default();
                }
                Some("turn.done") => {
                    let d = &frame["d"];
                    if d["text"] != text.as_str()
                        || !["stop", "length"].iter().any(|reason| d["reason"] == *reason)
                    {
                        return Err(wrong(format!("a turn that ended badly behind {text:?}: {frame}")));
                    }
                    seen.turns += 1;
                    seen.scripted += u64::from(d["fallback"] == true);
                    break;
                }
                Some("error") | None => return Err(wrong(format!("an error: {frame}"))),
                _ => {}
            }
        }
    }
    Ok(seen)
}

//! What is known of a session, apart from its socket.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::auth::{Pass, Player};
use super::outbox::{LastWord, Outbox};
use crate::wire::{Cid, CloseCode, ServerFrame, Subprotocol, encode_server};

/// A player's session.
#[derive(Debug)]
pub struct Session {
    pub id: String,
    pub player: Player,
    /// What it may do, and until when; nothing before it is renewed for the first time.
    pub pass: Pass,
    subprotocol: Subprotocol,
    stream: Mutex<Stream>,
    /// Ids of the NPCs that this session has joined.
    joined: Mutex<HashSet<String>>,
    /// Turns that run or wait.
    turns: AtomicUsize,
    /// The session is over; its turns end with it.
    pub gone: CancellationToken,
}

/// The numbered frames of a session. The lock makes the order of `s` the order of sending; a replay buffer
/// belongs in here.
#[derive(Debug)]
struct Stream {
    /// The last `s` given; 0: none yet.
    last_s: u64,
    outbox: Arc<Outbox>,
}

impl Session {
    /// A new session of a player on a socket.
    pub fn new(player: Player, subprotocol: Subprotocol, outbox: Arc<Outbox>) -> Arc<Self> {
        Arc::new(Self {
            id: Uuid::new_v4().simple().to_string(),
            player,
            pass: Pass::default(),
            subprotocol,
            stream: Mutex::new(Stream { last_s: 0, outbox }),
            joined: Mutex::default(),
            turns: AtomicUsize::new(0),
            gone: CancellationToken::new(),
        })
    }

    /// Sends a frame with the next `s`.
    pub fn send(&self, frame: &ServerFrame, cid: Option<&Cid>) {
        let mut stream = self.stream.lock();
        let s = stream.last_s + 1;
        match encode_server(self.subprotocol, frame, Some(s), cid) {
            Ok(message) => {
                stream.last_s = s;
                stream.outbox.push(message);
            }
            Err(error) => unwritable(&stream.outbox, frame, &error),
        }
    }

    /// Whether this session has joined an NPC.
    pub fn has_joined(&self, npc: &str) -> bool {
        self.joined.lock().contains(npc)
    }

    /// How many NPCs this session has joined.
    pub fn joined_count(&self) -> usize {
        self.joined.lock().len()
    }

    /// Notes an NPC; false if it was noted already.
    pub fn joined(&self, npc: String) -> bool {
        self.joined.lock().insert(npc)
    }

    /// Strikes an NPC off; false if it was not joined.
    pub fn left(&self, npc: &str) -> bool {
        self.joined.lock().remove(npc)
    }

    /// Strikes all NPCs off.
    pub fn take_joined(&self) -> HashSet<String> {
        std::mem::take(&mut self.joined.lock())
    }

    /// Takes one of `limit` places for turns; `None` if all are taken.
    pub fn take_turn(self: &Arc<Self>, limit: usize) -> Option<TurnPlace> {
        self.turns
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |turns| (turns < limit).then_some(turns + 1))
            .ok()
            .map(|_| TurnPlace { session: Arc::clone(self) })
    }
}

/// Sends a frame that has no `s`: it belongs to the socket, not to the session.
pub fn send_unnumbered(outbox: &Outbox, subprotocol: Subprotocol, frame: &ServerFrame, cid: Option<&Cid>) {
    match encode_server(subprotocol, frame, None, cid) {
        Ok(message) => outbox.push(message),
        Err(error) => unwritable(outbox, frame, &error),
    }
}

/// Leaving a frame out would break the client's count, so the socket ends.
fn unwritable(outbox: &Outbox, frame: &ServerFrame, error: &crate::wire::CodecError) {
    tracing::error!(op = frame.op(), %error, "a frame could not be written");
    outbox.end(LastWord::Close(CloseCode::Internal));
}

/// One of a session's places for turns, given back when it is dropped.
#[derive(Debug)]
pub struct TurnPlace {
    session: Arc<Session>,
}

impl Drop for TurnPlace {
    fn drop(&mut self) {
        self.session.turns.fetch_sub(1, Ordering::AcqRel);
    }
}

//! A session: what a player's client has to find again when it comes back on another socket.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::auth::{Pass, Player};
use super::keys::Keys;
use super::outbox::{LastWord, Outbox};
use super::record::{From, Log, Recorder};
use super::replay::{Replay, Shares};
use super::told::SessionTold;
use crate::metrics::SessionMetrics;
use crate::turn::{Piece, now_ms};
use crate::wire::{
    Burst, Cid, ClientFrame, CloseCode, CodecError, DeltaRef, Resume, ResumeFailReason, Resumed, ServerFrame,
    Subprotocol, encode_server,
};

/// A player's session.
#[derive(Debug)]
pub struct Session {
    pub id: Uuid,
    pub player: Player,
    /// What it may do, and until when; nothing before it is renewed for the first time.
    pub pass: Pass,
    subprotocol: Subprotocol,
    stream: Mutex<Stream>,
    /// Ids of the NPCs that this session has joined; `None`: the session is over.
    joined: Mutex<Option<HashSet<String>>>,
    /// Turns that run or wait.
    turns: AtomicUsize,
    /// Where its frames are written down.
    log: Option<(Arc<Recorder>, Log)>,
    /// The session is over; its turns end with it.
    pub gone: CancellationToken,
    /// When it began, in milliseconds since 1970, UTC.
    began_ms: u64,
    metrics: Arc<SessionMetrics>,
}

/// The numbered frames of a session. The lock makes the order of `s` the order of sending, also when a socket takes
/// the place of another one.
#[derive(Debug)]
struct Stream {
    /// Gives `s`.
    replay: Replay,
    line: Line,
    keys: Keys,
}

impl Stream {
    /// Passes messages on that have their `s`.
    fn pass(&mut self, messages: Vec<Bytes>) {
        if let Line::Open(outbox) = &self.line {
            outbox.push_all(&messages);
        }
        self.replay.extend(messages);
    }

    /// A frame could not be written: it is lost, and a resume must not pretend otherwise.
    fn lose_frame(&mut self, op: &str, error: &CodecError) {
        self.replay.skip();
        if let Line::Open(outbox) = &self.line {
            unwritable(outbox, op, error);
        }
    }
}

/// A frame of a turn on its way to a session.
#[derive(Debug)]
pub enum Outgoing {
    Delta(Piece),
    Frame(ServerFrame),
}

impl Outgoing {
    fn op(&self) -> &'static str {
        match self {
            Self::Delta(_) => "dialogue.delta",
            Self::Frame(frame) => frame.op(),
        }
    }
}

/// Where frames go.
#[derive(Debug)]
enum Line {
    /// To a socket, which may have ended without having been missed yet.
    Open(Arc<Outbox>),
    /// Nowhere for now.
    Lost {
        since: Instant,
        /// The task that ends the session when nobody comes back.
        expiry: AbortHandle,
    },
    /// Nowhere any more.
    Over,
}

impl Session {
    /// A new session of a player on a socket.
    pub fn new(
        player: Player,
        subprotocol: Subprotocol,
        outbox: Arc<Outbox>,
        shares: Arc<Shares>,
        recorder: Option<&Arc<Recorder>>,
        metrics: Arc<SessionMetrics>,
    ) -> Arc<Self> {
        let id = Uuid::new_v4();
        let log = |recorder: &Arc<Recorder>| {
            (Arc::clone(recorder), recorder.log(&id.simple().to_string(), subprotocol))
        };
        Arc::new(Self {
            id,
            log: recorder.map(log),
            player,
            pass: Pass::default(),
            subprotocol,
            stream: Mutex::new(Stream {
                replay: Replay::new(shares),
                line: Line::Open(outbox),
                keys: Keys::new(),
            }),
            joined: Mutex::new(Some(HashSet::new())),
            turns: AtomicUsize::new(0),
            gone: CancellationToken::new(),
            began_ms: now_ms(),
            metrics,
        })
    }

    /// Its id as clients are given it.
    pub fn name(&self) -> String {
        self.id.simple().to_string()
    }

    /// Sends a frame with the next `s`, now or when the client comes back.
    pub fn send(&self, frame: &ServerFrame, cid: Option<&Cid>) {
        let mut stream = self.stream.lock();
        if matches!(stream.line, Line::Over) {
            return;
        }
        let s = stream.replay.last() + 1;
        match encode_server(self.subprotocol, frame, Some(s), cid) {
            Ok(message) => {
                self.note(From::Server, &message);
                self.metrics.sent(frame, message.len());
                if let Line::Open(outbox) = &stream.line {
                    outbox.push(message.clone());
                }
                stream.replay.push(message);
            }
            Err(error) => stream.lose_frame(frame.op(), &error),
        }
    }

    /// Sends frames of a player's turn with the next `s` each, as [`Self::send`] would one after another. `cid`: of the
    /// first one.
    pub fn send_all(&self, player: &str, turn: &str, frames: &[Outgoing], mut cid: Option<&Cid>) {
        let mut stream = self.stream.lock();
        if matches!(stream.line, Line::Over) {
            return;
        }
        let mut burst = Burst::new(self.subprotocol, frames.len());
        let mut s = stream.replay.last();
        for frame in frames {
            s += 1;
            let cid = cid.take();
            match frame {
                Outgoing::Frame(frame) => self.metrics.sent(frame, 0),
                Outgoing::Delta(_) => self.metrics.sent_delta(),
            }
            let written = match frame {
                Outgoing::Frame(frame) => burst.frame(frame, s, cid),
                Outgoing::Delta(Piece { text, offset, t_ms, tokens }) => {
                    let (offset, t_ms, tokens) = (*offset, *t_ms, *tokens);
                    burst.delta(&DeltaRef { turn, player, text, offset, t_ms, tokens }, s)
                }
            };
            if let Err(error) = written {
                let before = std::mem::replace(&mut burst, Burst::new(self.subprotocol, 0));
                stream.pass(self.noted(before.messages()));
                stream.lose_frame(frame.op(), &error);
            }
        }
        stream.pass(self.noted(burst.messages()));
    }

    /// Writes a message down, if that is wanted.
    pub(super) fn note(&self, from: From, message: &[u8]) {
        if let Some((recorder, log)) = &self.log {
            recorder.note_message(log, from, message);
        }
    }

    fn noted(&self, messages: Vec<Bytes>) -> Vec<Bytes> {
        self.metrics.sent_bytes(messages.iter().map(Bytes::len).sum());
        for message in &messages {
            self.note(From::Server, message);
        }
        messages
    }

    /// Writes a frame of the client down, if that is wanted, so that it can be played again: a line gets the seed that is
    /// written. Handshakes and heartbeats are the socket's, and tokens are for nobody.
    pub(super) fn note_client(&self, frame: &mut ClientFrame, cid: Option<&Cid>) {
        let Some((recorder, log)) = &self.log else { return };
        match frame {
            ClientFrame::Heartbeat(_)
            | ClientFrame::Auth(_)
            | ClientFrame::Identify(_)
            | ClientFrame::Resume(_) => {
                return;
            }
            ClientFrame::Say(say) => {
                let generation = say.generation.get_or_insert_default();
                generation.seed.get_or_insert_with(|| rand::random::<u32>().into());
            }
            _ => {}
        }
        recorder.note(log, From::Client, serde_json::json!({"op": frame.op(), "cid": cid, "d": frame}));
    }

    /// The newest resume token.
    pub fn resume_token(&self) -> String {
        self.stream.lock().keys.token()
    }

    /// The tokens that open it.
    pub fn keys(&self) -> Keys {
        self.stream.lock().keys
    }

    /// Moves the session to another socket: everything that its client missed, `resumed`, and from then on what
    /// comes. The socket that it had is closed. Returns whether the session had lost its socket.
    pub fn resume(
        &self,
        resume: &Resume,
        subprotocol: Subprotocol,
        outbox: &Arc<Outbox>,
        cid: Option<&Cid>,
    ) -> Result<bool, ResumeFailReason> {
        let mut stream = self.stream.lock();
        let keys = stream.keys.turned(&resume.resume_token).ok_or(ResumeFailReason::BadToken)?;
        if matches!(stream.line, Line::Over) {
            return Err(ResumeFailReason::Expired);
        }
        if subprotocol != self.subprotocol {
            return Err(ResumeFailReason::BadSubprotocol);
        }
        let missed = stream.replay.after(resume.seq).ok_or(ResumeFailReason::Gap)?;
        let resumed =
            Resumed { seq: stream.replay.last(), replayed: missed.len() as u64, resume_token: keys.token() };
        outbox.replay(missed.cloned());
        send_unnumbered(&self.metrics, outbox, subprotocol, &ServerFrame::Resumed(resumed), cid);
        stream.keys = keys;
        match std::mem::replace(&mut stream.line, Line::Open(Arc::clone(outbox))) {
            Line::Open(replaced) => {
                replaced.end(LastWord::Close(CloseCode::SessionReplaced));
                Ok(false)
            }
            Line::Lost { expiry, .. } => {
                expiry.abort();
                Ok(true)
            }
            Line::Over => Ok(false),
        }
    }

    /// A frame came from the client on this socket, so it has the newest token.
    pub fn confirm(&self, outbox: &Arc<Outbox>) {
        let mut stream = self.stream.lock();
        if matches!(&stream.line, Line::Open(open) if Arc::ptr_eq(open, outbox)) {
            stream.keys.confirm();
        }
    }

    /// The client has every frame up to `seq`.
    pub fn acknowledge(&self, seq: u64) {
        self.stream.lock().replay.forget(seq);
    }

    /// Drops the oldest frames until the others take at most `bytes`.
    pub fn trim(&self, bytes: usize) {
        self.stream.lock().replay.trim(bytes);
    }

    /// Drops the frames up to the last one that has one of these words in it.
    pub fn forget_naming(&self, words: &[&[u8]]) {
        self.stream.lock().replay.forget_naming(words);
    }

    /// Ends the session, wherever its socket is, and closes that. Tells whether it did, and whether it had lost it.
    pub fn end_now(&self, code: CloseCode) -> Option<bool> {
        let mut stream = self.stream.lock();
        let lost = match std::mem::replace(&mut stream.line, Line::Over) {
            Line::Open(outbox) => {
                outbox.end(LastWord::Close(code));
                false
            }
            Line::Lost { expiry, .. } => {
                expiry.abort();
                true
            }
            Line::Over => return None,
        };
        stream.replay.clear();
        Some(lost)
    }

    /// Notes that this socket is gone; false if it is not the session's any more. `expiry` starts the task that is to
    /// end the session, which finds it lost however long this takes.
    pub fn lose(&self, outbox: &Arc<Outbox>, since: Instant, expiry: impl FnOnce() -> AbortHandle) -> bool {
        let mut stream = self.stream.lock();
        let own = matches!(&stream.line, Line::Open(open) if Arc::ptr_eq(open, outbox));
        if own {
            stream.line = Line::Lost { since, expiry: expiry() };
        }
        own
    }

    /// When the session lost its socket, if it has none.
    pub fn lost_since(&self) -> Option<Instant> {
        match self.stream.lock().line {
            Line::Lost { since, .. } => Some(since),
            Line::Open(_) | Line::Over => None,
        }
    }

    /// Ends the session if this is its socket; tells whether it did.
    pub fn end_on(&self, outbox: &Arc<Outbox>) -> bool {
        self.end_if(|line| matches!(line, Line::Open(open) if Arc::ptr_eq(open, outbox)))
    }

    /// Ends the session if it has no socket and has had none since `when`; tells whether it did.
    pub fn end_lost(&self, when: Instant) -> bool {
        self.end_if(|line| matches!(line, Line::Lost { since, .. } if *since == when))
    }

    fn end_if(&self, condition: impl FnOnce(&Line) -> bool) -> bool {
        let mut stream = self.stream.lock();
        let ends = condition(&stream.line);
        if ends {
            if let Line::Lost { expiry, .. } = std::mem::replace(&mut stream.line, Line::Over) {
                expiry.abort();
            }
            stream.replay.clear();
        }
        ends
    }

    /// Messages that wait to be sent to its socket, and their bytes.
    pub fn queued(&self) -> (usize, usize) {
        match &self.stream.lock().line {
            Line::Open(outbox) => outbox.held(),
            Line::Lost { .. } | Line::Over => (0, 0),
        }
    }

    /// How it is now.
    pub fn told(&self) -> SessionTold {
        let (lost, (held_frames, held_bytes)) = {
            let stream = self.stream.lock();
            (!matches!(stream.line, Line::Open(_)), stream.replay.held())
        };
        let mut npcs: Vec<String> = self.joined.lock().iter().flatten().cloned().collect();
        npcs.sort_unstable();
        SessionTold {
            id: self.id,
            player: self.player.name.clone(),
            scopes: self.player.scopes.clone(),
            subprotocol: self.subprotocol,
            lost,
            began_ms: self.began_ms,
            npcs,
            turns: self.turns.load(Ordering::Acquire),
            held_frames,
            held_bytes,
        }
    }

    /// Whether this session has joined an NPC.
    pub fn has_joined(&self, npc: &str) -> bool {
        self.joined.lock().as_ref().is_some_and(|joined| joined.contains(npc))
    }

    /// How many NPCs this session has joined.
    pub fn joined_count(&self) -> usize {
        self.joined.lock().as_ref().map_or(0, HashSet::len)
    }

    /// Notes an NPC; false if it was noted already, or if the session is over.
    pub fn joined(&self, npc: String) -> bool {
        self.joined.lock().as_mut().is_some_and(|joined| joined.insert(npc))
    }

    /// Strikes an NPC off; false if it was not joined.
    pub fn left(&self, npc: &str) -> bool {
        self.joined.lock().as_mut().is_some_and(|joined| joined.remove(npc))
    }

    /// Strikes all NPCs off, for good.
    pub fn take_joined(&self) -> HashSet<String> {
        self.joined.lock().take().unwrap_or_default()
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
pub fn send_unnumbered(
    metrics: &SessionMetrics,
    outbox: &Outbox,
    subprotocol: Subprotocol,
    frame: &ServerFrame,
    cid: Option<&Cid>,
) {
    match encode_server(subprotocol, frame, None, cid) {
        Ok(message) => {
            metrics.sent(frame, message.len());
            outbox.push(message);
        }
        Err(error) => unwritable(outbox, frame.op(), &error),
    }
}

/// A client that is not told something would wait for it, so the socket ends.
fn unwritable(outbox: &Outbox, op: &str, error: &CodecError) {
    tracing::error!(op, %error, "a frame could not be written");
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

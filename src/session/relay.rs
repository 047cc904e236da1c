//! Carries the events of one turn to every session that hears it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;

use super::gateway::Gateway;
use super::state::{Outgoing, Session, TurnPlace};
use crate::turn::{Cut, TurnEvent, TurnEvents, Turns};
use crate::wire::{Cid, ErrorCode, ErrorPayload, ServerFrame, TurnCancelled};

/// The turns that are being carried, by player and turn id. One id may name a turn with each of several NPCs.
#[derive(Debug, Default)]
pub struct Relays {
    by_turn: DashMap<(String, String), Vec<Arc<Relay>>>,
}

impl Relays {
    /// The turn that a client means by its id: the newest.
    pub fn find(&self, player: &str, turn: &str) -> Option<Arc<Relay>> {
        self.by_turn.view(&(player.to_owned(), turn.to_owned()), |_, relays| relays.last().cloned())?
    }

    /// Whether a turn's frames are still on their way: to its player it runs, even if it has ended.
    pub fn is_telling(&self, player: &str, npc: &str, turn: &str) -> bool {
        let telling = |relay: &Arc<Relay>| relay.npc == npc && !relay.told.load(Ordering::Acquire);
        let key = (player.to_owned(), turn.to_owned());
        self.by_turn.view(&key, |_, relays| relays.iter().any(telling)).unwrap_or(false)
    }

    /// Ends every turn as a cancel would; its clients hear how.
    pub fn hang_up(&self, turns: &Turns) {
        let running: Vec<_> = self.by_turn.iter().flat_map(|relays| relays.value().clone()).collect();
        for relay in running {
            turns.hang_up(&relay.speaker.player.name, &relay.npc, &relay.turn);
        }
    }

    fn add(&self, relay: &Arc<Relay>) {
        self.by_turn.entry(relay.key()).or_default().push(Arc::clone(relay));
    }

    fn remove(&self, relay: &Arc<Relay>) {
        self.by_turn.remove_if_mut(&relay.key(), |_, relays| {
            relays.retain(|other| !Arc::ptr_eq(other, relay));
            relays.is_empty()
        });
    }
}

/// Events of a turn that are sent together, if they are there.
const BATCH: usize = 64;

/// One turn on its way.
#[derive(Debug)]
pub struct Relay {
    speaker: Arc<Session>,
    npc: String,
    turn: String,
    /// All frames but `turn.done` were sent, and that is next: who has it may ask for it again.
    told: AtomicBool,
    cancels: Mutex<Cancels>,
}

/// The `cancel` frames of a turn that are still to be answered.
#[derive(Debug, Default)]
struct Cancels {
    /// Answered by the turn's `Cancelled`.
    waiting: Vec<Reply>,
    /// Came after the turn's end, but before everything of the turn was sent: answered after that.
    late: Vec<(Reply, Cut)>,
    /// Everything of the turn was sent.
    finished: bool,
}

/// Where an answer goes.
#[derive(Debug)]
struct Reply {
    session: Arc<Session>,
    cid: Option<Cid>,
}

impl Relay {
    /// Starts to carry a turn. The first frame to the speaker has `cid`.
    pub fn start(gateway: &Arc<Gateway>, say: Carried, place: TurnPlace, events: TurnEvents) {
        let Carried { speaker, npc, turn, audience, cid } = say;
        let relay =
            Arc::new(Self { speaker, npc, turn, told: AtomicBool::new(false), cancels: Mutex::default() });
        gateway.relays.add(&relay);
        let carried = Arc::clone(gateway);
        gateway.turn_tasks.spawn(async move {
            relay.carry(&carried, &audience, cid, events, place).await;
            carried.relays.remove(&relay);
            relay.finish(&carried);
        });
    }

    /// Notes a `cancel` before the turn hears of it, so that its answer cannot come too early.
    pub fn cancelling(&self, session: &Arc<Session>, cid: Option<Cid>) {
        self.cancels.lock().waiting.push(Reply { session: Arc::clone(session), cid });
    }

    /// The `cancel` that was noted last by this session will not be answered by the turn. With an `answer` it
    /// is answered once everything of the turn was sent.
    pub fn not_cancelling(&self, gateway: &Gateway, session: &Arc<Session>, answer: Option<Cut>) {
        let mut cancels = self.cancels.lock();
        let position = cancels.waiting.iter().rposition(|reply| Arc::ptr_eq(&reply.session, session));
        let Some(position) = position else { return };
        let reply = cancels.waiting.remove(position);
        let Some(answer) = answer else { return };
        if cancels.finished {
            drop(cancels);
            tell_cut(gateway, &reply.session, answer, reply.cid.as_ref());
        } else {
            cancels.late.push((reply, answer));
        }
    }

    fn key(&self) -> (String, String) {
        (self.speaker.player.name.clone(), self.turn.clone())
    }

    async fn carry(
        &self,
        gateway: &Gateway,
        audience: &[String],
        mut cid: Option<Cid>,
        mut events: TurnEvents,
        place: TurnPlace,
    ) {
        let mut place = Some(place);
        let mut listeners = Vec::new();
        let mut speaker_gone = false;
        let (mut batch, mut frames) = (Vec::new(), Vec::new());
        loop {
            let received = tokio::select! {
                biased;
                () = self.speaker.gone.cancelled(), if !speaker_gone => {
                    speaker_gone = true;
                    if listeners.is_empty() {
                        // Nobody hears it: dropping the channel ends the turn.
                        return;
                    }
                    // The others hear how it ends.
                    gateway.turns.hang_up(&self.speaker.player.name, &self.npc, &self.turn);
                    continue;
                }
                received = events.recv_many(&mut batch, BATCH) => received,
            };
            if received == 0 {
                drop(place);
                return;
            }
            for event in batch.drain(..) {
                match event {
                    TurnEvent::Started(started) => {
                        // Chosen once: who comes later has missed the beginning, and gets nothing.
                        listeners = gateway.sessions.hearing(audience, &self.npc, &self.speaker);
                        frames.push(Outgoing::Frame(ServerFrame::TurnStarted(*started)));
                    }
                    TurnEvent::Delta(piece) => frames.push(Outgoing::Delta(piece)),
                    TurnEvent::Face(key) => frames.push(Outgoing::Frame(ServerFrame::FaceKey(*key))),
                    TurnEvent::Social(social) => frames.push(Outgoing::Frame(ServerFrame::Social(*social))),
                    TurnEvent::Goal(goal) => frames.push(Outgoing::Frame(ServerFrame::Goal(*goal))),
                    TurnEvent::Emotion(emotion) => {
                        frames.push(Outgoing::Frame(ServerFrame::Emotion(*emotion)));
                    }
                    TurnEvent::Action(action) => {
                        frames.push(Outgoing::Frame(ServerFrame::ActionProposed(*action)));
                    }
                    TurnEvent::Error(error) => frames.push(Outgoing::Frame(ServerFrame::Error(*error))),
                    TurnEvent::Cancelled(cancelled) => {
                        self.send_all(&mut listeners, &mut frames, &mut cid);
                        self.send_cancelled(&listeners, *cancelled);
                    }
                    TurnEvent::Done(done) => {
                        self.send_all(&mut listeners, &mut frames, &mut cid);
                        // Given back first: a client may answer `turn.done` with its next line.
                        place = None;
                        self.told.store(true, Ordering::Release);
                        frames.push(Outgoing::Frame(ServerFrame::TurnDone(*done)));
                    }
                }
            }
            self.send_all(&mut listeners, &mut frames, &mut cid);
        }
    }

    /// Sends these frames. `cid` goes with the turn's first one to the speaker.
    fn send_all(&self, listeners: &mut Vec<Arc<Session>>, frames: &mut Vec<Outgoing>, cid: &mut Option<Cid>) {
        if frames.is_empty() {
            return;
        }
        let (player, turn) = (&self.speaker.player.name, &self.turn);
        self.speaker.send_all(player, turn, frames, cid.take().as_ref());
        // Who has left does not hear the rest, also not after coming back: there would be a hole in it.
        listeners.retain(|session| session.has_joined(&self.npc));
        for session in listeners {
            session.send_all(player, turn, frames, None);
        }
        frames.clear();
    }

    /// Every session that hears the turn gets the frame once, and every `cancel` its answer.
    fn send_cancelled(&self, listeners: &[Arc<Session>], cancelled: TurnCancelled) {
        let frame = ServerFrame::TurnCancelled(cancelled);
        let mut waiting = std::mem::take(&mut self.cancels.lock().waiting);
        let hearing = listeners.iter().filter(|session| session.has_joined(&self.npc));
        for session in std::iter::once(&self.speaker).chain(hearing) {
            let own = waiting.iter().position(|reply| Arc::ptr_eq(&reply.session, session));
            let cid = own.and_then(|position| waiting.remove(position).cid);
            session.send(&frame, cid.as_ref());
        }
        for reply in waiting {
            reply.session.send(&frame, reply.cid.as_ref());
        }
    }

    fn finish(&self, gateway: &Gateway) {
        let (late, unanswered) = {
            let mut cancels = self.cancels.lock();
            cancels.finished = true;
            (std::mem::take(&mut cancels.late), std::mem::take(&mut cancels.waiting))
        };
        // The turn ended with an error before it began, and there was nothing to cancel.
        for reply in unanswered {
            let message = format!("turn {:?} did not begin", self.turn);
            let error = ErrorPayload {
                turn: Some(self.turn.clone()),
                field: Some("turn".into()),
                ..ErrorPayload::new(ErrorCode::UnknownTurn, message)
            };
            reply.session.send(&ServerFrame::Error(error), reply.cid.as_ref());
        }
        for (reply, answer) in late {
            tell_cut(gateway, &reply.session, answer, reply.cid.as_ref());
        }
    }
}

/// A turn that had ended is cut: what is taken back, and the face's way to neutral, for who asked and for all who heard it.
pub(super) fn tell_cut(gateway: &Gateway, session: &Arc<Session>, cut: Cut, cid: Option<&Cid>) {
    let others = gateway.sessions.hearing(&cut.audience, &cut.npc, session);
    let cancelled = ServerFrame::TurnCancelled(cut.cancelled);
    let neutral = cut.neutral.map(ServerFrame::FaceKey);
    session.send(&cancelled, cid);
    for other in &others {
        other.send(&cancelled, None);
    }
    for session in std::iter::once(session).chain(&others) {
        if let Some(neutral) = &neutral {
            session.send(neutral, None);
        }
    }
}

/// What a relay has to know of a `say`.
#[derive(Debug)]
pub struct Carried {
    pub speaker: Arc<Session>,
    pub npc: String,
    pub turn: String,
    pub audience: Vec<String>,
    pub cid: Option<Cid>,
}

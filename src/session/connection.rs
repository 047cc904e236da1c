//! Takes the frames of one socket: the handshake first, then a session's.

use std::sync::Arc;

use tracing::{Instrument, Span, debug_span};

use super::gateway::Gateway;
use super::handle;
use super::outbox::Outbox;
use super::rate::Patience;
use super::record::From;
use super::renew::renew;
use super::state::{Session, send_unnumbered};
use super::world;
use crate::metrics::Limited;
use crate::wire::{
    Cid, ClientFrame, CloseCode, ErrorCode, ErrorPayload, HeartbeatAck, Identify, PROTOCOL, RawFrame, Resume,
    ResumeFailed, ServerFrame, Subprotocol,
};

/// The protocol's state of one socket.
#[derive(Debug)]
pub struct Connection {
    gateway: Arc<Gateway>,
    subprotocol: Subprotocol,
    outbox: Arc<Outbox>,
    /// `None` before `ready`.
    presence: Option<Presence>,
    patience: Patience,
}

/// What a frame did to the clocks of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The client showed that it lives: by `identify` or by a `heartbeat`.
    Alive,
    /// Nothing.
    Still,
}

impl Connection {
    pub fn new(gateway: Arc<Gateway>, subprotocol: Subprotocol, outbox: Arc<Outbox>) -> Self {
        let patience = Patience::new(&gateway.config.session);
        Self { gateway, subprotocol, outbox, presence: None, patience }
    }

    /// Sends `hello`.
    pub fn greet(&self) {
        self.send_unnumbered(&ServerFrame::Hello(self.gateway.hello()), None);
    }

    /// The session, once there is one.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.presence.as_ref().map(|presence| &presence.session)
    }

    /// The socket is at its end, and with `over` the session too.
    pub fn leave(mut self, over: bool) {
        if let Some(presence) = &mut self.presence {
            presence.ends = over;
        }
    }

    /// Takes one message of the socket's kind. What comes behind it waits until it is done.
    ///
    /// # Errors
    /// The code to close the socket with.
    pub async fn take(&mut self, message: &[u8]) -> Result<Beat, CloseCode> {
        let frame = RawFrame::decode(self.subprotocol, message).map_err(|error| {
            tracing::debug!(%error, "not a frame");
            self.gateway.metrics.received(None, message.len());
            CloseCode::BadFrame
        })?;
        self.gateway.metrics.received(Some(frame.op()), message.len());
        if let Some(presence) = &mut self.presence {
            presence.heard();
        }
        let session = self.session().cloned();
        if session.is_none() && !matches!(frame.op(), "identify" | "resume") {
            return Err(CloseCode::BadFrame);
        }
        let cid = match frame.cid() {
            Ok(cid) => cid,
            Err(error) => {
                self.refuse(*error, None);
                return Ok(Beat::Still);
            }
        };
        if let Err(error) = self.count(session.as_deref())? {
            self.refuse(*error, cid.as_ref());
            return Ok(Beat::Still);
        }
        let op = frame.op();
        match (frame.parse(&self.gateway.frame_limits()), session) {
            (Err(error), session) => {
                if let Some(session) = session {
                    session.note(From::Client, message);
                }
                self.refuse(*error, cid.as_ref());
                Ok(Beat::Still)
            }
            (Ok(ClientFrame::Auth(auth)), Some(session)) => {
                match renew(&self.gateway.auth, &session, &auth)? {
                    Ok(authed) => session.send(&ServerFrame::Authed(authed), cid.as_ref()),
                    Err(error) => self.refuse(*error, cid.as_ref()),
                }
                Ok(Beat::Still)
            }
            (Ok(mut frame), Some(session)) => {
                session.note_client(&mut frame, cid.as_ref());
                let span = self.span_of(op, &frame, &session);
                Ok(self.take_as(&session, frame, cid.as_ref()).instrument(span).await)
            }
            (Ok(frame), None) => self.shake_hands(frame, cid.as_ref()),
        }
    }

    /// Counts a frame against the limits. Inside: the answer to one past the player's rate.
    fn count(&mut self, session: Option<&Session>) -> Result<Result<(), Box<ErrorPayload>>, CloseCode> {
        let counted = match session {
            Some(session) => self.gateway.rates.frame(&session.player.name),
            None => Ok(()),
        };
        if counted.is_err() {
            self.gateway.metrics.rate_limited.of(Limited::Frames).inc();
        }
        if (session.is_none() || counted.is_err()) && !self.patience.bears() {
            return Err(CloseCode::RateLimited);
        }
        Ok(counted)
    }

    /// A frame before `ready`.
    fn shake_hands(&mut self, frame: ClientFrame, cid: Option<&Cid>) -> Result<Beat, CloseCode> {
        match frame {
            ClientFrame::Identify(identify) => self.identify(&identify, cid),
            ClientFrame::Resume(resume) => Ok(self.resume(&resume, cid)),
            _ => Err(CloseCode::BadFrame),
        }
    }

    fn identify(&mut self, identify: &Identify, cid: Option<&Cid>) -> Result<Beat, CloseCode> {
        if identify.protocol.is_some_and(|version| version != PROTOCOL) {
            return Err(CloseCode::UnsupportedProtocol);
        }
        let gateway = &self.gateway;
        let grant = gateway.auth.admit(&identify.token)?;
        if !gateway.rates.has_room() {
            return Err(CloseCode::SessionLimit);
        }
        let session = gateway.begin(&grant, self.subprotocol, &self.outbox)?;
        self.presence = Some(Presence::new(gateway, &session, &self.outbox));
        tracing::debug!(
            session = session.name(),
            client = identify.client.name,
            version = identify.client.version,
            "session started"
        );
        session.send(&ServerFrame::Ready(gateway.ready(&session)), cid);
        Ok(Beat::Alive)
    }

    /// Takes a session up. Failing neither closes the socket nor buys it time.
    fn resume(&mut self, resume: &Resume, cid: Option<&Cid>) -> Beat {
        match self.gateway.resume(resume, self.subprotocol, &self.outbox, cid) {
            Ok(session) => {
                tracing::debug!(session = session.name(), seq = resume.seq, "session resumed");
                self.presence = Some(Presence::new(&self.gateway, &session, &self.outbox));
                Beat::Alive
            }
            Err(reason) => {
                tracing::debug!(?reason, "a session was not resumed");
                self.gateway.metrics.resume_failures.of(reason).inc();
                let failed = ResumeFailed { reason, recovered: false };
                self.send_unnumbered(&ServerFrame::ResumeFailed(failed), cid);
                Beat::Still
            }
        }
    }

    /// What comes of a frame is in its span, and a trace of its own: that of the session, which may last for days, is
    /// linked to it. Heartbeats have none: nothing comes of them.
    fn span_of(&self, op: &str, frame: &ClientFrame, session: &Session) -> Span {
        if matches!(frame, ClientFrame::Heartbeat(_)) {
            return Span::none();
        }
        let span = debug_span!(parent: None, "frame", op, session = session.name());
        if let Some(presence) = &self.presence {
            span.follows_from(&presence.span);
        }
        span
    }

    /// A frame of a session.
    async fn take_as(&self, session: &Arc<Session>, frame: ClientFrame, cid: Option<&Cid>) -> Beat {
        let gateway = &self.gateway;
        let done = match frame {
            ClientFrame::Heartbeat(heartbeat) => {
                session.acknowledge(heartbeat.seq);
                let ack = HeartbeatAck { seq: heartbeat.seq };
                self.send_unnumbered(&ServerFrame::HeartbeatAck(ack), cid);
                return Beat::Alive;
            }
            ClientFrame::NpcJoin(join) => handle::join(gateway, session, join, cid).await,
            ClientFrame::NpcFocus(focus) => handle::focus(gateway, session, focus, cid),
            ClientFrame::NpcLeave(leave) => handle::leave(gateway, session, leave, cid),
            ClientFrame::Say(say) => handle::say(gateway, session, *say, cid),
            ClientFrame::Cancel(cancel) => handle::cancel(gateway, session, &cancel, cid),
            ClientFrame::Playback(playback) => handle::playback(gateway, session, &playback),
            // Taken before it comes here.
            ClientFrame::Auth(_) => Ok(()),
            ClientFrame::Event(event) => world::event(gateway, session, event, cid),
            ClientFrame::ActionResult(result) => world::action_result(gateway, session, result, cid),
            ClientFrame::NpcAct(act) => world::act(gateway, session, act, cid),
            // The session goes on as it is: a second handshake is a slip, not an attack.
            ClientFrame::Identify(_) | ClientFrame::Resume(_) => Err(Box::new(ErrorPayload::new(
                ErrorCode::BadPayload,
                "this socket has a session already; open another one for another session",
            ))),
        };
        if let Err(error) = done {
            self.refuse(*error, cid);
        }
        Beat::Still
    }

    /// Sends an `error`; before `ready` it has no `s`.
    fn refuse(&self, error: ErrorPayload, cid: Option<&Cid>) {
        let frame = ServerFrame::Error(error);
        match self.session() {
            Some(session) => session.send(&frame, cid),
            None => self.send_unnumbered(&frame, cid),
        }
    }

    fn send_unnumbered(&self, frame: &ServerFrame, cid: Option<&Cid>) {
        send_unnumbered(&self.gateway.metrics, &self.outbox, self.subprotocol, frame, cid);
    }
}

/// The hold of a socket on its session. Dropped, whatever ended the socket, it leaves the session waiting for its
/// client, or ends it.
#[derive(Debug)]
struct Presence {
    gateway: Arc<Gateway>,
    session: Arc<Session>,
    outbox: Arc<Outbox>,
    /// A frame has come since the session is on this socket.
    heard: bool,
    /// The session ends with the socket.
    ends: bool,
    /// As long as the socket has the session.
    span: Span,
}

impl Presence {
    fn new(gateway: &Arc<Gateway>, session: &Arc<Session>, outbox: &Arc<Outbox>) -> Self {
        let (gateway, session, outbox) = (Arc::clone(gateway), Arc::clone(session), Arc::clone(outbox));
        let span = debug_span!(parent: None, "session", session = session.name());
        Self { gateway, session, outbox, heard: false, ends: false, span }
    }

    fn heard(&mut self) {
        if !self.heard {
            self.heard = true;
            self.session.confirm(&self.outbox);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.ends {
            self.gateway.end(&self.session, &self.outbox);
        } else {
            self.gateway.lose(&self.session, &self.outbox);
        }
    }
}

//! How sessions begin, lose their socket, come back, and end.
//!
//! A session whose socket is gone waits `session.resume_window_ms`; its turns go on into its replay buffer. Whatever
//! ends it goes through [`Gateway::bury`], once: [`Session`] decides under its lock who ends it, or whether a client
//! that comes back was quicker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::sleep;
use uuid::Uuid;

use super::auth::Grant;
use super::gateway::Gateway;
use super::outbox::Outbox;
use super::state::Session;
use crate::metrics::SessionEnd;
use crate::wire::{Cid, CloseCode, Ready, Resume, ResumeFailReason, Subprotocol};

impl Gateway {
    /// Begins a session of a token's player on a socket. If there are as many as there may be, one of the same player that
    /// has lost its socket gives way, the longest lost first: a client that crashed must not lock itself out.
    pub(super) fn begin(
        &self,
        grant: &Grant,
        subprotocol: Subprotocol,
        outbox: &Arc<Outbox>,
    ) -> Result<Arc<Session>, CloseCode> {
        if self.is_draining() {
            return Err(CloseCode::Draining);
        }
        let shares = Arc::clone(&self.shares);
        let session = Session::new(
            grant.player.clone(),
            subprotocol,
            Arc::clone(outbox),
            shares,
            self.recorder.as_ref(),
            Arc::clone(&self.metrics),
        );
        session.pass.renew(grant);
        match self.sessions.add(&session) {
            Ok(None) => {}
            Ok(Some(gave_way)) => self.bury_lost(&gave_way, SessionEnd::GaveWay),
            Err(_) => return Err(CloseCode::SessionLimit),
        }
        self.metrics.started.inc();
        Ok(session)
    }

    /// The answer to `identify`.
    pub(super) fn ready(&self, session: &Session) -> Ready {
        Ready {
            session: session.name(),
            resume_token: session.resume_token(),
            epoch: self.epoch.clone(),
            player: session.player.name.clone(),
            scopes: session.player.scopes.clone(),
            resume_window_ms: self.config.session.resume_window_ms,
            limits: self.ready_limits(),
        }
    }

    /// Moves a session to a socket. On success everything is sent, `resumed` too.
    pub(super) fn resume(
        &self,
        resume: &Resume,
        subprotocol: Subprotocol,
        outbox: &Arc<Outbox>,
        cid: Option<&Cid>,
    ) -> Result<Arc<Session>, ResumeFailReason> {
        if resume.epoch != self.epoch {
            return Err(ResumeFailReason::EpochChanged);
        }
        let id = Uuid::try_parse(&resume.session).map_err(|_| ResumeFailReason::UnknownSession)?;
        let Some(session) = self.sessions.find(id) else {
            return Err(self.ended.reason(id, &resume.resume_token));
        };
        if session.resume(resume, subprotocol, outbox, cid)? {
            self.lost.fetch_sub(1, Ordering::AcqRel);
        }
        self.metrics.resumed.inc();
        Ok(session)
    }

    /// The socket of a session is gone. The session waits for its client, unless the window is 0 or the server goes
    /// down. Nothing happens if the session has another socket by now.
    pub(super) fn lose(self: &Arc<Self>, session: &Arc<Session>, outbox: &Arc<Outbox>) {
        let window = Duration::from_millis(self.config.session.resume_window_ms);
        // Without a runtime the process is ending.
        let runtime =
            Handle::try_current().ok().filter(|_| !window.is_zero() && !self.closing.is_cancelled());
        let Some(runtime) = runtime else {
            return self.end(session, outbox);
        };
        let since = Instant::now();
        let (gateway, waits) = (Arc::clone(self), Arc::clone(session));
        let expiry = async move {
            sleep(window).await;
            gateway.expire(&waits, since);
        };
        // Counted first: whoever takes it off the count must find it there.
        self.lost.fetch_add(1, Ordering::AcqRel);
        if session.lose(outbox, since, || runtime.spawn(expiry).abort_handle()) {
            self.metrics.lost.inc();
        } else {
            self.lost.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The session ends with its socket. Nothing happens if it has another one by now.
    pub(super) fn end(&self, session: &Arc<Session>, outbox: &Arc<Outbox>) {
        if session.end_on(outbox) {
            self.bury(session, SessionEnd::Socket);
        }
    }

    /// Nobody came back since then, if so.
    fn expire(&self, session: &Arc<Session>, since: Instant) {
        if session.end_lost(since) {
            tracing::debug!(session = session.name(), "nobody came back");
            self.bury_lost(session, SessionEnd::Expired);
        }
    }

    /// Ends every session that has lost its socket.
    pub(super) fn expire_all(&self) {
        for session in self.sessions.all() {
            if let Some(since) = session.lost_since() {
                self.expire(&session, since);
            }
        }
    }

    /// Ends every session of a player, and closes their sockets. Their turns are cancelled.
    pub(super) fn end_all_of(&self, player: &str, code: CloseCode) {
        for session in self.sessions.of(player) {
            match session.end_now(code) {
                Some(true) => {
                    self.lost.fetch_sub(1, Ordering::AcqRel);
                    self.bury(&session, SessionEnd::Erased);
                }
                Some(false) => self.bury(&session, SessionEnd::Erased),
                // Whoever ended it buries it.
                None => {}
            }
        }
    }

    /// A session that had no socket is over.
    fn bury_lost(&self, session: &Arc<Session>, cause: SessionEnd) {
        self.lost.fetch_sub(1, Ordering::AcqRel);
        // Before it is taken out, so that it is found in one of both places.
        self.ended.remember(session.id, session.keys());
        self.bury(session, cause);
    }

    /// A session is over: its turns are cancelled, its NPCs left, its place is free.
    fn bury(&self, session: &Arc<Session>, cause: SessionEnd) {
        self.metrics.ended.of(cause).inc();
        session.gone.cancel();
        for npc in session.take_joined() {
            self.npcs.leave(&npc);
        }
        self.sessions.remove(session);
    }
}

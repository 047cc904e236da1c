//! Sessions, sockets and frames.

use std::fmt;

use super::bounds;
use super::by::By;
use super::close::SocketClose;
use super::history::Done;
use super::kinds::{Counter, Histogram};
use super::labels::{Label, label};
use super::page::Page;
use crate::wire::{CLIENT_OPS, ErrorCode, ResumeFailReason, SERVER_OPS, ServerFrame};

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// With its socket.
    Socket,
    /// Nobody came back.
    Expired,
    /// For another one of the same player.
    GaveWay,
    /// With the player's data.
    Erased,
}

label!(SessionEnd, "cause" {
    Socket = "socket",
    Expired = "expired",
    GaveWay = "gave_way",
    Erased = "erased",
});

/// Why a request for a socket was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    NoUpgrade,
    BadSubprotocol,
    Full,
}

label!(Upgrade, "cause" {
    NoUpgrade = "no_upgrade",
    BadSubprotocol = "bad_subprotocol",
    Full = "full",
});

/// What a player sent too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    Frames,
    Turns,
}

label!(Limited, "limit" { Frames = "frames", Turns = "turns" });

/// Frames by `op`.
#[derive(Debug)]
struct Ops<const N: usize> {
    names: [&'static str; N],
    counts: [Counter; N],
    other: Counter,
}

impl<const N: usize> Ops<N> {
    fn new(names: [&'static str; N]) -> Self {
        Self { names, counts: std::array::from_fn(|_| Counter::default()), other: Counter::default() }
    }

    fn of(&self, op: &str) -> &Counter {
        self.names.iter().position(|name| *name == op).map_or(&self.other, |at| &self.counts[at])
    }

    fn series(&self) -> impl Iterator<Item = (Vec<(&'static str, &'static str)>, u64)> {
        self.names.iter().zip(&self.counts).map(|(name, count)| (vec![("op", *name)], count.get()))
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct SessionMetrics {
    pub started: Counter,
    pub ended: By<SessionEnd>,
    pub lost: Counter,
    pub resumed: Counter,
    pub resume_failures: By<ResumeFailReason>,
    pub upgrades_refused: By<Upgrade>,
    pub closes: By<SocketClose>,
    received: Ops<{ CLIENT_OPS.len() }>,
    sent: Ops<{ SERVER_OPS.len() }>,
    received_bytes: Counter,
    sent_bytes: Counter,
    errors: By<ErrorCode>,
    pub rate_limited: By<Limited>,
    pub erasures: By<Done>,
    pub erasure: Histogram,
}

impl Default for SessionMetrics {
    fn default() -> Self {
        Self {
            started: Counter::default(),
            ended: By::default(),
            lost: Counter::default(),
            resumed: Counter::default(),
            resume_failures: By::default(),
            upgrades_refused: By::default(),
            closes: By::default(),
            received: Ops::new(CLIENT_OPS),
            sent: Ops::new(SERVER_OPS),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            errors: By::default(),
            rate_limited: By::default(),
            erasures: By::default(),
            erasure: Histogram::new(bounds::TURN),
        }
    }
}

impl SessionMetrics {
    /// A message came; `None`: it is no frame.
    pub fn received(&self, op: Option<&str>, bytes: usize) {
        op.map_or(&self.received.other, |op| self.received.of(op)).inc();
        self.received_bytes.add(bytes as u64);
    }

    /// A frame of so many bytes goes to a session.
    pub fn sent(&self, frame: &ServerFrame, bytes: usize) {
        self.sent.of(frame.op()).inc();
        self.sent_bytes(bytes);
        if let ServerFrame::Error(error) = frame {
            self.errors.of(error.code).inc();
        }
    }

    /// A `dialogue.delta` does, whose bytes are counted with others.
    pub fn sent_delta(&self) {
        self.sent.of("dialogue.delta").inc();
    }

    /// So many bytes of frames do.
    pub fn sent_bytes(&self, bytes: usize) {
        self.sent_bytes.add(bytes as u64);
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Of the page's writer.
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter("sessions_started", "Sessions that began", &self.started)?;
        page.by("sessions_ended", "Sessions that ended", &self.ended)?;
        page.counter("sessions_lost", "Sessions that lost their socket", &self.lost)?;
        page.counter("sessions_resumed", "Sessions that a client took up again", &self.resumed)?;
        page.by("resume_failures", "What resume_failed told", &self.resume_failures)?;
        page.by("upgrades_refused", "Requests for a socket that were refused", &self.upgrades_refused)?;
        let closes = self.closes.each().map(|(close, count)| {
            (vec![("code", close.code()), (SocketClose::NAME, close.value())], count.get())
        });
        page.counts("socket_closes", "Sockets that ended, by close code", closes)?;
        let other = (vec![("op", "other")], self.received.other.get());
        page.counts("frames_received", "Frames from clients", self.received.series().chain([other]))?;
        page.counts("frames_sent", "Frames to sessions", self.sent.series())?;
        page.counter("received_bytes", "Bytes of frames from clients", &self.received_bytes)?;
        page.counter("sent_bytes", "Bytes of frames to clients", &self.sent_bytes)?;
        page.by("errors", "Error frames", &self.errors)?;
        page.by("rate_limited", "Frames and lines past a player's rate", &self.rate_limited)?;
        page.by("erasures", "Players that were erased", &self.erasures)?;
        page.histogram("erasure_seconds", "Time that erasing a player took", &self.erasure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ErrorPayload;

    #[test]
    fn frames_are_counted_by_their_op() {
        let metrics = SessionMetrics::default();
        metrics.received(Some("say"), 10);
        metrics.received(Some("no.such"), 5);
        metrics.received(None, 1);
        let error = ErrorPayload::new(ErrorCode::Forbidden, "no");
        metrics.sent(&ServerFrame::Error(error), 7);
        metrics.sent_delta();
        let counted = |ops: &mut dyn Iterator<Item = (Vec<(&'static str, &'static str)>, u64)>| {
            ops.filter(|(_, count)| *count > 0)
                .map(|(labels, count)| (labels[0].1, count))
                .collect::<Vec<_>>()
        };
        assert_eq!(counted(&mut metrics.received.series()), [("say", 1)]);
        assert_eq!(counted(&mut metrics.sent.series()), [("dialogue.delta", 1), ("error", 1)]);
        assert_eq!((metrics.errors.of(ErrorCode::Forbidden).get(), metrics.sent_bytes.get()), (1, 7));
        assert_eq!((metrics.received.other.get(), metrics.received_bytes.get()), (2, 16));
    }
}

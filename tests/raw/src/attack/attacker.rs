//! One attacker: one socket after the other.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::corpus::damage;
use super::faults::deserving;
use super::socket::Socket;
use super::upgrades::{self, Deserved};
use super::{Plan, Tally};
use crate::encoding::{Encoding, identify};
use crate::frame::{Frame, Opcode};
use crate::peer::{Chop, PATIENCE, Peer};
use crate::rng::Rng;

/// What a damaged frame may be closed with, besides not at all. `auth` and `identify` with a damaged token are
/// `unauthenticated`, with a damaged version of the protocol `unsupported_protocol`.
const DAMAGED: &[u16] = &[4500, 4501, 4502];
const DAMAGED_TEXT: &[u16] = &[1007, 4500, 4501, 4502];

const IDENTIFY_TIMEOUT: u16 = 4506;

/// How long an attacker waits when there is no room for its session, or no socket for it.
const NO_ROOM: Duration = Duration::from_millis(20);

/// What an attack deserves.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    /// To be closed with this code.
    Closed(u16),
    /// To be answered or passed over, or to be closed with one of these codes.
    Open(&'static [u16]),
}

pub(super) struct Attacker<'p> {
    plan: &'p Plan,
    rng: Rng,
    /// Tells this attacker's players and pings from others'.
    name: String,
    count: u64,
    socket: Option<Socket>,
    tally: Tally,
}

impl<'p> Attacker<'p> {
    pub(super) fn new(plan: &'p Plan, index: u64) -> Self {
        // Seeds that are neighbours give numbers that are not.
        let rng = Rng::new(Rng::new(plan.seed.wrapping_add(index)).number());
        Self { plan, rng, name: format!("evil-{index}"), count: 0, socket: None, tally: Tally::default() }
    }

    pub(super) fn attack(mut self, frames: u64, sent: &AtomicU64) -> Tally {
        while self.tally.sent < frames {
            let before = self.tally.sent;
            let done = match self.rng.below(1000) {
                0..40 => self.ask_http(),
                40..80 => self.vanish(),
                80..240 => self.deserve(),
                240 => self.flood(),
                _ => self.talk(),
            };
            if let Err(error) = done {
                self.socket = None;
                self.tally.wrong(format!("{}: {error}", self.name));
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    // The server is gone; there is nothing left to attack.
                    break;
                }
            }
            sent.fetch_add(self.tally.sent - before, Ordering::Relaxed);
        }
        self.tally
    }

    fn note(&mut self, kind: &'static str) {
        self.tally.sent += 1;
        *self.tally.kinds.entry(kind).or_default() += 1;
    }

    /// The socket, opened if there is none: most with a session, some without.
    fn socket(&mut self) -> io::Result<&mut Socket> {
        if self.socket.is_none() {
            let encoding = *self.rng.pick(&Encoding::BOTH);
            let (mut peer, identified) = (self.connect(encoding)?, !self.rng.once_in(8));
            peer.expect("hello")?;
            let mut socket = Socket { peer, identified: false, last_s: 0 };
            if identified {
                self.count += 1;
                socket.peer.say(&identify(&format!("{}-{}", self.name, self.count)))?;
                socket.peer.expect("ready")?;
                (socket.identified, socket.last_s) = (true, 1);
            }
            self.socket = Some(socket);
        }
        // It was put there right above.
        self.socket.as_mut().ok_or_else(|| io::Error::other("no socket"))
    }

    fn connect(&mut self, encoding: Encoding) -> io::Result<Peer> {
        self.tally.connections += 1;
        let start = Instant::now();
        loop {
            match Peer::connect(self.plan.address, encoding) {
                // This machine has no port left for a moment: old connections hold them.
                Err(error)
                    if error.kind() == io::ErrorKind::AddrNotAvailable && start.elapsed() < PATIENCE =>
                {
                    thread::sleep(NO_ROOM);
                }
                done => return done,
            }
        }
    }

    /// A request that is no upgrade.
    fn ask_http(&mut self) -> io::Result<()> {
        let host = self.plan.address.to_string();
        let (kind, bytes, deserved) = upgrades::request(&host, &mut self.rng);
        self.note(kind);
        self.tally.connections += 1;
        let mut peer = Peer::dial(self.plan.address, Encoding::Json)?;
        let written = peer.write(&bytes);
        match deserved {
            Deserved::Status(allowed) => {
                written?;
                let answer = peer.answer()?;
                let status = answer.map_or(0, |answer| answer.status);
                *self.tally.statuses.entry(status).or_default() += 1;
                if !allowed.contains(&status) {
                    self.tally.wrong(format!("{kind}: HTTP {status}, not {allowed:?}"));
                }
            }
            Deserved::Anything => {
                // Half of them wait a little before they give up, and are many meanwhile.
                if self.rng.once_in(4) {
                    thread::sleep(Duration::from_millis(self.rng.number() % 50));
                }
                peer.finish();
                // An error is an answer too: a reset, or what is no HTTP.
                if let Ok(Some(answer)) = peer.answer() {
                    *self.tally.statuses.entry(answer.status).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// A connection that ends in the middle of something.
    fn vanish(&mut self) -> io::Result<()> {
        let encoding = self.socket()?.peer.encoding;
        let corpus = &self.plan.corpus;
        let (kind, bytes) = match self.rng.below(3) {
            0 => {
                let mut bytes =
                    Frame::new(encoding.opcode(), corpus.bytes(encoding, &mut self.rng)).bytes([1, 2, 3, 4]);
                bytes.truncate(self.rng.below(bytes.len()));
                ("a frame that is cut off", bytes)
            }
            1 => {
                let piece = corpus.bytes(encoding, &mut self.rng);
                (
                    "a message that is cut off",
                    Frame::new(encoding.opcode(), piece).unfinished().bytes([1, 2, 3, 4]),
                )
            }
            _ => {
                let length = 1 + self.rng.below(200);
                ("bytes that are no frames", self.rng.bytes(length))
            }
        };
        self.note(kind);
        let Some(Socket { mut peer, .. }) = self.socket.take() else { return Ok(()) };
        peer.write(&bytes)?;
        if self.rng.once_in(2) {
            // Gone at once, with what was not read yet.
            return Ok(());
        }
        peer.finish();
        loop {
            match peer.receive() {
                Ok(Some(frame)) if frame.opcode == Opcode::CLOSE => {
                    *self.tally.closes.entry(frame.close_code()).or_default() += 1;
                }
                Ok(Some(_)) => {}
                // The server has noticed, and that is all that is asked of it.
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Something that can only be answered in one way.
    fn deserve(&mut self) -> io::Result<()> {
        let plan = self.plan;
        let socket = self.socket()?;
        let (encoding, identified) = (socket.peer.encoding, socket.identified);
        let (kind, bytes, code) = deserving(plan, encoding, identified, &mut self.rng);
        self.note(kind);
        if bytes.is_empty() {
            let length = plan.max_frame_bytes as u64 + 1 + self.rng.number() % (1 << self.rng.below(62));
            let head = Frame::new(encoding.opcode(), []).head(length, [1, 2, 3, 4]);
            self.socket()?.peer.write(&head)?;
        } else {
            let chop = if self.rng.once_in(8) { Chop::Octets(1 + self.rng.below(40)) } else { Chop::None };
            // The server may have closed before it has read everything.
            let _ = self.socket()?.peer.send(&bytes, chop);
        }
        self.listen(kind, Verdict::Closed(code))
    }

    /// A few good and slightly wrong frames, then perhaps a damaged one.
    fn talk(&mut self) -> io::Result<()> {
        let plan = self.plan;
        let (encoding, identified) = {
            let socket = self.socket()?;
            (socket.peer.encoding, socket.identified)
        };
        let mut frames = Vec::new();
        if identified {
            for _ in 0..self.rng.below(12) {
                let frame = if self.rng.once_in(2) {
                    self.note("a good frame");
                    plan.corpus.pick(&mut self.rng)
                } else {
                    self.note("a frame with another value");
                    plan.corpus.twisted(&mut self.rng)
                };
                frames.push(encoding.frame(&frame));
            }
        }
        match self.rng.below(12) {
            0..2 => {
                let mut bytes = plan.corpus.bytes(encoding, &mut self.rng);
                damage(&mut bytes, &mut self.rng);
                self.note("a damaged frame");
                frames.push(Frame::new(encoding.opcode(), bytes));
            }
            2 => {
                let length = self.rng.below(300);
                self.note("random bytes");
                frames.push(Frame::new(encoding.opcode(), self.rng.bytes(length)));
            }
            3 => {
                self.note("a wrong mask");
                // What was masked with one key is read with another one.
                let key = self.rng.byte() | 1;
                let good = plan.corpus.bytes(encoding, &mut self.rng);
                frames.push(Frame::new(
                    encoding.opcode(),
                    good.iter().map(|byte| byte ^ key).collect::<Vec<_>>(),
                ));
            }
            _ if !identified => {
                let twisted = json!({"op": self.rng.pick(&["identify", "resume"]), "d": plan.corpus.twisted(&mut self.rng)});
                self.note("a damaged handshake");
                frames.push(encoding.frame(&twisted));
            }
            _ => {}
        }
        // The same messages in other pieces.
        if self.rng.once_in(4) {
            let size = 1 + self.rng.below(200);
            frames = frames
                .into_iter()
                .flat_map(|frame| Frame::fragments(frame.opcode, &frame.payload, size))
                .collect();
        }
        let chop = if self.rng.once_in(8) { Chop::Octets(1 + self.rng.below(300)) } else { Chop::None };
        // The server may have closed before it has read everything.
        let _ = self.socket()?.peer.send(&frames, chop);
        let codes = if encoding == Encoding::Json { DAMAGED_TEXT } else { DAMAGED };
        self.listen("frames", Verdict::Open(codes))
    }

    /// Pings whose pongs are not read until the end.
    fn flood(&mut self) -> io::Result<()> {
        let count = 200 + self.rng.below(800);
        for _ in 0..count {
            self.note("a ping in a flood");
        }
        let pings = vec![Frame::ping([0xfe; 125]); count];
        let _ = self.socket()?.peer.send(&pings, Chop::None);
        self.listen("a flood of pings", Verdict::Open(&[]))
    }

    /// Reads until the server has closed, or has answered everything.
    fn listen(&mut self, kind: &str, deserved: Verdict) -> io::Result<()> {
        self.count += 1;
        let (mark, open) = (format!("{}", self.count), matches!(deserved, Verdict::Open(_)));
        let Some(mut socket) = self.socket.take() else { return Ok(()) };
        if open {
            let _ = socket.peer.send(&[Frame::ping(mark.as_bytes())], Chop::None);
        }
        loop {
            let frame = socket
                .peer
                .receive()
                .map_err(|error| io::Error::new(error.kind(), format!("{kind}: {error}")))?;
            let Some(frame) = frame else {
                return Err(io::Error::other(format!("{kind}: the server ended without a word")));
            };
            match frame.opcode {
                Opcode::CLOSE => {
                    let code = frame.close_code();
                    *self.tally.closes.entry(code).or_default() += 1;
                    // The clock may come first for a socket without a session.
                    let late = code == IDENTIFY_TIMEOUT && !socket.identified;
                    let fine = late
                        || match deserved {
                            Verdict::Closed(deserved) => code == deserved,
                            Verdict::Open(allowed) => allowed.contains(&code),
                        };
                    if !fine {
                        self.tally.wrong(format!("{kind}: closed with {code}, not {deserved:?}"));
                    }
                    let _ = socket.peer.send(&[Frame::close(code, b"")], Chop::None);
                    return match socket.peer.receive() {
                        Ok(None) => Ok(()),
                        other => Err(io::Error::other(format!("{kind}: after the close frame: {other:?}"))),
                    };
                }
                Opcode::PONG if open && frame.payload == mark.as_bytes() => {
                    self.socket = Some(socket);
                    return Ok(());
                }
                Opcode::PONG => {}
                _ => {
                    let said = socket.peer.encoding.decode(&frame);
                    if let Err(why) = socket.heard(said.as_ref()) {
                        return Err(io::Error::other(format!("{kind}: {why}")));
                    }
                }
            }
        }
    }
}

//! What a case is, and how it is run.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use npc_raw::encoding::heartbeat;
use npc_raw::{Chop, Encoding, Frame, Opcode, Peer};
use tokio::runtime::Runtime;

use crate::server::TestServer;

/// What the large server takes and holds for a client: as much as may be set for the former.
const LARGE: [&str; 2] = ["session.max_frame_bytes=16777216", "session.send_queue_bytes=67108864"];

/// The suite's own payloads.
pub const HELLO: &str = "Hello, world!";

/// One case of the suite.
#[derive(Debug)]
pub struct Case {
    pub number: String,
    pub what: String,
    /// The ways in which it is tried, each on a connection of its own.
    pub runs: Vec<Run>,
}

/// One way to try a case.
#[derive(Debug)]
pub struct Run {
    /// What is special about it, for the message when it fails.
    pub how: String,
    pub server: Which,
    pub encoding: Encoding,
    pub steps: Vec<Step>,
}

/// Which server it is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// As it comes: messages of up to 65,536 bytes.
    Default,
    /// Messages of up to 16 MiB.
    Large,
}

/// After the last step the client closes, and the server is to agree and to end the connection, unless the last
/// step was [`Step::Closed`].
#[derive(Debug, Clone)]
pub enum Step {
    Send(Chop, Vec<Frame>),
    /// Bytes that are not whole frames.
    Write(Vec<u8>),
    /// The same as `Send`, but the server may close before everything is sent.
    SendAnyway(Chop, Vec<Frame>),
    /// The server sends this `cid` back.
    Echo(String),
    /// The server answers a ping.
    Pong(Vec<u8>),
    /// The server has sent nothing else: the answer to a new ping is the next that comes.
    Quiet,
    /// The server closes with this code (1005: with none), answers nothing more, and ends the connection.
    Closed(u16),
    /// The same; answers to what was sent before may or may not come first.
    ClosedAfterAll(u16),
}

impl Case {
    pub fn new(number: impl Into<String>, what: impl Into<String>, runs: Vec<Run>) -> Self {
        Self { number: number.into(), what: what.into(), runs }
    }
}

/// A case that is tried in one way, with JSON on the server as it comes.
pub fn json(number: &str, what: &str, steps: Vec<Step>) -> Case {
    Case::new(number, what, vec![run(Encoding::Json, steps)])
}

/// The same with MessagePack.
pub fn msgpack(number: &str, what: &str, steps: Vec<Step>) -> Case {
    Case::new(number, what, vec![run(Encoding::Msgpack, steps)])
}

pub fn run(encoding: Encoding, steps: Vec<Step>) -> Run {
    Run { how: String::new(), server: Which::Default, encoding, steps }
}

/// Sends frames at once.
pub fn send(frames: impl Into<Vec<Frame>>) -> Step {
    Step::Send(Chop::None, frames.into())
}

pub fn echo(cid: &str) -> Step {
    Step::Echo(cid.to_owned())
}

pub fn pong(payload: impl Into<Vec<u8>>) -> Step {
    Step::Pong(payload.into())
}

/// A message in JSON whose `cid` comes back.
pub fn text(cid: &str) -> Frame {
    Encoding::Json.frame(&heartbeat(cid))
}

/// A message in two frames, cut inside its `cid`.
pub fn halves(cid: &str) -> [Frame; 2] {
    let message = Encoding::Json.encode(&heartbeat(cid));
    let (first, second) = message.split_at(message.len() / 2);
    [Frame::text(first).unfinished(), Frame::continuation(second)]
}

/// A message of exactly `size` bytes, and its `cid`. A binary one holds bytes that no UTF-8 has, and a `cid` of which
/// most bytes are no ASCII.
pub fn message(encoding: Encoding, size: usize) -> (Vec<u8>, String) {
    let of = |cid: &str| match encoding {
        Encoding::Json => Encoding::Json.encode(&heartbeat(cid)),
        Encoding::Msgpack => {
            // Written by hand, so that the length of its head does not depend on the cid's.
            let head = b"\x84\xa2op\xa9heartbeat\xa1x\xc4\x02\xfe\xff\xa1d\x81\xa3seq\x00\xa3cid\xdb";
            [&head[..], &(cid.len() as u32).to_be_bytes(), cid.as_bytes()].concat()
        }
    };
    let pattern = match encoding {
        Encoding::Json => "BAsd7&jh23",
        Encoding::Msgpack => "ÿßä\u{80}é",
    };
    let room = size - of("").len();
    let mut cid = pattern.repeat(room / pattern.len());
    cid.extend(std::iter::repeat_n('*', room - cid.len()));
    let message = of(&cid);
    assert_eq!(message.len(), size);
    (message, cid)
}

/// Runs cases on servers of their own, all of them, and fails with those that failed.
pub fn check(cases: Vec<Case>) {
    let runtime = Runtime::new().unwrap();
    let large = cases.iter().flat_map(|case| &case.runs).any(|run| run.server == Which::Large);
    let servers = runtime.block_on(async {
        let large = if large { Some(TestServer::start(&LARGE).await) } else { None };
        (TestServer::start(&[]).await, large)
    });
    let address = |which| match (which, &servers.1) {
        (Which::Large, Some(large)) => large.address,
        _ => servers.0.address,
    };
    let (mut failed, mut runs) = (String::new(), 0);
    let count = cases.len();
    for case in cases {
        for run in &case.runs {
            runs += 1;
            if let Err(why) = try_run(address(run.server), run) {
                let Case { number, what, .. } = &case;
                let (encoding, server) = (run.encoding.name(), run.server);
                let _ = writeln!(failed, "{number} {what} [{encoding}, {server:?} {}]: {why}", run.how);
                // One way that fails says enough.
                break;
            }
        }
    }
    println!("{count} cases, {runs} connections");
    assert!(failed.is_empty(), "\n{failed}");
}

fn try_run(address: SocketAddr, run: &Run) -> Result<(), String> {
    static PLAYERS: AtomicUsize = AtomicUsize::new(0);
    let player = format!("player-{}", PLAYERS.fetch_add(1, Ordering::Relaxed));
    let mut peer = Peer::identified(address, run.encoding, &player).map_err(|error| error.to_string())?;
    for (i, step) in run.steps.iter().enumerate() {
        try_step(&mut peer, step).map_err(|why| format!("step {}: {why}", i + 1))?;
    }
    if matches!(run.steps.last(), Some(Step::Closed(_) | Step::ClosedAfterAll(_))) {
        return Ok(());
    }
    let closing = [send([Frame::close(1000, b"")]), Step::Closed(1000)];
    closing.iter().try_for_each(|step| try_step(&mut peer, step)).map_err(|why| format!("at the end: {why}"))
}

fn try_step(peer: &mut Peer, step: &Step) -> Result<(), String> {
    let io = |error: std::io::Error| error.to_string();
    match step {
        Step::Send(chop, frames) => peer.send(frames, *chop).map_err(io),
        Step::Write(bytes) => peer.write(bytes).map_err(io),
        Step::SendAnyway(chop, frames) => {
            // What went wrong, if it did, is for the next step to tell.
            let _ = peer.send(frames, *chop);
            Ok(())
        }
        Step::Echo(cid) => {
            let frame = peer.receive().map_err(io)?;
            let said = frame.as_ref().and_then(|frame| peer.encoding.decode(frame));
            match said {
                Some(said) if said["op"] == "heartbeat_ack" && said["cid"] == cid.as_str() => Ok(()),
                _ => Err(format!("no echo of {} bytes but {}", cid.len(), shown(frame.as_ref()))),
            }
        }
        Step::Pong(payload) => match peer.receive().map_err(io)? {
            Some(frame) if frame.opcode == Opcode::PONG && frame.payload == *payload => Ok(()),
            other => Err(format!("no pong but {}", shown(other.as_ref()))),
        },
        Step::Quiet => {
            peer.send(&[Frame::ping("still there?")], Chop::None).map_err(io)?;
            try_step(peer, &pong("still there?"))
        }
        Step::Closed(code) => closed(peer, *code, false),
        Step::ClosedAfterAll(code) => closed(peer, *code, true),
    }
}

fn closed(peer: &mut Peer, code: u16, mut answers_may_come: bool) -> Result<(), String> {
    loop {
        match peer.receive().map_err(|error| format!("no close frame {code} but {error}"))? {
            Some(frame) if frame.opcode == Opcode::CLOSE => {
                if frame.close_code() != code {
                    return Err(format!("closed with {}, not {code}", frame.close_code()));
                }
                break;
            }
            Some(frame) if answers_may_come && peer.encoding.decode(&frame).is_some() => {
                answers_may_come = true;
            }
            other => return Err(format!("no close frame {code} but {}", shown(other.as_ref()))),
        }
    }
    // The server may have ended the connection already.
    let _ = peer.send(&[Frame::close(code, b"")], Chop::None);
    match peer.receive() {
        Ok(None) => Ok(()),
        other => Err(format!("after the close frame: {other:?}")),
    }
}

fn shown(frame: Option<&Frame>) -> String {
    let Some(frame) = frame else { return "the end of the connection".to_owned() };
    let text: String = String::from_utf8_lossy(&frame.payload).chars().take(120).collect();
    match frame.opcode {
        Opcode::CLOSE => format!("a close frame with {} {:?}", frame.close_code(), text.get(2..)),
        Opcode(opcode) => format!("a frame {opcode} of {} bytes: {text:?}", frame.payload.len()),
    }
}

//! Some thousand hostile frames at a live server, with an honest client beside them; `cargo xtask hostile` sends a
//! million to a release build.

#[path = "protocol/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "protocol/server.rs"]
#[allow(dead_code)]
mod server;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use npc_raw::attack::{self, Corpus, Plan};
use npc_raw::encoding::heartbeat;
use npc_raw::{Chop, Encoding, Frame, Opcode, Peer, honest};
use server::TestServer;
use tokio::runtime::Runtime;

const FRAMES: u64 = 20_000;
/// What the server may hold for a client that does not read, and some for whatever else happens meanwhile.
const HELD: u64 = 16 << 20;

static ALONE: Mutex<()> = Mutex::new(());

/// One test at a time: they share a process, whose memory one of them looks at.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn golden() -> Corpus {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/golden/client");
    if folder.is_dir() { Corpus::from_folder(&folder).unwrap() } else { Corpus::own() }
}

#[test]
fn hostile_frames_get_what_they_deserve() {
    let _alone = alone();
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(TestServer::start(&[]));
    let plan = Plan {
        address: server.address,
        frames: FRAMES,
        sockets: 8,
        seed: 4,
        max_frame_bytes: 65536,
        corpus: golden(),
    };
    let stop = AtomicBool::new(false);
    let (tally, honest) = thread::scope(|scope| {
        let honest = scope.spawn(|| honest::converse(server.address, Encoding::Json, &stop));
        let tally = attack::run(&plan, |_| {});
        stop.store(true, Ordering::Relaxed);
        (tally, honest.join().unwrap())
    });
    println!("{tally:#?}");
    assert_eq!((tally.wrong, &tally.messages[..]), (0, &[][..]));
    assert!(tally.sent >= FRAMES);
    // All of it happened, and nothing broke inside.
    for code in [1002, 1007, 4500, 4501, 4502, 4504] {
        assert!(tally.closes.contains_key(&code), "nobody was closed with {code}");
    }
    for status in [400, 403, 404] {
        assert!(tally.statuses.contains_key(&status), "nobody was told {status}");
    }
    let honest = honest.unwrap();
    println!("{honest:?}");
    // Still there, for everybody.
    Peer::identified(server.address, Encoding::Msgpack, "late").unwrap();
    runtime.block_on(server.until("sockets", 0));
}

/// A client that sends pings and reads no pongs must not make the server hold them all.
#[test]
fn pongs_that_nobody_reads_are_not_hoarded() {
    const PINGS: usize = 400_000;
    let _alone = alone();
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(TestServer::start(&[]));
    let mut peer = Peer::identified(server.address, Encoding::Json, "pinger").unwrap();
    let pings = vec![Frame::ping([7; 125]); 1000];
    let before = resident();
    for _ in 0..PINGS / pings.len() {
        peer.send(&pings, Chop::None).unwrap();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < HELD, "{} MB more after {} MB of pings", grown >> 20, (PINGS * 125) >> 20);
    // Whoever reads at last is served again.
    peer.say(&heartbeat("awake")).unwrap();
    let mut pongs = 0;
    loop {
        let frame = peer.receive().unwrap().unwrap();
        if frame.opcode != Opcode::PONG {
            assert_eq!(Encoding::Json.decode(&frame).unwrap()["cid"], "awake");
            break;
        }
        pongs += 1;
    }
    println!("{pongs} pongs to {PINGS} pings, {grown} bytes more");
    assert!(pongs > 0 && pongs < PINGS);
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

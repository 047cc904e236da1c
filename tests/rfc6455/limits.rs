//! Chapters 9 and 10: large messages, whole, in fragments and in chops, and many small ones.
//!
//! Each large one is sent to a server that takes it, and to one as it comes, which closes with 4504.

use npc_raw::encoding::heartbeat;
use npc_raw::{Chop, Encoding, Frame};

use crate::run::{Case, Run, Step, Which, echo, message, run, send};

const K: usize = 1024;
const M: usize = 1024 * K;
/// `session.max_frame_bytes` as it comes.
const DEFAULT: usize = 64 * K;
/// Messages in 9.7 and 9.8.
const ROUND_TRIPS: usize = 1000;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let kinds = [("text", Encoding::Json), ("binary", Encoding::Msgpack)];
    for (i, (kind, encoding)) in kinds.into_iter().enumerate() {
        let mut add =
            |group: usize, sizes: &[usize], what: &dyn Fn(usize) -> String, runs: &dyn Fn(usize) -> _| {
                for (n, size) in sizes.iter().enumerate() {
                    cases.push(Case::new(format!("9.{}.{}", group + i, n + 1), what(*size), runs(*size)));
                }
            };
        add(
            1,
            &[64 * K, 256 * K, M, 4 * M, 8 * M, 16 * M],
            &|size| format!("a {kind} message of {size} bytes"),
            &|size| both(encoding, size, size, Chop::None),
        );
        add(
            3,
            &[64, 256, K, 4 * K, 16 * K, 64 * K, 256 * K, M, 4 * M],
            &|size| format!("a {kind} message of 4 MiB in fragments of {size} bytes"),
            &|size| both(encoding, 4 * M, size, Chop::None),
        );
        add(
            5,
            &[64, 128, 256, 512, K, 2 * K],
            &|size| format!("a {kind} message of 1 MiB in chops of {size} octets"),
            &|size| both(encoding, M, M, Chop::Octets(size)),
        );
        add(
            7,
            &[0, 16, 64, 256, K, 4 * K],
            &|size| {
                format!("{ROUND_TRIPS} {kind} messages, one after the other, with {size} bytes of payload")
            },
            &|size| vec![round_trips(encoding, size)],
        );
    }
    let (bytes, cid) = message(Encoding::Json, 65536);
    let fragments = Frame::fragments(Encoding::Json.opcode(), &bytes, 1300);
    assert_eq!(fragments.len(), 51);
    cases.push(Case::new(
        "10.1.1",
        "a text message of 65,536 bytes in fragments of 1300",
        vec![run(Encoding::Json, vec![send(fragments), echo(&cid)])],
    ));
    cases
}

/// A message on both servers.
fn both(encoding: Encoding, size: usize, fragment: usize, chop: Chop) -> Vec<Run> {
    let (bytes, cid) = message(encoding, size);
    let frames = Frame::fragments(encoding.opcode(), &bytes, fragment);
    let fits = vec![Step::Send(chop, frames.clone()), echo(&cid)];
    let small =
        if size <= DEFAULT { fits.clone() } else { vec![Step::SendAnyway(chop, frames), Step::Closed(4504)] };
    [(Which::Large, fits), (Which::Default, small)]
        .map(|(server, steps)| Run { how: String::new(), server, encoding, steps })
        .into()
}

fn round_trips(encoding: Encoding, size: usize) -> Run {
    let cid = "BAsd7&jh23".repeat(size.div_ceil(10))[..size].to_owned();
    let once = [send([encoding.frame(&heartbeat(&cid))]), echo(&cid)];
    run(encoding, once.into_iter().cycle().take(2 * ROUND_TRIPS).collect())
}

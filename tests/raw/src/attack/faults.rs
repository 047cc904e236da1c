//! Faults that can only be answered in one way.

use serde_json::json;

use super::Plan;
use crate::encoding::{Encoding, identify};
use crate::frame::{Frame, Opcode};
use crate::rng::Rng;

/// A fault: its name, its frames (none: the head of a frame that is too large, and nothing behind it), and the code
/// that it is to be closed with.
pub(super) fn deserving(
    plan: &Plan,
    encoding: Encoding,
    identified: bool,
    rng: &mut Rng,
) -> (&'static str, Vec<Frame>, u16) {
    let other = if encoding == Encoding::Json { Encoding::Msgpack } else { Encoding::Json };
    let good = plan.corpus.bytes(encoding, rng);
    let frame = |bytes: Vec<u8>| Frame::new(encoding.opcode(), bytes);
    match rng.below(if identified { 17 } else { 20 }) {
        0 => {
            let half = good[..rng.below(good.len())].to_vec();
            // A cut inside a character leaves a text message that is no text.
            let is_text = encoding == Encoding::Msgpack || std::str::from_utf8(&half).is_ok();
            ("half of a good frame", vec![frame(half)], if is_text { 4500 } else { 1007 })
        }
        1 => {
            // 0xc1 is what MessagePack never uses, and no JSON begins so either.
            let bytes = match encoding {
                Encoding::Msgpack => [vec![0xc1], rng.bytes(20)].concat(),
                Encoding::Json => b"no JSON".to_vec(),
            };
            ("a message that is no frame", vec![frame(bytes)], 4500)
        }
        2 => ("reserved bits", vec![frame(good).rsv(1 + rng.below(7) as u8)], 1002),
        3 => {
            let opcode = *rng.pick(&[3, 4, 5, 6, 7, 11, 12, 13, 14, 15]);
            ("a reserved opcode", vec![Frame::new(Opcode(opcode), good)], 1002)
        }
        4 => ("no mask", vec![frame(good).unmasked()], 1002),
        5 => {
            let opcode = *rng.pick(&[Opcode::PING, Opcode::PONG, Opcode::CLOSE]);
            ("a control frame in fragments", vec![Frame::new(opcode, []).unfinished()], 1002)
        }
        6 => {
            let length = 126 + rng.below(1000);
            ("a control frame that is too long", vec![Frame::ping(vec![0; length])], 1002)
        }
        7 => ("a continuation of nothing", vec![Frame::continuation(good)], 1002),
        8 => ("a message inside another one", vec![frame(good.clone()).unfinished(), frame(good)], 1002),
        9 => ("the wrong kind of message", vec![Frame::new(other.opcode(), "{}")], 4500),
        10 => {
            const BAD: [&[u8]; 5] = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xce"];
            let bad = *rng.pick(&BAD);
            ("text that is not UTF-8", vec![Frame::text([b"{\"op\":\"", bad, b"\"}"].concat())], 1007)
        }
        11 => ("a close frame of one byte", vec![Frame::new(Opcode::CLOSE, [3])], 1002),
        12 => {
            let code = *rng.pick(&[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]);
            ("a close code that may not be sent", vec![Frame::close(code, b"")], 1002)
        }
        13 => ("a close reason that is not UTF-8", vec![Frame::close(1000, b"\xff")], 1007),
        14 => {
            let code = *rng.pick(&[1000, 1001, 1003, 3000, 3999, 4999]);
            ("a good close frame", vec![Frame::close(code, b"bye")], code)
        }
        15 => {
            let piece = vec![b' '; plan.max_frame_bytes / 2 + 1];
            (
                "fragments that are too large together",
                Frame::fragments(encoding.opcode(), &piece.repeat(2), piece.len()),
                4504,
            )
        }
        16 => ("a head that announces too much", Vec::new(), 4504),
        17 => ("a frame before identify", vec![frame(encoding.encode(&plan.corpus.pick_early(rng)))], 4500),
        18 => {
            let other = json!({"op": "identify", "d": {"protocol": 2 + rng.number() % 99}});
            ("another protocol", vec![encoding.frame(&other)], 4501)
        }
        _ => ("a token that is none", vec![encoding.frame(&identify(""))], 4502),
    }
}

//! Chapter 3: reserved bits mean an extension, and none was negotiated.

use npc_raw::{Chop, Frame};

use crate::run::{Case, HELLO, Step, echo, json, msgpack, send, text};

pub fn cases() -> Vec<Case> {
    let second = |rsv, chop| {
        let frames = vec![text(HELLO), text(HELLO).rsv(rsv), Frame::ping([])];
        vec![Step::SendAnyway(chop, frames), echo(HELLO), Step::Closed(1002)]
    };
    let bytes = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    vec![
        json("3.1", "a text with RSV 1", vec![send([text(HELLO).rsv(1)]), Step::Closed(1002)]),
        json("3.2", "a text, a text with RSV 2, a ping, at once", second(2, Chop::None)),
        json("3.3", "a text, a text with RSV 3, a ping, frame by frame", second(3, Chop::Frames)),
        json("3.4", "a text, a text with RSV 4, a ping, octet by octet", second(4, Chop::Octets(1))),
        msgpack(
            "3.5",
            "a binary message with RSV 5",
            vec![send([Frame::binary(bytes).rsv(5)]), Step::Closed(1002)],
        ),
        json("3.6", "a ping with RSV 6", vec![send([Frame::ping(HELLO).rsv(6)]), Step::Closed(1002)]),
        json(
            "3.7",
            "a close frame with RSV 7",
            vec![send([Frame::close(1000, b"").rsv(7)]), Step::Closed(1002)],
        ),
    ]
}

//! Chapter 2: pings are answered with what they carry, pongs with nothing.

use npc_raw::{Chop, Frame};

use crate::run::{Case, Step, json, pong, send};

pub fn cases() -> Vec<Case> {
    let no_text = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    let pinged = |payload: &[u8]| vec![send([Frame::ping(payload)]), pong(payload)];
    let ten: Vec<String> = (0..10).map(|i| format!("payload-{i}")).collect();
    let ten_pinged = |chop| {
        let pings = Step::Send(chop, ten.iter().map(|payload| Frame::ping(payload.as_str())).collect());
        std::iter::once(pings).chain(ten.iter().map(|payload| pong(payload.as_str()))).collect()
    };
    vec![
        json("2.1", "a ping without payload", pinged(b"")),
        json("2.2", "a ping with a small text", pinged(b"Hello, world!")),
        json("2.3", "a ping with a few bytes that are no text", pinged(&no_text)),
        json("2.4", "a ping with 125 bytes, the most that it may carry", pinged(&[0xfe; 125])),
        json("2.5", "a ping with 126 bytes", vec![send([Frame::ping([0xfe; 126])]), Step::Closed(1002)]),
        json(
            "2.6",
            "a ping with 125 bytes, octet by octet",
            vec![Step::Send(Chop::Octets(1), vec![Frame::ping([0xfe; 125])]), pong([0xfe; 125])],
        ),
        json("2.7", "a pong that nobody asked for", vec![send([Frame::pong([])]), Step::Quiet]),
        json(
            "2.8",
            "a pong that nobody asked for, with payload",
            vec![send([Frame::pong("unsolicited pong payload")]), Step::Quiet],
        ),
        json(
            "2.9",
            "a pong that nobody asked for, then a ping",
            vec![
                send([Frame::pong("unsolicited pong payload"), Frame::ping("ping payload")]),
                pong("ping payload"),
            ],
        ),
        json("2.10", "ten pings at once", ten_pinged(Chop::None)),
        json("2.11", "ten pings, octet by octet", ten_pinged(Chop::Octets(1))),
    ]
}

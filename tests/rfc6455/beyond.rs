//! What the suite does not ask.

use npc_raw::encoding::heartbeat;
use npc_raw::{Chop, Encoding, Frame, Opcode};

use crate::run::{Case, HELLO, Step, echo, halves, message, pong, run, send, text};

/// A head that announces a payload, without the payload.
fn announced(opcode: Opcode, length: u64) -> Step {
    Step::Write(Frame::new(opcode, []).head(length, [1, 2, 3, 4]))
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for encoding in Encoding::BOTH {
        let mut add = |what: &str, steps| cases.push(Case::new("-", what, vec![run(encoding, steps)]));
        let other = if encoding == Encoding::Json { Encoding::Msgpack } else { Encoding::Json };
        let good = |cid: &str| encoding.frame(&heartbeat(cid));
        let opcode = encoding.opcode();

        add("a frame without a mask", vec![send([good(HELLO).unmasked()]), Step::Closed(1002)]);
        add("a ping without a mask", vec![send([Frame::ping(HELLO).unmasked()]), Step::Closed(1002)]);
        add(
            "a message of the other subprotocol",
            vec![send([other.frame(&heartbeat(HELLO))]), Step::Closed(4500)],
        );
        // MessagePack as text is refused before anybody asks what it says.
        let wrong_kind = if encoding == Encoding::Json { 4500 } else { 1007 };
        add(
            "the right bytes in a message of the wrong kind",
            vec![
                send([Frame::new(other.opcode(), encoding.encode(&heartbeat(HELLO)))]),
                Step::Closed(wrong_kind),
            ],
        );
        add(
            "the same in fragments",
            vec![
                Step::SendAnyway(
                    Chop::None,
                    Frame::fragments(other.opcode(), &encoding.encode(&heartbeat(HELLO)), 7),
                ),
                Step::Closed(wrong_kind),
            ],
        );
        add(
            "bytes that are no frame of the wire protocol",
            vec![send([Frame::new(opcode, "Hello, world!")]), Step::Closed(4500)],
        );
        add(
            "a head of a byte more than fits, and nothing else",
            vec![announced(opcode, 65537), Step::Closed(4504)],
        );
        for length in [1 << 32, 1 << 63, u64::MAX] {
            add(
                "a head that announces what no machine holds",
                vec![announced(opcode, length), Step::Closed(4504)],
            );
        }
        let (bytes, _) = message(encoding, 65537);
        add(
            "a message that is too large only in its last fragment",
            vec![send(Frame::fragments(opcode, &bytes, 65536)), Step::Closed(4504)],
        );
        let mut empty = vec![Frame::continuation([]).unfinished(); 10_000];
        let message = encoding.encode(&heartbeat(HELLO));
        empty[0] = Frame::new(opcode, &message[..5]).unfinished();
        empty.push(Frame::continuation(&message[5..]));
        add("ten thousand empty fragments inside a message", vec![send(empty), echo(HELLO)]);
        add("a hundred messages at once", {
            let cids: Vec<String> = (0..100).map(|i| format!("{i} {}", "x".repeat(3000))).collect();
            let all = send(cids.iter().map(|cid| good(cid)).collect::<Vec<_>>());
            std::iter::once(all).chain(cids.iter().map(|cid| echo(cid))).collect()
        });
    }
    let [first, second] = halves(HELLO);
    let json = |what: &str, steps| Case::new("-", what, vec![run(Encoding::Json, steps)]);
    cases.push(json(
        "a text inside another one",
        vec![
            Step::SendAnyway(Chop::None, vec![first.clone(), text(HELLO), second.clone()]),
            Step::Closed(1002),
        ],
    ));
    cases.push(json(
        "a binary fragment that goes on as text",
        vec![
            Step::SendAnyway(
                Chop::None,
                vec![Frame::binary(first.payload.clone()).unfinished(), second.clone()],
            ),
            Step::Closed(4500),
        ],
    ));
    let hundred: Vec<Frame> = (0..100).map(|i| Frame::ping(format!("{i}"))).collect();
    cases.push(json(
        "a hundred pings inside a message",
        std::iter::once(Step::Send(Chop::None, [vec![first], hundred, vec![second]].concat()))
            .chain((0..100).map(|i| pong(format!("{i}"))))
            .chain([echo(HELLO)])
            .collect(),
    ));
    cases
}

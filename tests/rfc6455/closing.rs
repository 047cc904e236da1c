//! Chapter 7: close frames, good and bad.

use npc_raw::{Encoding, Frame, Opcode};

use crate::run::{Case, HELLO, Run, Step, Which, echo, halves, json, message, run, send, text};

/// Codes that a client may close with.
const VALID: [u16; 13] = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
/// Codes that may not be sent.
const INVALID: [u16; 9] = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];

pub fn cases() -> Vec<Case> {
    let close = || Frame::close(1000, b"");
    let [first, second] = halves("fragment1fragment2");
    let closed = |frame: Frame, code| vec![send([frame]), Step::Closed(code)];
    let (long, _) = message(Encoding::Json, 256 * 1024);
    let long =
        vec![send([Frame::text(long), text(HELLO), close(), Frame::ping([])]), Step::ClosedAfterAll(1000)];
    let no_utf8 = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    let mut cases = vec![
        // Many times: whether the answer or the close frame comes first must not be a matter of luck.
        Case::new(
            "7.1.1",
            "a text, then a close frame",
            (0..50)
                .map(|_| {
                    let steps = vec![send([text(HELLO), close()]), echo(HELLO), Step::Closed(1000)];
                    run(Encoding::Json, steps)
                })
                .collect(),
        ),
        json("7.1.2", "two close frames", vec![send([close(), close()]), Step::Closed(1000)]),
        json(
            "7.1.3",
            "a ping after the close frame",
            vec![send([close(), Frame::ping([])]), Step::Closed(1000)],
        ),
        json("7.1.4", "a text after the close frame", vec![send([close(), text(HELLO)]), Step::Closed(1000)]),
        json(
            "7.1.5",
            "a fragment, a close frame, the other fragment",
            vec![send([first, close(), second]), Step::Closed(1000)],
        ),
        Case::new(
            "7.1.6",
            "256 KiB, a text, a close frame and a ping at once (how many echoes come is not laid down)",
            vec![Run { how: String::new(), server: Which::Large, encoding: Encoding::Json, steps: long }],
        ),
        json("7.3.1", "a close frame without payload", closed(Frame::new(Opcode::CLOSE, []), 1005)),
        json("7.3.2", "a close frame with one byte", closed(Frame::new(Opcode::CLOSE, "a"), 1002)),
        json("7.3.3", "a close frame with a code", closed(close(), 1000)),
        json("7.3.4", "a code and a reason", closed(Frame::close(1000, b"Hello World!"), 1000)),
        json("7.3.5", "a reason of 123 bytes, the longest", closed(Frame::close(1000, &[b'*'; 123]), 1000)),
        json("7.3.6", "a reason of 124 bytes", closed(Frame::close(1000, &[b'*'; 124]), 1002)),
        json("7.5.1", "a reason that is not UTF-8", closed(Frame::close(1000, no_utf8), 1007)),
    ];
    for (i, code) in VALID.into_iter().enumerate() {
        let number = format!("7.7.{}", i + 1);
        cases.push(json(
            &number,
            &format!("close code {code} is sent back"),
            closed(Frame::close(code, b""), code),
        ));
    }
    for (i, code) in INVALID.into_iter().enumerate() {
        let number = format!("7.9.{}", i + 1);
        cases.push(json(
            &number,
            &format!("close code {code}, which may not be sent"),
            closed(Frame::close(code, b""), 1002),
        ));
    }
    for (number, code) in [("7.13.1", 5000), ("7.13.2", 65535)] {
        let what = format!("close code {code}, which RFC 6455 does not speak of; here it may not be sent");
        cases.push(json(number, &what, closed(Frame::close(code, b""), 1002)));
    }
    cases
}

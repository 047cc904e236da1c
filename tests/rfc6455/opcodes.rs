//! Chapter 4: opcodes that RFC 6455 keeps for later.

use npc_raw::{Chop, Frame, Opcode};

use crate::run::{Case, HELLO, Step, echo, json, send, text};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, first) in [("4.1", 3), ("4.2", 11)] {
        let alone =
            |opcode, payload: &str| vec![send([Frame::new(Opcode(opcode), payload)]), Step::Closed(1002)];
        let after_a_text = |opcode, payload: &str, chop| {
            let frames = vec![text(HELLO), Frame::new(Opcode(opcode), payload), Frame::ping([])];
            vec![Step::SendAnyway(chop, frames), echo(HELLO), Step::Closed(1002)]
        };
        let steps = [
            ("alone, without payload", alone(first, "")),
            ("alone, with payload", alone(first + 1, "reserved opcode payload")),
            ("between a text and a ping", after_a_text(first + 2, "", Chop::None)),
            (
                "between a text and a ping, with payload",
                after_a_text(first + 3, "reserved opcode payload", Chop::None),
            ),
            (
                "between a text and a ping, with payload, octet by octet",
                after_a_text(first + 4, "reserved opcode payload", Chop::Octets(1)),
            ),
        ];
        for (i, (what, steps)) in steps.into_iter().enumerate() {
            let opcode = usize::from(first) + i;
            cases.push(json(&format!("{group}.{}", i + 1), &format!("opcode {opcode} {what}"), steps));
        }
    }
    cases
}

//! Chapter 1: messages of all lengths at which the head of a frame changes.

use npc_raw::{Chop, Encoding, Frame};

use crate::run::{Case, Step, echo, message, run};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, encoding, kind) in [("1.1", Encoding::Json, "text"), ("1.2", Encoding::Msgpack, "binary")] {
        let empty = Frame::new(encoding.opcode(), []);
        cases.push(Case::new(
            format!("{group}.1"),
            format!("an empty {kind} message, which is no frame of the wire protocol"),
            vec![run(encoding, vec![Step::Send(Chop::None, vec![empty]), Step::Closed(4500)])],
        ));
        let sizes = [125, 126, 127, 128, 65535, 65536].map(|size| (size, Chop::None, ""));
        let last = (65536, Chop::Octets(997), " in chops of 997 octets");
        for (i, (size, chop, how)) in sizes.into_iter().chain([last]).enumerate() {
            let (bytes, cid) = message(encoding, size);
            let steps = vec![Step::Send(chop, vec![Frame::new(encoding.opcode(), bytes)]), echo(&cid)];
            cases.push(Case::new(
                format!("{group}.{}", i + 2),
                format!("a {kind} message of {size} bytes{how}"),
                vec![run(encoding, steps)],
            ));
        }
    }
    cases
}

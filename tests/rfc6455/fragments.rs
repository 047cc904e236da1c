//! Chapter 5: messages in pieces, with control frames between them, and pieces that belong to nothing.

use npc_raw::encoding::heartbeat;
use npc_raw::{Chop, Encoding, Frame, Opcode};

use crate::run::{Case, HELLO, Step, echo, halves, json, pong, send, text};

const WAYS: [(Chop, &str); 3] =
    [(Chop::None, "at once"), (Chop::Frames, "frame by frame"), (Chop::Octets(1), "octet by octet")];

pub fn cases() -> Vec<Case> {
    let in_two = |frame: Frame| {
        let second = Frame::continuation(frame.payload.clone());
        vec![send([frame.unfinished(), second]), Step::Closed(1002)]
    };
    let [first, second] = halves("fragment1fragment2");
    let mut cases = vec![
        json("5.1", "a ping in two fragments", in_two(Frame::ping("fragment1"))),
        json("5.2", "a pong in two fragments", in_two(Frame::pong("fragment1"))),
        json(
            "5.3",
            "a text in two fragments",
            vec![Step::Send(Chop::None, vec![first.clone(), second.clone()]), echo("fragment1fragment2")],
        ),
    ];
    for (number, (chop, how)) in ["5.4", "5.5"].into_iter().zip(&WAYS[1..]) {
        cases.push(json(
            number,
            &format!("a text in two fragments, {how}"),
            vec![Step::Send(*chop, vec![first.clone(), second.clone()]), echo("fragment1fragment2")],
        ));
    }
    for (number, (chop, how)) in ["5.6", "5.7", "5.8"].into_iter().zip(WAYS) {
        let frames = vec![first.clone(), Frame::ping("ping payload"), second.clone()];
        cases.push(json(
            number,
            &format!("a ping between the two fragments of a text, {how}"),
            vec![Step::Send(chop, frames), pong("ping payload"), echo("fragment1fragment2")],
        ));
    }
    let stray = Frame::continuation("non-continuation payload");
    for (numbers, stray, kind) in [
        (["5.9", "5.10", "5.11"], stray.clone(), "last"),
        (["5.12", "5.13", "5.14"], stray.clone().unfinished(), "not the last"),
    ] {
        for (number, (chop, how)) in numbers.into_iter().zip(WAYS) {
            let what = format!("a continuation of nothing ({kind}), then a text, {how}");
            let frames = vec![stray.clone(), text(HELLO)];
            cases.push(json(number, &what, vec![Step::SendAnyway(chop, frames), Step::Closed(1002)]));
        }
    }
    cases.push(json(
        "5.15",
        "a text in two fragments, a continuation of nothing, a text, at once",
        vec![
            Step::Send(
                Chop::None,
                vec![first.clone(), second.clone(), stray.clone().unfinished(), text(HELLO)],
            ),
            echo("fragment1fragment2"),
            Step::Closed(1002),
        ],
    ));
    for (number, stray, kind) in
        [("5.16", stray.clone().unfinished(), "not the last"), ("5.17", stray.clone(), "last")]
    {
        let once = [stray, first.clone(), second.clone()];
        cases.push(json(
            number,
            &format!("twice: a continuation of nothing ({kind}), then a text in two fragments"),
            vec![Step::SendAnyway(Chop::None, [once.clone(), once].concat()), Step::Closed(1002)],
        ));
    }
    cases.push(json(
        "5.18",
        "a text in two frames that both say that they begin it",
        vec![send([first, Frame::text(second.payload)]), Step::Closed(1002)],
    ));
    for (number, chop, how) in [("5.19", Chop::None, "at once"), ("5.20", Chop::Frames, "frame by frame")] {
        cases.push(json(
            number,
            &format!(
                "a text in five fragments; each of two pings between them is answered before its end, {how}"
            ),
            five(chop),
        ));
    }
    cases
}

fn five(chop: Chop) -> Vec<Step> {
    let cid = "fragment1fragment2fragment3fragment4fragment5";
    let message = Encoding::Json.encode(&heartbeat(cid));
    let mut pieces = Frame::fragments(Opcode::TEXT, &message, message.len().div_ceil(5)).into_iter();
    let mut next = |count| pieces.by_ref().take(count).collect::<Vec<_>>();
    let mut first = next(2);
    first.push(Frame::ping("pongme 1!"));
    let mut second = next(2);
    second.push(Frame::ping("pongme 2!"));
    vec![
        Step::Send(chop, first),
        pong("pongme 1!"),
        Step::Send(chop, second),
        pong("pongme 2!"),
        Step::Send(chop, next(1)),
        echo(cid),
    ]
}

//! Chapter 6: text that is UTF-8 and text that is not, in one frame and cut at every byte.
//!
//! A valid sequence comes back as the `cid` of a heartbeat. An invalid one closes with 1007, inside a heartbeat and
//! bare, and never with anything that is said of a whole message. Bare and valid it is no frame of the wire protocol:
//! 4500, so the WebSocket layer let it pass.

use npc_raw::{Chop, Encoding, Frame, Opcode};

use crate::run::{Case, Run, Step, Which, echo, json, run, send, text};

/// "κόσμε", then what the suite makes invalid with it, then a rest that is valid by itself.
const GREEK: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";
const REST: &[u8] = b"edited";

/// What stands before and behind a sequence in its heartbeat.
const BEFORE: &[u8] = b"{\"op\":\"heartbeat\",\"cid\":\"";
const BEHIND: &[u8] = b"\",\"d\":{\"seq\":0}}";

pub fn cases() -> Vec<Case> {
    let mut cases = fragments();
    cases.extend(fail_fast());
    for (group, (what, sequences)) in sequences().into_iter().enumerate() {
        for (i, sequence) in sequences.into_iter().enumerate() {
            let number = format!("6.{}.{}", group + 5, i + 1);
            let valid = std::str::from_utf8(&sequence).ok().map(str::to_owned);
            cases.push(Case::new(
                number,
                format!("{what}: {sequence:02x?}"),
                runs(&sequence, valid.as_deref()),
            ));
        }
    }
    cases
}

/// A sequence in one frame, in two at every cut, byte by byte, in chops, and bare.
fn runs(sequence: &[u8], valid: Option<&str>) -> Vec<Run> {
    let message = [BEFORE, sequence, BEHIND].concat();
    // JSON has no control characters in strings, so U+0000 can come bare only.
    let in_json = valid.is_none_or(|text| !text.contains('\0'));
    let end = |whole: bool| match valid {
        Some(text) if whole => echo(text),
        Some(_) => Step::Closed(4500),
        None => Step::Closed(1007),
    };
    let mut runs = Vec::new();
    let mut add = |how: String, chop, frames: Vec<Frame>, whole: bool| {
        let steps = vec![Step::SendAnyway(chop, frames), end(whole && in_json)];
        runs.push(Run { how, server: Which::Default, encoding: Encoding::Json, steps });
    };
    add("in one frame".into(), Chop::None, vec![Frame::text(message.clone())], true);
    add("octet by octet".into(), Chop::Octets(1), vec![Frame::text(message.clone())], true);
    add("a frame for each byte".into(), Chop::None, Frame::fragments(Opcode::TEXT, &message, 1), true);
    for cut in BEFORE.len()..=BEFORE.len() + sequence.len() {
        let (first, second) = message.split_at(cut);
        let frames = vec![Frame::text(first).unfinished(), Frame::continuation(second)];
        add(format!("cut at byte {}", cut - BEFORE.len()), Chop::Frames, frames, true);
    }
    add("bare".into(), Chop::None, vec![Frame::text(sequence)], false);
    add("bare, a frame for each byte".into(), Chop::None, Frame::fragments(Opcode::TEXT, sequence, 1), false);
    runs
}

/// 6.1 to 6.3: empty fragments, and one text in different fragments.
fn fragments() -> Vec<Case> {
    let empty = || Frame::continuation([]);
    let hello = "Hello-µ@ßöäüàá-UTF-8!!";
    let whole = text(hello).payload;
    let boundary = BEFORE.len() + "Hello-µ@ßöä".len();
    let (first, second) = whole.split_at(boundary);
    let each_byte = |message: &[u8]| send(Frame::fragments(Opcode::TEXT, message, 1));
    let greek = String::from_utf8_lossy(GREEK).into_owned();
    let surrogate = [GREEK, b"\xed\xa0\x80", REST].concat();
    let mut cases = vec![
        json(
            "6.1.1",
            "an empty text, which is no frame of the wire protocol",
            vec![send([Frame::text([])]), Step::Closed(4500)],
        ),
        json(
            "6.1.2",
            "three empty fragments, which are no frame either",
            vec![send([Frame::text([]).unfinished(), empty().unfinished(), empty()]), Step::Closed(4500)],
        ),
        json(
            "6.1.3",
            "three fragments, of which the first and the last are empty",
            vec![
                send([
                    Frame::text([]).unfinished(),
                    Frame::continuation(whole.clone()).unfinished(),
                    empty(),
                ]),
                echo(hello),
            ],
        ),
        json("6.2.1", "UTF-8 in one frame", vec![send([text(hello)]), echo(hello)]),
        json(
            "6.2.2",
            "UTF-8 in two fragments, cut between two characters",
            vec![send([Frame::text(first).unfinished(), Frame::continuation(second)]), echo(hello)],
        ),
        json("6.2.3", "UTF-8 with a fragment for each byte", vec![each_byte(&whole), echo(hello)]),
        json(
            "6.2.4",
            "κόσμε with a fragment for each byte",
            vec![each_byte(&text(&greek).payload), echo(&greek)],
        ),
    ];
    cases.push(Case::new(
        "6.3.1",
        "no UTF-8 in one frame",
        vec![
            run(Encoding::Json, vec![send([Frame::text(surrogate.clone())]), Step::Closed(1007)]),
            run(
                Encoding::Json,
                vec![send([Frame::text([BEFORE, &surrogate, BEHIND].concat())]), Step::Closed(1007)],
            ),
        ],
    ));
    cases.push(Case::new(
        "6.3.2",
        "no UTF-8, with a fragment for each byte",
        vec![run(
            Encoding::Json,
            vec![
                Step::SendAnyway(Chop::None, Frame::fragments(Opcode::TEXT, &surrogate, 1)),
                Step::Closed(1007),
            ],
        )],
    ));
    cases
}

/// 6.4: a text is refused as soon as it cannot become UTF-8 any more, without its end. Inside one frame that is when
/// the frame is there, which the suite allows ("non-strict").
fn fail_fast() -> Vec<Case> {
    let whole = [GREEK, b"\xf4\x90\x80\x80", REST].concat();
    let by_character = [GREEK.len(), GREEK.len() + 4];
    // The byte behind 0xf4 is the one that is wrong.
    let by_byte = [GREEK.len() + 1, GREEK.len() + 2];
    let in_frames = |[a, b]: [usize; 2]| {
        vec![
            send([Frame::text(&whole[..a]).unfinished()]),
            Step::Quiet,
            send([Frame::continuation(&whole[a..b]).unfinished()]),
            Step::Closed(1007),
        ]
    };
    let in_chops = |[a, b]: [usize; 2]| {
        let bytes = Frame::text(whole.clone()).bytes([7, 11, 13, 17]);
        let head = bytes.len() - whole.len();
        let parts = [&bytes[..head + a], &bytes[head + a..head + b], &bytes[head + b..]];
        parts.map(|part| Step::Write(part.to_vec())).into_iter().chain([Step::Closed(1007)]).collect()
    };
    vec![
        json(
            "6.4.1",
            "U+110000 in the second fragment of three; the third is not needed",
            in_frames(by_character),
        ),
        json("6.4.2", "the same, with no byte behind the wrong one", in_frames(by_byte)),
        json("6.4.3", "U+110000 in the second chop of one frame", in_chops(by_character)),
        json("6.4.4", "the same, with no byte behind the wrong one", in_chops(by_byte)),
    ]
}

type Group = (&'static str, Vec<Vec<u8>>);

/// 6.5 to 6.23.
#[allow(clippy::too_many_lines)] // A table.
fn sequences() -> Vec<Group> {
    let group = |what, sequences: &[&[u8]]| (what, sequences.iter().map(|bytes| bytes.to_vec()).collect());
    let unfinished: [&[u8]; 10] = [
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
    ];
    let [c0, e0, f0, f8, fc] = [(0xc0, 0xdf), (0xe0, 0xef), (0xf0, 0xf7), (0xf8, 0xfb), (0xfc, 0xfd)]
        .map(|(from, to): (u8, u8)| (from..to).flat_map(|byte| [byte, b' ']).collect::<Vec<u8>>());
    vec![
        group(
            "text of all lengths",
            &[
                b"hello\x24world",
                b"hello\xc2\xa2world",
                b"hello\xe2\x82\xacworld",
                b"hello\xf0\xa4\xad\xa2world",
                GREEK,
            ],
        ),
        ("a beginning of κόσμε", (1..=GREEK.len()).map(|end| GREEK[..end].to_vec()).collect()),
        group("the first character of a length", &[b"\0", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"]),
        group("the first of five or six bytes", &[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
        group(
            "the last character of a length",
            &[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
        ),
        group(
            "the last of four, five or six bytes",
            &[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
        ),
        group(
            "other limits",
            &[b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"],
        ),
        group(
            "continuation bytes of nothing",
            &[
                b"\x80",
                b"\xbf",
                b"\x80\xbf",
                b"\x80\xbf\x80",
                b"\x80\xbf\x80\xbf",
                b"\x80\xbf\x80\xbf\x80",
                b"\x80\xbf\x80\xbf\x80\xbf",
                &(0x80..0xbf).collect::<Vec<u8>>(),
            ],
        ),
        ("first bytes without the others", vec![c0, e0, f0, f8, fc]),
        group("a sequence without its last byte", &unfinished),
        ("all of those in a row", vec![unfinished.concat()]),
        group("bytes that UTF-8 never has", &[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
        group(
            "a slash in too many bytes",
            &[
                b"\xc0\xaf",
                b"\xe0\x80\xaf",
                b"\xf0\x80\x80\xaf",
                b"\xf8\x80\x80\x80\xaf",
                b"\xfc\x80\x80\x80\x80\xaf",
            ],
        ),
        group(
            "the last character in too many bytes",
            &[
                b"\xc1\xbf",
                b"\xe0\x9f\xbf",
                b"\xf0\x8f\xbf\xbf",
                b"\xf8\x87\xbf\xbf\xbf",
                b"\xfc\x83\xbf\xbf\xbf\xbf",
            ],
        ),
        group(
            "NUL in too many bytes",
            &[
                b"\xc0\x80",
                b"\xe0\x80\x80",
                b"\xf0\x80\x80\x80",
                b"\xf8\x80\x80\x80\x80",
                b"\xfc\x80\x80\x80\x80\x80",
            ],
        ),
        group(
            "half of a surrogate pair",
            &[
                b"\xed\xa0\x80",
                b"\xed\xad\xbf",
                b"\xed\xae\x80",
                b"\xed\xaf\xbf",
                b"\xed\xb0\x80",
                b"\xed\xbe\x80",
                b"\xed\xbf\xbf",
            ],
        ),
        group(
            "a surrogate pair",
            &[
                b"\xed\xa0\x80\xed\xb0\x80",
                b"\xed\xa0\x80\xed\xbf\xbf",
                b"\xed\xad\xbf\xed\xb0\x80",
                b"\xed\xad\xbf\xed\xbf\xbf",
                b"\xed\xae\x80\xed\xb0\x80",
                b"\xed\xae\x80\xed\xbf\xbf",
                b"\xed\xaf\xbf\xed\xb0\x80",
                b"\xed\xaf\xbf\xed\xbf\xbf",
            ],
        ),
        ("a code point that is no character, and valid", no_characters()),
        group(
            "a special character",
            &[
                b"\xef\xbf\xb9",
                b"\xef\xbf\xba",
                b"\xef\xbf\xbb",
                b"\xef\xbf\xbc",
                b"\xef\xbf\xbd",
                b"\xef\xbf\xbe",
                b"\xef\xbf\xbf",
            ],
        ),
    ]
}

/// The last two code points of every plane.
fn no_characters() -> Vec<Vec<u8>> {
    let last = |plane: u32| [0xfffe, 0xffff].map(|low| char::from_u32((plane << 16) | low));
    (0..=16).flat_map(last).flatten().map(|c| c.to_string().into_bytes()).collect()
}

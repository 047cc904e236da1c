//! RFC 6455 with raw frames against the live `/ws`: the cases of the Autobahn testsuite, chapters 1 to 7, 9 and 10,
//! under the suite's own numbers, as tables.
//!
//! Where the suite expects its message back, ours is a `heartbeat` whose `cid` comes back in `heartbeat_ack`: JSON
//! for text, MessagePack for binary messages. The suite's small payloads are the `cid`; where a case is about the
//! length of a message, the whole message has that length. An empty message is no frame of the wire protocol and
//! closes with 4500, a message larger than `session.max_frame_bytes` with 4504.

#[path = "../protocol/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "../protocol/server.rs"]
#[allow(dead_code)]
mod server;

mod beyond;
mod closing;
mod fragments;
mod framing;
mod limits;
mod opcodes;
mod pings;
mod reserved;
mod run;
mod utf8;

use std::collections::BTreeSet;

use run::{Case, check};

/// How many cases the suite has in each group.
const SUITE: [(&str, usize); 45] = [
    ("1.1", 8),
    ("1.2", 8),
    ("2", 11),
    ("3", 7),
    ("4.1", 5),
    ("4.2", 5),
    ("5", 20),
    ("6.1", 3),
    ("6.2", 4),
    ("6.3", 2),
    ("6.4", 4),
    ("6.5", 5),
    ("6.6", 11),
    ("6.7", 4),
    ("6.8", 2),
    ("6.9", 4),
    ("6.10", 3),
    ("6.11", 5),
    ("6.12", 8),
    ("6.13", 5),
    ("6.14", 10),
    ("6.15", 1),
    ("6.16", 3),
    ("6.17", 5),
    ("6.18", 5),
    ("6.19", 5),
    ("6.20", 7),
    ("6.21", 8),
    ("6.22", 34),
    ("6.23", 7),
    ("7.1", 6),
    ("7.3", 6),
    ("7.5", 1),
    ("7.7", 13),
    ("7.9", 9),
    ("7.13", 2),
    ("9.1", 6),
    ("9.2", 6),
    ("9.3", 9),
    ("9.4", 9),
    ("9.5", 6),
    ("9.6", 6),
    ("9.7", 6),
    ("9.8", 6),
    ("10.1", 1),
];

/// All cases of the suite.
const CASES: usize = 301;

#[test]
fn every_number_of_the_suite_is_there_once() {
    let expected: BTreeSet<String> =
        SUITE.iter().flat_map(|(group, count)| (1..=*count).map(move |i| format!("{group}.{i}"))).collect();
    assert_eq!(expected.len(), CASES);
    let tables = [
        framing::cases(),
        pings::cases(),
        reserved::cases(),
        opcodes::cases(),
        fragments::cases(),
        utf8::cases(),
        closing::cases(),
        limits::cases(),
    ];
    let all: Vec<Case> = tables.into_iter().flatten().collect();
    let numbers: BTreeSet<String> = all.iter().map(|case| case.number.clone()).collect();
    assert_eq!(numbers, expected);
    assert_eq!(all.len(), CASES, "a number comes twice");
    assert!(all.iter().all(|case| !case.what.is_empty() && !case.runs.is_empty()));
}

#[test]
fn chapter_1_framing() {
    check(framing::cases());
}

#[test]
fn chapter_2_pings_and_pongs() {
    check(pings::cases());
}

#[test]
fn chapter_3_reserved_bits() {
    check(reserved::cases());
}

#[test]
fn chapter_4_opcodes() {
    check(opcodes::cases());
}

#[test]
fn chapter_5_fragmentation() {
    check(fragments::cases());
}

#[test]
fn chapter_6_utf8() {
    check(utf8::cases());
}

#[test]
fn chapter_7_closing() {
    check(closing::cases());
}

#[test]
fn chapters_9_and_10_limits() {
    check(limits::cases());
}

#[test]
fn what_the_suite_does_not_ask() {
    check(beyond::cases());
}

//! Every scenario, small, against the real gateway with a script in the place of the model.

use serde_json::Value;

use crate::support::{Gateway, bots, program};

/// What the gateway needs to be loaded with: a script, and no limits that keep one machine from being a crowd.
const LOAD: [&str; 4] = [
    "engine.kind=scripted",
    "engine.script_tokens_per_second=200",
    "session.frames_per_second=0",
    "session.turns_per_minute=0",
];

/// Runs a scenario against a gateway with these settings besides; returns its report. No promise may break.
fn kept(scenario: &[&str], sets: &[&str]) -> Value {
    let gateway = Gateway::start(&[&LOAD[..], sets].concat());
    let (url, pid) = (gateway.url(), gateway.pid().to_string());
    let words = [scenario, &["--url", &url, "--server-pid", &pid]].concat();
    let (code, report, text) = bots(&words);
    assert_eq!(code, 0, "{text}");
    assert_eq!(report["broken"], 0, "{text}");
    report
}

fn count(report: &Value, what: &str) -> u64 {
    report["counts"][what].as_u64().unwrap_or_else(|| panic!("no {what:?} in {report:#}"))
}

fn percentiles(report: &Value, what: &str) {
    for percentile in ["p50", "p90", "p99", "p99.9", "max"] {
        assert!(report["milliseconds"][what][percentile].as_f64() > Some(0.0), "{what} in {report:#}");
    }
}

#[test]
fn chat() {
    for encoding in ["msgpack", "json"] {
        let words = ["chat", "--clients", "4", "--duration", "0", "--pause", "0", "--encoding", encoding];
        let report = kept(&words, &[]);
        assert!(count(&report, "visits") >= 4 && count(&report, "lines answered") >= 4);
        percentiles(&report, "say to first words");
        percentiles(&report, "say to turn.done");
    }
}

#[test]
fn tavern() {
    // Everybody says at least one line: as long as it takes until all are in, nobody's time runs out.
    let words =
        ["tavern", "--clients", "6", "--npcs", "3", "--audience", "2", "--pause", "0.1", "--duration", "5"];
    let report = kept(&words, &[]);
    assert!(count(&report, "lines answered") >= 1 && count(&report, "turns of others heard") >= 1);
    percentiles(&report, "say to turn.done");
}

#[test]
fn idle() {
    let words = ["idle", "--clients", "50", "--duration", "3", "--npcs", "5"];
    let report = kept(&words, &["session.heartbeat_ms=2000"]);
    assert_eq!(count(&report, "sessions"), 50);
    assert!(count(&report, "heartbeats answered") >= 25);
    assert!(report["figures"]["server KiB a session"].as_f64().is_some());
    percentiles(&report, "connect to ready");
}

#[test]
fn storm() {
    // A turn lasts 12 seconds or more, so that it is not over before the storms are.
    let words = ["storm", "--clients", "40", "--storms", "2", "--calm", "0.2"];
    let report = kept(&words, &["engine.script_tokens_per_second=4"]);
    assert_eq!(count(&report, "sessions resumed"), 80);
    assert_eq!(count(&report, "turns with exactly their text"), 40);
    percentiles(&report, "cut to resumed");
}

#[test]
fn slow() {
    // More than the kernel and the gateway's queue hold for a player that does not read.
    let sets = ["engine.script_tokens_per_second=500", "turn.ignore_end=true", "turn.max_tokens=900"];
    let words = ["slow", "--clients", "3", "--honest", "3", "--asleep", "6", "--duration", "0"];
    let report = kept(&words, &[&sets[..], &["session.replay_bytes=16777216"]].concat());
    assert_eq!(count(&report, "slow players who got everything by resuming"), 3, "{report:#}");
    assert!(count(&report, "visits") >= 3);

    // The same where the gateway cannot hold all that was missed.
    let report = kept(&words, &sets);
    assert_eq!(count(&report, "slow players who missed too much (gap)"), 3, "{report:#}");
}

#[test]
fn flood() {
    let words = ["flood", "--clients", "5", "--honest", "3", "--duration", "3"];
    let report = kept(&words, &["session.frames_per_second=50", "session.turns_per_minute=60"]);
    assert!(count(&report, "frames of floods") > 0 && count(&report, "lines answered") >= 3);
    let words = [&words[..], &["--unlimited"]].concat();
    kept(&words, &[]);
}

#[test]
fn push() {
    let gateway = program();
    let words = [
        "push",
        "--gateway",
        gateway.to_str().unwrap(),
        "--clients",
        "4",
        "--rounds",
        "1",
        "--turns",
        "2",
        "--tokens",
        "100",
        "--pace",
        "100",
        "--late-rounds",
        "1",
        "--late-tokens",
        "50",
    ];
    let (code, report, text) = bots(&words);
    assert_eq!(code, 0, "{text}");
    assert_eq!(report["figures"]["frames of a turn"], 102.0);
    for figure in
        ["gateway over bare, each sent", "gateway over bare, gathered", "gateway CPU us a frame, paced"]
    {
        assert!(report["figures"][figure].as_f64() > Some(0.0), "{figure} in {report:#}");
    }
    percentiles(&report, "gateway: delta late by");
    percentiles(&report, "bare: delta late by");
    // No gateway is a million times as fast.
    let (code, report, text) = bots(&[&words[..], &["--at-least", "1000000"]].concat());
    assert_eq!((code, &report["broken"]), (1, &1.into()), "{text}");
}

#[test]
fn who_asks_for_nonsense_or_for_nobody_is_told_so() {
    let (code, _, text) = bots(&["chat", "--clients", "many"]);
    assert_eq!(code, 2, "{text}");
    // Bound, and not listened on.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, text) = bots(&["chat", "--url", &nobody.to_string()]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("--url"), "{text}");
}

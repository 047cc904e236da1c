//! The conformance suite (`schemas/conformance/`) against the real gateway, and against servers that are wrong.

mod gateway;
mod wrong;

use std::collections::{BTreeMap, BTreeSet};

use clap::Parser;
use gateway::{Gateway, Keys};
use npc_conformance::{Options, Outcome, Report};

/// What takes too long for a test: two minutes each. Run by hand with `--longest-wait 130000`.
const TOO_LONG: [&str; 1] = ["cancel/turns_are_forgotten_after_120_s"];

async fn conform(address: &str, words: &[&str]) -> Report {
    let options = Options::try_parse_from([&["npc-conformance", address], words].concat()).unwrap();
    npc_conformance::run(&options).await.unwrap()
}

fn all_pass(report: &Report) {
    println!("{report}");
    assert!(report.passed() > 0);
    assert_eq!(report.failures(), Vec::<&str>::new());
}

/// Every case passes in each of its subprotocols in one of three runs: `dev` mode, `jwt` mode, and a server that loses
/// patience soon.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_conforms() {
    let keys = Keys::new();
    let dev = async {
        let gateway = Gateway::start(&[]);
        conform(&gateway.address, &["--drain-pid", &gateway.pid()]).await
    };
    let jwt = async {
        let sets = keys.settings();
        let gateway = Gateway::start(
            &[&sets[..], &["auth.issuers=studio".into(), "auth.audiences=game".into()]].concat(),
        );
        let words = [
            "--jwt-issuer",
            "studio",
            "--jwt-audience",
            "game",
            "--told",
            "issuer=1",
            "--told",
            "leeway_s=0",
        ];
        let (secret, pid) = (keys.secret(), gateway.pid());
        let words = [&words[..], &["--jwt-kid", "hs", "--jwt-secret", &secret, "--drain-pid", &pid]].concat();
        conform(&gateway.address, &words).await
    };
    let impatient = async {
        let times = [
            "heartbeat_ms=2000",
            "identify_timeout_ms=3000",
            "idle_timeout_ms=10000",
            "resume_window_ms=3000",
        ];
        let times: Vec<String> = times.iter().map(|time| format!("session.{time}")).collect();
        let gateway = Gateway::start(&[keys.settings(), times].concat());
        let mut words = vec!["--jwt-kid", "ed", "--jwt-key"];
        let key = keys.private_key();
        words.extend([key.as_str(), "--told", "leeway_s=0", "--told", "idle_timeout_ms=10000"]);
        for case in
            ["heartbeat", "idle_4006", "identify_timeout", "resume/expired", "tokens/", "forbidden_4503"]
        {
            words.extend(["--filter", case]);
        }
        conform(&gateway.address, &words).await
    };
    let reports = tokio::join!(dev, jwt, impatient);
    let mut best = BTreeMap::<(String, &str), Vec<Outcome>>::new();
    for report in [reports.0, reports.1, reports.2] {
        all_pass(&report);
        for verdict in report.verdicts {
            best.entry((verdict.case, verdict.subprotocol)).or_default().push(verdict.outcome);
        }
    }
    let (mut missing, mut skipped) = (BTreeSet::new(), BTreeSet::new());
    for ((case, _), outcomes) in &best {
        if outcomes.contains(&Outcome::Passed) {
            continue;
        }
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::NotAvailable { .. })) {
            missing.insert(case.as_str());
        } else {
            skipped.insert(case.as_str());
        }
    }
    assert_eq!(missing, BTreeSet::new());
    assert_eq!(skipped, TOO_LONG.into());
}

/// With the real model behind it: everything that a turn is in.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_conforms_with_its_model() {
    let gateway = Gateway::start_with_model(&["turn.queue_timeout_ms=600000".into()]);
    let filters = ["talking/", "cancel/", "idempotency/", "resume/", "joining/focus", "framing/"];
    let words: Vec<&str> = filters.iter().flat_map(|filter| ["--filter", filter]).collect();
    let report =
        conform(&gateway.address, &[&words[..], &["--jobs", "4", "--patience", "300"]].concat()).await;
    assert_eq!(report.engine, "model");
    all_pass(&report);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let options = Options::try_parse_from(["npc-conformance", "127.0.0.1:1"]).unwrap();
    assert!(npc_conformance::run(&options).await.is_err());
}

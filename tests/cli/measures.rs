//! What is measured, small.

use std::process::Stdio;

use crate::support::{complaint, gateway, needed, refused, serve_with};

#[test]
fn the_socket_is_measured_with_adapters_that_differ() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let json = place.path().join("figures.json");
    let words = "bench socket --rows 2 --adapters none,different --prompt-tokens 60 --tokens 4 --requests 1 \
                 --repeats 1 --conversation 2 --set log.level=warn --model";
    let mut bench = gateway(&words.split_whitespace().collect::<Vec<_>>());
    bench.arg(needed("NPC_GATEWAY_TEST_MODEL")).env("ORT_DYLIB_PATH", needed("ORT_DYLIB_PATH"));
    let output = bench.arg("--json").arg(&json).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    for row in ["| 2 | none | 0 |", "| 2 | different | 4 |", "| of 2 lines |"] {
        assert!(table.contains(row), "{row}: {table}");
    }
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!((&report["via"], &report["fixed_length"]), (&"socket".into(), &true.into()));
    for figures in report["results"].as_array().unwrap() {
        assert_eq!(figures["answer_tokens"], 4.0, "{figures}");
        let prompt = figures["prompt_tokens"].as_f64().unwrap();
        assert!((50.0..=70.0).contains(&prompt), "{figures}");
        assert!(
            figures["cached_tokens"].as_f64().unwrap() < 20.0,
            "no prompt begins like another: {figures}"
        );
        assert!(figures["warm_cached_share"].as_f64().unwrap() > 0.5, "{figures}");
        assert!(figures["tokens_per_second"].as_f64().unwrap() > 0.0, "{figures}");
    }
    assert_eq!(report["results"][1]["adapters_each"], 4.0);
    let conversation = &report["conversation"];
    assert!(conversation["second_cached_tokens"].as_f64().unwrap() >= 200.0, "{conversation}");

    let mut nowhere = gateway(&["bench", "socket", "--url", "ws://127.0.0.1:9/ws"]);
    nowhere.stdin(Stdio::null());
    let said = refused(nowhere, 1);
    assert!(said.contains("nothing listens at ws://127.0.0.1:9/ws"), "{said}");
}

#[test]
fn the_journal_is_measured() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut bench = gateway(&["bench", "journal", "--writers", "1,8", "--rates", "50", "--seconds", "1"]);
    let output = bench.arg("--data").arg(place.path()).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<f64>> = table
        .lines()
        .skip(1)
        .map(|row| row[22..].split_whitespace().map(|cell| cell.parse().unwrap()).collect())
        .collect();
    assert_eq!(rows.len(), 3, "{table}");
    for row in rows {
        let [rate, batch, p50, p99, longest] = row[..] else { panic!("{table}") };
        assert!(rate >= 1.0 && batch >= 1.0 && 0.0 < p50 && p50 <= p99 && p99 <= longest, "{table}");
    }
}

#[test]
fn every_line_of_a_load_is_accounted_for() {
    // Four lines at a time have room: two rows and a queue of two. Nobody else is answered by the model.
    let server = serve_with(
        &[
            "engine.rows=2",
            "engine.queue=2",
            "npc.on_overload=error",
            "turn.max_tokens=8",
            "session.turns_per_minute=0",
        ],
        Stdio::null(),
    );
    let url = format!("ws://{}/ws", server.address);
    let load = |words: &str| -> serde_json::Value {
        let words: Vec<&str> = ["bench", "load", "--url", &url].into_iter().chain(words.split(' ')).collect();
        let output = gateway(&words).output().unwrap();
        assert!(output.status.success(), "{}", complaint(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let within = load("--clients 2 --seconds 2 --conversations 8 --tokens 8");
    let count = |tally: &serde_json::Value, name: &str| tally[name].as_u64().unwrap();
    assert!(count(&within, "sent") >= 2, "{within}");
    assert_eq!(count(&within, "answered"), count(&within, "sent"), "{within}");

    let beyond = load("--rate 200 --seconds 2 --conversations 16 --tokens 8");
    assert!(count(&beyond, "refused") > 0 && count(&beyond, "answered") > 0, "{beyond}");
    assert_eq!(count(&beyond, "answered") + count(&beyond, "refused"), count(&beyond, "sent"), "{beyond}");
    for none in ["scripted", "refused_without_retry", "failed", "lost", "extra_frames", "closed_sockets"] {
        assert_eq!((count(&within, none), count(&beyond, none)), (0, 0), "{none}: {within} {beyond}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_planners_memory_is_that_of_the_process() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let json = place.path().join("figures.json");
    let words = "bench engine --what memory --set log.level=warn --model";
    let mut bench = gateway(&words.split_whitespace().collect::<Vec<_>>());
    bench.arg(needed("NPC_GATEWAY_TEST_MODEL")).env("ORT_DYLIB_PATH", needed("ORT_DYLIB_PATH"));
    let output = bench.arg("--json").arg(&json).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let states = report["memory"]["states"].as_array().unwrap();
    assert_eq!(states.len(), 3);
    // The planner's figure is that of the native decoder, which a CPU without VNNI does not have.
    for state in states.iter().filter(|_| report["decoder"] == "native") {
        let error = state["error"].as_f64().unwrap();
        assert!(error.abs() < 0.1, "{state}");
    }
}

//! How much, how fast and how long: each limit names itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{BOTH, Encoding};
use crate::server::TestServer;

fn heartbeat(cid: u64) -> Value {
    json!({"op": "heartbeat", "cid": cid, "d": {"seq": 0}})
}

#[tokio::test]
async fn ready_tells_the_limits() {
    let server = TestServer::start(&["session.frames_per_second=7", "session.turns_per_minute=0"]).await;
    let client = server.identified(Encoding::Json, "a").await;
    let limits = &client.ready["d"]["limits"];
    assert_eq!((&limits["frames_per_second"], &limits["frames_burst"]), (&json!(7), &json!(100)));
    assert_eq!((limits.get("turns_per_minute"), limits.get("turns_burst")), (None, None));
}

#[tokio::test]
async fn frames_past_the_rate_are_refused() {
    // Slow, so that nothing is given back while the test sends.
    let server = TestServer::start(&["session.frames_per_second=1", "session.frames_burst=40"]).await;
    for encoding in BOTH {
        let player = encoding.name();
        let mut client = server.identified(encoding, player).await;
        for cid in 0..60 {
            client.send(&heartbeat(cid)).await;
        }
        let mut refused = Vec::new();
        for cid in 0..60 {
            let answer = client.recv().await;
            assert_eq!(answer["cid"], cid, "in order");
            match answer["op"].as_str().unwrap() {
                "heartbeat_ack" => {}
                "error" => refused.push(answer),
                other => panic!("{other}"),
            }
        }
        let error = &refused.last().expect("some are refused")["d"];
        assert_eq!((&error["code"], &error["temporary"]), (&json!("rate_limited"), &json!(true)), "{error}");
        assert_eq!(error["limit"], 1);
        assert!(error["message"].as_str().unwrap().contains("session.frames_per_second"), "{error}");
        let wait = error["retry_after_ms"].as_u64().unwrap();
        assert!((1..=1001).contains(&wait), "{error}");
        // Counted by player: another session has no more, another player has.
        let mut second = server.identified(encoding, player).await;
        let mut other = server.identified(encoding, &format!("other-{player}")).await;
        second.refused("npc.leave", json!({"npc": "n"}), "rate_limited").await;
        other.is_alive().await;
        // As advised, again.
        tokio::time::sleep(Duration::from_millis(wait)).await;
        second.refused("npc.leave", json!({"npc": "n"}), "unknown_npc").await;
    }
}

#[tokio::test]
async fn who_goes_on_flooding_is_closed_with_4004() {
    let server = TestServer::start(&["session.frames_per_second=1", "session.frames_burst=20"]).await;
    for encoding in BOTH {
        let mut client = server.identified(encoding, encoding.name()).await;
        for cid in 0..500 {
            client.send_anyway(encoding.message(&heartbeat(cid))).await;
        }
        let answers = client.closed(4004, "rate_limited").await;
        let errors = answers.iter().filter(|answer| answer["op"] == "error").count();
        // Whoever has identified has used one frame of the patience.
        assert!((19..100).contains(&errors), "{errors} of {}", answers.len());
        // Nobody else is concerned.
        server.identified(encoding, "quiet").await.is_alive().await;
    }
}

#[tokio::test]
async fn a_flood_before_identify_is_closed_too() {
    let server = TestServer::start(&[
        "session.frames_per_second=1",
        "session.frames_burst=20",
        "session.identify_timeout_ms=60000",
    ])
    .await;
    for encoding in BOTH {
        let mut client = server.connect(encoding).await;
        for _ in 0..200 {
            client.send_anyway(encoding.message(&json!({"op": "identify", "d": {}}))).await;
        }
        let answers = client.closed(4004, "rate_limited").await;
        assert!((20..100).contains(&answers.len()), "{}", answers.len());
    }
}

#[tokio::test]
async fn lines_past_the_rate_are_refused() {
    let server = TestServer::start(&["session.turns_per_minute=1", "session.turns_burst=2"]).await;
    for encoding in BOTH {
        let mut client = server.joined(encoding, encoding.name(), "n").await;
        let say =
            |turn: &str| json!({"npc": "n", "turn": turn, "text": "Hello.", "generation": {"max_tokens": 2}});
        for turn in ["1", "2"] {
            client.send(&json!({"op": "say", "d": say(turn)})).await;
            client.until("turn.done").await;
        }
        let mut refused = Value::Null;
        // A minute gives one back.
        for turn in ["3", "4"] {
            client.send(&json!({"op": "say", "cid": turn, "d": say(turn)})).await;
            let first = client.recv().await;
            if first["op"] == "error" {
                refused = first;
            } else {
                client.until("turn.done").await;
            }
        }
        let error = &refused["d"];
        assert_eq!(
            (&error["code"], &error["temporary"]),
            (&json!("rate_limited"), &json!(true)),
            "{refused}"
        );
        assert_eq!((&error["npc"], &error["turn"]), (&json!("n"), &refused["cid"]));
        assert_eq!(error["limit"], 1);
        assert!(error["message"].as_str().unwrap().contains("session.turns_per_minute"), "{error}");
        assert!(error["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0 && ms <= 60_001), "{error}");
        // Nothing else is limited by it, not even a line that was said already.
        client.send(&json!({"op": "say", "d": say("1")})).await;
        assert_eq!(client.recv().await["op"], "turn.done");
        assert_eq!(client.ask("cancel", json!({"turn": "1"})).await["op"], "turn.cancelled");
        let mut other = server.joined(encoding, &format!("other-{}", encoding.name()), "n").await;
        other.send(&json!({"op": "say", "d": say("1")})).await;
        other.until("turn.done").await;
    }
}

#[tokio::test]
async fn idle_4006_for_who_sends_nothing_but_heartbeats() {
    let server = TestServer::start(&["session.idle_timeout_ms=2000"]).await;
    for encoding in BOTH {
        let mut client = server.identified(encoding, "a").await;
        let start = Instant::now();
        // What it does keeps it, for longer than it may do nothing.
        let mut acted = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            acted = Instant::now();
            client.refused("npc.leave", json!({"npc": "n"}), "unknown_npc").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        for _ in 0..3 {
            client.is_alive().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        client.closed(4006, "idle").await;
        assert!(acted.elapsed() >= Duration::from_millis(1990), "{:?}", acted.elapsed());
    }
}

#[tokio::test]
async fn idleness_can_be_allowed() {
    let server = TestServer::start(&["session.idle_timeout_ms=0"]).await;
    let mut client = server.identified(Encoding::Json, "a").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.is_alive().await;
}

#[tokio::test]
async fn a_connection_that_does_not_ask_is_closed() {
    let server = TestServer::start(&["session.identify_timeout_ms=1000"]).await;
    // Nothing, a part of a request, and a whole one that keeps the connection.
    for sent in
        ["", "GET /ws HTTP/1.1\r\nHost: localhost\r\n", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let start = Instant::now();
        let mut answer = Vec::new();
        // Whatever is said first, the end comes.
        let read = tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "{sent:?} is held");
        assert!(start.elapsed() >= Duration::from_millis(900), "{sent:?}");
    }
}

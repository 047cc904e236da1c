//! `hello`, `identify`, `ready`, heartbeats, numbering, marks.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::BOTH;
use crate::server::TestServer;

#[tokio::test]
async fn hello_tells_what_a_client_needs() {
    let server = TestServer::start(&["session.heartbeat_ms=1234", "session.max_frame_bytes=5000"]).await;
    for encoding in BOTH {
        let client = server.connect(encoding).await;
        let d = &client.hello["d"];
        assert_eq!(client.hello.get("s"), None);
        assert_eq!(client.hello.get("cid"), None);
        assert_eq!(d["protocol"], 1);
        assert!(d["server"].as_str().unwrap().starts_with("npc-gateway/"), "{d}");
        assert_eq!(d["engine"], "model");
        assert_eq!(d["heartbeat_ms"], 1234);
        assert_eq!(d["identify_timeout_ms"], 5000);
        assert_eq!(d["max_frame_bytes"], 5000);
    }
}

#[tokio::test]
async fn identify_makes_a_session() {
    let server = TestServer::start(&[]).await;
    let mut sessions = Vec::new();
    let mut epochs = Vec::new();
    for encoding in BOTH {
        let mut client = server.connect(encoding).await;
        let client_info = json!({"name": "test", "version": "1", "extra": [1]});
        let d = json!({"token": "Mina", "client": client_info, "protocol": 1, "extra": {"a": {"b": null}}});
        client.send(&json!({"op": "identify", "cid": 7, "d": d, "s": "what", "extra": 1})).await;
        let ready = client.recv().await;
        assert_eq!((&ready["op"], &ready["s"], &ready["cid"]), (&json!("ready"), &json!(1), &json!(7)));
        let d = &ready["d"];
        assert_eq!(d["player"], "Mina");
        assert_eq!(d["scopes"], json!(["play", "director", "admin"]));
        assert!(d["resume_window_ms"].is_u64(), "{d}");
        assert!(d["resume_token"].as_str().is_some_and(|token| token.len() >= 32), "{d}");
        let limits = d["limits"].as_object().unwrap();
        assert_eq!(limits["max_turns"], 16);
        assert!(limits.values().all(Value::is_number), "{d}");
        sessions.push(d["session"].as_str().unwrap().to_owned());
        epochs.push(d["epoch"].as_str().unwrap().to_owned());
    }
    assert_ne!(sessions[0], sessions[1]);
    assert_eq!(epochs[0], epochs[1]);
}

#[tokio::test]
async fn frames_are_numbered_without_gaps_and_marks_come_back() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut client = server.identified(encoding, "a").await;
        // The client checks every `s` it is given, and that those without one may be so.
        for (cid, d) in
            [(json!("x"), json!({"npc": "n", "archetype": "ghoul"})), (json!(9), json!({"npc": "n"}))]
        {
            client.send(&json!({"op": "npc.join", "cid": cid, "d": d})).await;
            let joined = client.recv().await;
            assert_eq!((&joined["op"], &joined["cid"]), (&json!("npc.joined"), &cid));
            client.send(&json!({"op": "heartbeat", "cid": cid, "d": {"seq": client.last_s}})).await;
            let ack = client.recv().await;
            assert_eq!((&ack["op"], &ack["cid"]), (&json!("heartbeat_ack"), &cid));
            assert_eq!(ack["d"], json!({"seq": client.last_s}));
            client.refused("nonsense", json!({}), "unknown_op").await;
        }
        let left = client.ask("npc.leave", json!({"npc": "n"})).await;
        assert_eq!((&left["op"], &left["d"]), (&json!("npc.left"), &json!({"npc": "n"})));
        assert_eq!(left.get("cid"), None);
        assert_eq!(client.last_s, 6);
    }
}

#[tokio::test]
async fn an_error_before_ready_has_no_number() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut client = server.connect(encoding).await;
        let error =
            client.refused("identify", json!({"client": {"name": "a", "version": "1"}}), "bad_payload").await;
        assert_eq!(error["field"], "token");
        client.refused("identify", json!([]), "bad_payload").await;
        let error = client.refused("resume", json!({"session": "x"}), "bad_payload").await;
        assert_eq!(error["field"], "resume_token");
        assert_eq!(client.identify("a").await["s"], 1);
    }
}

#[tokio::test]
async fn a_failed_resume_leaves_the_socket_open() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut client = server.connect(encoding).await;
        let epoch = server.identified(encoding, "b").await.ticket().epoch;
        let resume = json!({"session": "s", "resume_token": "t", "epoch": epoch, "seq": 4});
        client.send(&json!({"op": "resume", "cid": "r", "d": resume})).await;
        let failed = client.recv().await;
        assert_eq!(
            failed,
            json!({"op": "resume_failed", "cid": "r",
                                  "d": {"reason": "unknown_session", "recovered": false}})
        );
        assert_eq!(client.identify("a").await["op"], "ready");
    }
}

#[tokio::test]
async fn a_second_handshake_is_refused_and_the_session_goes_on() {
    let server = TestServer::start(&[]).await;
    let mut client = server.identified(BOTH[0], "a").await;
    let identify = json!({"token": "b", "client": {"name": "test", "version": "1"}});
    client.refused("identify", identify, "bad_payload").await;
    let resume = json!({"session": "s", "resume_token": "t", "epoch": "e", "seq": 4});
    client.refused("resume", resume, "bad_payload").await;
    client.is_alive().await;
}

#[tokio::test]
async fn heartbeats_keep_a_session_alive() {
    let server = TestServer::start(&["session.heartbeat_ms=1500"]).await;
    let mut client = server.identified(BOTH[1], "a").await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        client.is_alive().await;
    }
    client.closed(4003, "heartbeat_timeout").await;
}

#[tokio::test]
async fn a_client_that_closes_gets_its_code_back_and_frees_its_place() {
    let server = TestServer::start(&["session.max_sessions=1"]).await;
    for encoding in BOTH {
        let client = server.identified(encoding, "a").await;
        server.until("sessions", 1).await;
        assert_eq!(client.close(1000).await, 1000);
        server.until("sessions", 0).await;
        server.until("sockets", 0).await;
    }
}

//! Every close code that has a cause in this version. The reason is always the name.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::client::{BOTH, Client, Encoding};
use crate::server::TestServer;

#[tokio::test]
async fn draining_4001() {
    let server = TestServer::start(&["shutdown.grace_ms=0"]).await;
    let mut sockets = Vec::new();
    for encoding in BOTH {
        sockets.push(server.identified(encoding, "a").await);
        sockets.push(server.connect(encoding).await);
    }
    server.shut_down();
    for socket in &mut sockets {
        socket.closed(4001, "draining").await;
    }
    server.ended().await;
}

#[tokio::test]
async fn slow_consumer_4002() {
    let server = TestServer::start(&["session.send_queue_bytes=65536", "session.resume_window_ms=0"]).await;
    for encoding in BOTH {
        let mut client = Client::connect_narrow(server.address, encoding).await;
        let identify = json!({"token": "a", "client": {"name": "test", "version": "1"}});
        client.send(&json!({"op": "identify", "d": identify})).await;
        server.until("sessions", 1).await;
        // Each is answered with about as much, and nothing is read. The server must go on reading after it
        // gave up on this client, or this would not end.
        let frame = json!({"op": "heartbeat", "cid": "x".repeat(30_000), "d": {"seq": 0}});
        for _ in 0..100 {
            client.send_anyway(encoding.message(&frame)).await;
        }
        server.until("sessions", 0).await;
        let frames = client.closed(4002, "slow_consumer").await;
        assert!(frames.len() < 100, "{} answers", frames.len());
        // Another client is not concerned.
        server.identified(encoding, "b").await.is_alive().await;
        server.until("sessions", 0).await;
    }
}

#[tokio::test]
async fn heartbeat_timeout_4003_after_two_intervals() {
    let server = TestServer::start(&["session.heartbeat_ms=1500"]).await;
    for encoding in BOTH {
        let mut client = server.identified(encoding, "a").await;
        let start = Instant::now();
        // Other frames are no heartbeats.
        client.ask("npc.join", json!({"npc": "n", "archetype": "lich"})).await;
        tokio::time::sleep(Duration::from_millis(2250)).await;
        client.ask("npc.leave", json!({"npc": "n"})).await;
        client.closed(4003, "heartbeat_timeout").await;
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(2990) && waited < Duration::from_secs(30), "{waited:?}");
    }
}

#[tokio::test]
async fn session_limit_4005_for_a_player_and_in_all() {
    let limits = ["session.max_sessions=3", "session.max_sessions_per_player=2"];
    let server = TestServer::start(&[limits[0], limits[1], "session.resume_window_ms=0"]).await;
    for encoding in BOTH {
        let first = server.identified(encoding, "a").await;
        let second = server.identified(encoding, "a").await;
        let mut third = server.connect(encoding).await;
        third.send(&identify("a")).await;
        third.closed(4005, "session_limit").await;

        let other = server.identified(encoding, "b").await;
        let mut fourth = server.connect(encoding).await;
        fourth.send(&identify("c")).await;
        fourth.closed(4005, "session_limit").await;

        drop(first);
        server.until("sessions", 2).await;
        server.identified(encoding, "c").await.is_alive().await;
        drop((second, other));
        server.until("sockets", 0).await;
    }
}

fn identify(token: &str) -> serde_json::Value {
    json!({"op": "identify", "d": {"token": token, "client": {"name": "test", "version": "1"}}})
}

#[tokio::test]
async fn bad_frame_4500_for_what_is_no_frame() {
    let server = TestServer::start(&["session.max_frame_bytes=100000"]).await;
    let nested = [b"\x82\xa2op\xa3say\xa1x".to_vec(), vec![0x91; 90_000], vec![0xc0]].concat();
    let binary = [
        &b""[..],
        b"\xc1",
        b"\xc0",
        b"\x01",
        b"\x93\x01\x02\x03",
        b"\xa3say",
        b"\x80",
        b"\x81\xa1d\x80",
        b"\x81\xa2op\x05",
        b"\x81\xa2op\xc0",
        b"\x81\xa2op",
        b"\x81\xa2op\xa9heartbeat\xc0",
        b"\xdf\xff\xff\xff\xff\xa2op",
        &nested,
    ];
    let deep = format!("{{\"op\":\"say\",\"x\":{}", "[".repeat(90_000));
    let text = [
        "",
        "nonsense",
        "null",
        "1",
        "\"say\"",
        "[]",
        "[{\"op\":\"say\"}]",
        "{}",
        "{\"d\":{}}",
        "{\"op\":5}",
        "{\"op\":null}",
        "{\"op\":\"heartbeat\"",
        "{\"op\":\"heartbeat\"}}",
        "{\"op\":\"heartbeat\"}{}",
        &deep,
    ];
    for ready in [false, true] {
        for bytes in binary {
            let mut client = server.connect(Encoding::Msgpack).await;
            if ready {
                client.identify("a").await;
            }
            client.send_message(Message::binary(bytes.to_vec())).await;
            client.closed(4500, "bad_frame").await;
        }
        for text in text {
            let mut client = server.connect(Encoding::Json).await;
            if ready {
                client.identify("a").await;
            }
            client.send_message(Message::text(text)).await;
            client.closed(4500, "bad_frame").await;
        }
        server.until("sessions", 0).await;
    }
}

#[tokio::test]
async fn bad_frame_4500_for_a_message_of_the_wrong_type() {
    let server = TestServer::start(&[]).await;
    for (encoding, other) in [(Encoding::Msgpack, Encoding::Json), (Encoding::Json, Encoding::Msgpack)] {
        let mut client = server.connect(encoding).await;
        client.send_message(other.message(&identify("a"))).await;
        client.closed(4500, "bad_frame").await;

        let mut client = server.identified(encoding, "a").await;
        client.send_message(other.message(&json!({"op": "heartbeat", "d": {"seq": 0}}))).await;
        client.closed(4500, "bad_frame").await;
    }
}

#[tokio::test]
async fn bad_frame_4500_for_an_op_before_identify() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        for op in
            ["heartbeat", "say", "npc.join", "cancel", "playback", "auth", "npc.act", "nonsense", "", "ready"]
        {
            let mut client = server.connect(encoding).await;
            client.send(&json!({"op": op, "d": {"seq": 0}})).await;
            client.closed(4500, "bad_frame").await;
        }
    }
}

#[tokio::test]
async fn unsupported_protocol_4501() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        for version in [0, 2, 99] {
            let mut client = server.connect(encoding).await;
            client.send(&json!({"op": "identify", "d": {"protocol": version, "token": "a"}})).await;
            client.closed(4501, "unsupported_protocol").await;
        }
    }
}

#[tokio::test]
async fn unauthenticated_4502() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        for token in ["", "line\nbreak", "\u{0}", &"x".repeat(65)] {
            let mut client = server.connect(encoding).await;
            client.send(&identify(token)).await;
            client.closed(4502, "unauthenticated").await;
        }
        let mut client = server.connect(encoding).await;
        assert_eq!(client.identify(&"ß".repeat(64)).await["op"], "ready");
    }
}

#[tokio::test]
async fn frame_too_large_4504_reaches_the_client() {
    let server = TestServer::start(&["session.max_frame_bytes=4096"]).await;
    for encoding in BOTH {
        let of_size = |size: usize| {
            let frame = |fill: usize| json!({"op": "heartbeat", "cid": "x".repeat(fill), "d": {"seq": 0}});
            let message = encoding.message(&frame(size - 100));
            let message = encoding.message(&frame(size - 100 + size - message.len()));
            assert_eq!(message.len(), size);
            message
        };
        let mut client = server.identified(encoding, "a").await;
        client.send_message(of_size(4096)).await;
        assert_eq!(client.recv().await["op"], "heartbeat_ack");
        // One byte more; and so much that it is still being sent when the server has long given up on it.
        for size in [4097, 100_000, 8_000_000] {
            let mut client = server.identified(encoding, "b").await;
            client.send_anyway(of_size(size)).await;
            client.closed(4504, "frame_too_large").await;
        }
        // Before the handshake as well.
        let mut client = server.connect(encoding).await;
        client.send_anyway(of_size(4097)).await;
        client.closed(4504, "frame_too_large").await;
        // In pieces of which each is small enough.
        let mut client = server.identified(encoding, "b").await;
        let opcode = if encoding == Encoding::Json { Data::Text } else { Data::Binary };
        for i in 0..5 {
            let opcode = if i == 0 { opcode } else { Data::Continue };
            let piece = Frame::message(vec![b' '; 1000], OpCode::Data(opcode), i == 4);
            client.send_anyway(Message::Frame(piece)).await;
        }
        client.closed(4504, "frame_too_large").await;
    }
}

#[tokio::test]
async fn identify_timeout_4506() {
    let server = TestServer::start(&["session.identify_timeout_ms=2000"]).await;
    for encoding in BOTH {
        let start = Instant::now();
        let mut silent = server.connect(encoding).await;
        // Failing does not buy time.
        let mut failing = server.connect(encoding).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        failing.refused("identify", json!({}), "bad_payload").await;
        silent.closed(4506, "identify_timeout").await;
        failing.closed(4506, "identify_timeout").await;
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(1990) && waited < Duration::from_secs(30), "{waited:?}");
        // Who has identified is not concerned.
        let mut ready = server.identified(encoding, "a").await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        ready.is_alive().await;
    }
}

#[tokio::test]
async fn the_websocket_layer_has_its_own_codes() {
    let server = TestServer::start(&[]).await;
    let mut client = server.identified(Encoding::Json, "a").await;
    client.send_message(Message::Frame(Frame::message(vec![0xff], OpCode::Data(Data::Text), true))).await;
    client.closed(1007, "text that is not UTF-8").await;
    let mut client = server.identified(Encoding::Json, "a").await;
    client.send_message(Message::Frame(Frame::message(vec![b'x'], OpCode::Data(Data::Continue), true))).await;
    client.closed(1002, "not a WebSocket message").await;
}

//! Sessions that wait for their client: which do, for how long, and what they hold meanwhile.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::client::{BOTH, Encoding, Ticket};
use crate::server::{TestServer, engine_stats};
use crate::turns::{check_turn, say, start_long_turn};

#[tokio::test]
async fn a_client_that_is_done_ends_its_session_and_any_other_loss_does_not() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let done = server.identified(encoding, "a").await;
        let ticket = done.ticket();
        assert_eq!(done.close(1000).await, 1000);
        server.until("sessions", 0).await;
        server.connect(encoding).await.not_resumed(&ticket, "unknown_session").await;

        for code in [1001, 3000, 4999] {
            let leaves = server.identified(encoding, "a").await;
            let ticket = leaves.ticket();
            leaves.close(code).await;
            server.until("lost", 1).await;
            let mut back = server.connect(encoding).await;
            back.resume(&ticket).await;
            assert_eq!(back.close(1000).await, 1000);
        }
        let mut wordless = server.identified(encoding, "a").await;
        wordless.send_message(Message::Close(None)).await;
        server.until("lost", 1).await;
        let mut back = server.connect(encoding).await;
        back.resume(&wordless.ticket()).await;
        assert_eq!(back.close(1000).await, 1000);
        server.until("sessions", 0).await;
    }
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_loses_its_session() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let broken = [
            (Message::binary(&b"\xc1"[..]), (4500, "bad_frame")),
            (Message::text("{"), (4500, "bad_frame")),
            (encoding.message(&json!({"op": "x".repeat(100_000)})), (4504, "frame_too_large")),
            (
                Message::Frame(Frame::message(vec![b'x'], OpCode::Data(Data::Continue), true)),
                (1002, "not a WebSocket message"),
            ),
        ];
        for (message, (code, reason)) in broken {
            let mut client = server.identified(encoding, "a").await;
            let ticket = client.ticket();
            client.send_anyway(message).await;
            client.closed(code, reason).await;
            server.until("sessions", 0).await;
            server.connect(encoding).await.not_resumed(&ticket, "unknown_session").await;
        }
    }
}

#[tokio::test]
async fn a_silent_client_can_come_back() {
    let server = TestServer::start(&["session.heartbeat_ms=300"]).await;
    for encoding in BOTH {
        let mut silent = server.identified(encoding, "a").await;
        silent.closed(4003, "heartbeat_timeout").await;
        let mut back = server.connect(encoding).await;
        back.resume(&silent.ticket()).await;
        // From here on it is silent again.
        back.closed(4003, "heartbeat_timeout").await;
    }
}

#[tokio::test]
async fn the_end_of_the_window_frees_the_row_and_the_npc() {
    let server =
        TestServer::start(&["session.resume_window_ms=1500", "npc.max_npcs=1", "turn.ignore_end=true"]).await;
    for encoding in BOTH {
        let mut gone = server.joined(encoding, "a", "n").await;
        let before = engine_stats().abandoned;
        // More to say than fits into the window.
        start_long_turn(&mut gone, "n", &format!("t-{encoding:?}")).await;
        for i in 0..12 {
            gone.send(&json!({"op": "say", "d": say("n", &format!("t{i}-{encoding:?}"), 400)})).await;
        }
        let ticket = gone.ticket();
        let lost = Instant::now();
        drop(gone);
        server.until("lost", 1).await;
        // While it waits the NPC is met, and not to be forgotten for another one.
        let mut other = server.identified(Encoding::Json, "b").await;
        other.refused("npc.join", json!({"npc": "m", "archetype": "lich"}), "overloaded").await;
        server.until("lost", 0).await;
        assert!(lost.elapsed() >= Duration::from_millis(1490), "{:?}", lost.elapsed());
        server.until("sessions", 1).await;
        let start = Instant::now();
        while engine_stats().abandoned == before {
            assert!(start.elapsed() < Duration::from_secs(20), "the row is still taken");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut late = server.connect(encoding).await;
        late.not_resumed(&ticket, "expired").await;
        late.not_resumed(&Ticket { token: "x".into(), ..ticket }, "bad_token").await;
        assert_eq!(late.identify("a").await["op"], "ready");
        // The NPC is free once the turns that were waiting for it are stored.
        let start = Instant::now();
        loop {
            let answer = other.ask("npc.join", json!({"npc": "m", "archetype": "lich"})).await;
            if answer["op"] == "npc.joined" {
                break;
            }
            assert_eq!(answer["d"]["code"], "overloaded", "{answer}");
            assert!(start.elapsed() < Duration::from_mins(1), "the npc is still met");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((other.close(1000).await, late.close(1000).await), (1000, 1000));
        server.until("sessions", 0).await;
    }
}

#[tokio::test]
async fn a_session_that_came_back_has_the_whole_window_again() {
    let server = TestServer::start(&["session.resume_window_ms=1500"]).await;
    let mut client = server.identified(Encoding::Json, "a").await;
    let mut ticket = client.ticket();
    let start = Instant::now();
    // Longer away, all in all, than the window; and once longer there.
    for _ in 0..3 {
        drop(client);
        tokio::time::sleep(Duration::from_millis(700)).await;
        client = server.connect(Encoding::Json).await;
        (_, ticket) = client.resume(&ticket).await;
    }
    assert!(start.elapsed() > Duration::from_millis(1500));
    tokio::time::sleep(Duration::from_millis(1600)).await;
    client.is_alive().await;
}

#[tokio::test]
async fn a_player_at_the_limit_gets_in_again_after_a_crash() {
    let server = TestServer::start(&["session.max_sessions=3", "session.max_sessions_per_player=2"]).await;
    for encoding in BOTH {
        let first = server.identified(encoding, "a").await;
        let second = server.identified(encoding, "a").await;
        let other = server.identified(encoding, "b").await;
        let tickets = [first.ticket(), second.ticket()];
        // The first one is lost first, and goes first; what is there stays.
        drop(first);
        server.until("lost", 1).await;
        let mut third = server.identified(encoding, "a").await;
        server.until("lost", 0).await;
        drop(second);
        server.until("lost", 1).await;
        let mut fourth = server.identified(encoding, "a").await;
        let mut asks = server.connect(encoding).await;
        for ticket in &tickets {
            asks.not_resumed(ticket, "expired").await;
        }
        for client in [&mut third, &mut fourth] {
            client.is_alive().await;
        }
        // All there are are there: nobody gives way.
        for player in ["a", "c"] {
            let mut one_more = server.connect(encoding).await;
            one_more
                .send(&json!({"op": "identify", "d": {"token": player, "client": {"name": "t", "version": "1"}}}))
                .await;
            one_more.closed(4005, "session_limit").await;
        }
        for client in [third, fourth, other] {
            client.close(1000).await;
        }
        server.until("sessions", 0).await;
    }
}

#[tokio::test]
async fn those_who_listen_miss_nothing_either() {
    let server = TestServer::start(&[]).await;
    let mut speaker = server.joined(Encoding::Msgpack, "a", "n").await;
    let listener = server.joined(Encoding::Json, "b", "n").await;
    let ticket = listener.ticket();
    drop(listener);
    server.until("lost", 1).await;
    let mut line = say("n", "t", 8);
    line["audience"] = json!(["b"]);
    speaker.send(&json!({"op": "say", "d": line})).await;
    let said = speaker.until("turn.done").await;
    let mut listener = server.connect(Encoding::Json).await;
    let (heard, _) = listener.resume(&ticket).await;
    assert_eq!(check_turn(&heard, "t", "a"), check_turn(&said, "t", "a"));
}

#[tokio::test]
async fn a_shutdown_lets_a_turn_without_a_socket_end_and_its_client_have_it() {
    let server = TestServer::start(&["shutdown.grace_ms=60000", "turn.ignore_end=true"]).await;
    let mut client = server.joined(Encoding::Json, "a", "n").await;
    client.send(&json!({"op": "say", "d": say("n", "t", 60)})).await;
    let mut frames = vec![client.recv().await];
    let ticket = client.ticket();
    drop(client);
    server.until("lost", 1).await;
    server.shut_down();
    server.until("draining", true).await;
    let mut client = server.connect(Encoding::Json).await;
    frames.extend(client.resume(&ticket).await.0);
    frames.extend(client.closed(4001, "draining").await);
    check_turn(&frames, "t", "a");
    assert_eq!(frames.last().unwrap()["d"]["usage"]["generated_tokens"], 60);
    server.ended().await;
}

#[tokio::test]
async fn turns_that_outlast_the_grace_are_cancelled_and_their_clients_told() {
    let server =
        TestServer::start(&["shutdown.grace_ms=0", "turn.ignore_end=true", "shutdown.batch=1"]).await;
    let mut clients = Vec::new();
    for i in 0..4 {
        let mut client = server.joined(BOTH[i % 2], &format!("p{i}"), &format!("n{i}")).await;
        start_long_turn(&mut client, &format!("n{i}"), "t").await;
        clients.push(client);
    }
    // One of them is lost: its turn must not keep the server either.
    drop(clients.pop());
    server.until("lost", 1).await;
    server.shut_down();
    for client in &mut clients {
        let frames = client.closed(4001, "draining").await;
        let done: Vec<_> = frames.iter().filter(|frame| frame["op"] == "turn.done").collect();
        assert_eq!((done.len(), &done[0]["d"]["reason"]), (1, &json!("cancelled")));
        assert_eq!(frames.last().unwrap(), done[0]);
    }
    server.ended().await;
}

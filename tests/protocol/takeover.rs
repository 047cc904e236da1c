//! A second socket that takes a session from the first.

use serde_json::json;

use crate::client::{BOTH, Client, Encoding};
use crate::server::TestServer;
use crate::turns::{check_turn, say};

#[tokio::test]
async fn session_replaced_4505() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut first = server.joined(encoding, "a", "n").await;
        let mut second = server.connect(encoding).await;
        let (missed, ticket) = second.resume(&first.ticket()).await;
        assert_eq!(missed.len(), 0);
        first.closed(4505, "session_replaced").await;
        second.is_alive().await;
        // The end of the first socket is not the session's: it was neither lost nor ended.
        server.until("sockets", 1).await;
        server.until("lost", 0).await;
        second.ask("npc.leave", json!({"npc": "n"})).await;
        // And back again.
        let mut third = server.connect(encoding).await;
        third.resume(&crate::client::Ticket { seq: second.last_s, ..ticket }).await;
        second.closed(4505, "session_replaced").await;
        third.is_alive().await;
        assert_eq!(third.close(1000).await, 1000);
        server.until("sessions", 0).await;
    }
}

#[tokio::test]
async fn a_turn_moves_to_the_new_socket() {
    let server = TestServer::start(&["turn.ignore_end=true"]).await;
    for encoding in BOTH {
        let npc = format!("n-{encoding:?}");
        let turn = format!("t-{encoding:?}");
        let mut first = server.joined(encoding, "a", &npc).await;
        first.send(&json!({"op": "say", "d": say(&npc, &turn, 60)})).await;
        let mut frames = first.until("dialogue.delta").await;
        let mut second = server.connect(encoding).await;
        frames.extend(second.resume(&first.ticket()).await.0);
        // What the first still got came before the resume, and is nothing that the second lacks.
        let late = first.closed(4505, "session_replaced").await;
        for frame in &late {
            assert!(frames.contains(frame), "{frame}");
        }
        if frames.last().unwrap()["op"] != "turn.done" {
            frames.extend(second.until("turn.done").await);
        }
        check_turn(&frames, &turn, "a");
    }
}

#[tokio::test]
async fn a_socket_that_reads_nothing_does_not_hold_its_session() {
    let server =
        TestServer::start(&["session.send_queue_bytes=1048576", "session.replay_bytes=4194304"]).await;
    let mut stuck = Client::connect_narrow(server.address, Encoding::Msgpack).await;
    stuck.recv().await;
    stuck.ready = stuck.identify("a").await;
    stuck.ask("npc.join", json!({"npc": "n", "archetype": "lich"})).await;
    let ticket = stuck.ticket();
    for _ in 0..30 {
        stuck.send(&json!({"op": "npc.join", "cid": "x".repeat(30_000), "d": {"npc": "n"}})).await;
    }
    // Answered, and most of it unread.
    let mut watches = server.identified(Encoding::Json, "b").await;
    watches.is_alive().await;
    let mut next = server.connect(Encoding::Msgpack).await;
    next.resume(&ticket).await;
    next.is_alive().await;
    server.until("lost", 0).await;
    drop(stuck);
    next.is_alive().await;
}

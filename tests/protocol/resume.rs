//! A session that lost its socket, taken up on another one: whole, or refused with a reason.

use serde_json::{Value, json};

use crate::client::{BOTH, Client, Encoding, Ticket};
use crate::server::TestServer;
use crate::turns::{check_turn, say};

/// Sends a frame whose answer is numbered and about `bytes` long; does not read it.
async fn ask_for(client: &mut Client, bytes: usize) {
    client.send(&json!({"op": "npc.join", "cid": "x".repeat(bytes), "d": {"npc": "n"}})).await;
}

#[tokio::test]
async fn what_was_missed_comes_again_byte_for_byte() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let npc = format!("n-{encoding:?}");
        let mut client = server.joined(encoding, "a", &npc).await;
        client.send(&json!({"op": "say", "cid": 1, "d": say(&npc, "t", 8)})).await;
        client.until("turn.done").await;
        client.refused("nonsense", json!({}), "unknown_op").await;
        let ticket = client.ticket();
        let sent = std::mem::take(&mut client.numbered);
        drop(client);

        // From every point on, the first frame too.
        let mut token = ticket.token.clone();
        for seq in [0, 1, 2, ticket.seq - 1, ticket.seq] {
            let mut client = server.connect(encoding).await;
            let (missed, next) = client.resume(&Ticket { token, seq, ..ticket.clone() }).await;
            assert_eq!(missed.len() as u64, ticket.seq - seq);
            assert!(client.numbered == sent[seq as usize..], "other bytes than the first time");
            token = next.token;
        }
        // It is the same session: it knows the NPC and goes on counting.
        let mut client = server.connect(encoding).await;
        client.resume(&Ticket { token, ..ticket.clone() }).await;
        client.ask("npc.leave", json!({"npc": npc})).await;
        assert_eq!(client.last_s, ticket.seq + 1);
    }
}

#[tokio::test]
async fn every_reason_and_the_socket_stays_open() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut client = server.joined(encoding, "a", "n").await;
        client.send(&json!({"op": "heartbeat", "d": {"seq": 1}})).await;
        client.recv().await;
        let ticket = client.ticket();
        let with = |change: fn(&mut Ticket)| {
            let mut ticket = ticket.clone();
            change(&mut ticket);
            ticket
        };
        let refused = [
            (with(|t| t.epoch = "e".into()), "epoch_changed"),
            (with(|t| t.session = "s".into()), "unknown_session"),
            (with(|t| t.session = "0123456789abcdef0123456789abcdef".into()), "unknown_session"),
            (with(|t| t.token = t.session.clone()), "bad_token"),
            (with(|t| t.token = String::new()), "bad_token"),
            // Who has no token learns nothing else.
            (with(|t| (t.token, t.seq) = (t.epoch.clone(), 99)), "bad_token"),
            // Not sent yet, and acknowledged.
            (with(|t| t.seq += 1), "gap"),
            (with(|t| t.seq = u64::MAX), "gap"),
            (with(|t| t.seq = 0), "gap"),
        ];
        let other = BOTH[usize::from(encoding == BOTH[0])];
        let mut client = Some(client);
        for lost in [false, true] {
            if lost {
                client = None;
                server.until("lost", 1).await;
            }
            let mut asks = server.connect(encoding).await;
            for (ticket, reason) in &refused {
                asks.not_resumed(ticket, reason).await;
            }
            assert_eq!(asks.identify("b").await["s"], 1);
            assert_eq!(asks.close(1000).await, 1000);
            let mut asks = server.connect(other).await;
            asks.not_resumed(&ticket, "bad_subprotocol").await;
            assert_eq!(asks.identify("b").await["s"], 1);
            assert_eq!(asks.close(1000).await, 1000);
            if let Some(client) = &mut client {
                // None of this has touched the session, and its socket even less.
                client.is_alive().await;
            }
        }
        let mut client = server.connect(encoding).await;
        let (missed, _) = client.resume(&with(|t| t.seq = 1)).await;
        assert_eq!((missed.len(), &missed[0]["op"]), (1, &json!("npc.joined")));
        assert_eq!(client.close(1000).await, 1000);
    }
}

#[tokio::test]
async fn a_failed_resume_may_be_followed_by_a_good_one() {
    let server = TestServer::start(&[]).await;
    let ticket = server.identified(Encoding::Json, "a").await.ticket();
    let mut client = server.connect(Encoding::Json).await;
    client.not_resumed(&Ticket { token: "no".into(), ..ticket.clone() }, "bad_token").await;
    client.resume(&ticket).await;
    client.is_alive().await;
}

#[tokio::test]
async fn the_token_changes_and_the_old_one_ends_with_the_first_frame() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let first = server.identified(encoding, "a").await.ticket();
        // The answer may be lost with its socket, more than once: the token that was used goes on working.
        let mut client = server.connect(encoding).await;
        client.resume(&first).await;
        let mut client = server.connect(encoding).await;
        let (_, second) = client.resume(&first).await;
        let mut client = server.connect(encoding).await;
        let (_, third) = client.resume(&second).await;
        client.is_alive().await;
        // From here on the client has the newest.
        let mut client = server.connect(encoding).await;
        for old in [&first, &second] {
            client.not_resumed(old, "bad_token").await;
        }
        client.resume(&third).await;
    }
}

#[tokio::test]
async fn a_heartbeat_forgets_what_the_client_has() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut client = server.joined(encoding, "a", "n").await;
        // Not sent yet: nothing happens.
        for seq in [3, u64::MAX] {
            assert_eq!(client.ask("heartbeat", json!({"seq": seq})).await["d"], json!({"seq": seq}));
        }
        let ticket = client.ticket();
        drop(client);
        let mut client = server.connect(encoding).await;
        let (missed, ticket) = client.resume(&Ticket { seq: 0, ..ticket }).await;
        assert_eq!(missed.len(), 2);
        for seq in [1, 0] {
            assert_eq!(client.ask("heartbeat", json!({"seq": seq})).await["d"], json!({"seq": seq}));
        }
        drop(client);
        let mut client = server.connect(encoding).await;
        client.not_resumed(&Ticket { seq: 0, ..ticket.clone() }, "gap").await;
        let (missed, _) = client.resume(&Ticket { seq: 1, ..ticket }).await;
        assert_eq!(missed.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_streams_meanwhile_has_no_gap_and_no_repeat() {
    let server = TestServer::start(&["turn.ignore_end=true"]).await;
    for encoding in BOTH {
        let npc = format!("n-{encoding:?}");
        let mut client = server.joined(encoding, "a", &npc).await;
        client.send(&json!({"op": "say", "d": say(&npc, "t", 120)})).await;
        let mut frames = vec![client.recv().await];
        let mut ticket = client.ticket();
        // Each time on a new socket, without waiting for the old one's end.
        let mut resumed = 0;
        while frames.last().unwrap()["op"] != "turn.done" {
            for _ in 0..3 {
                if frames.last().unwrap()["op"] == "turn.done" {
                    break;
                }
                frames.push(client.recv().await);
            }
            ticket.seq = client.last_s;
            client = server.connect(encoding).await;
            let missed;
            (missed, ticket) = client.resume(&ticket).await;
            frames.extend(missed);
            resumed += 1;
        }
        check_turn(&frames, "t", "a");
        assert_eq!(frames.last().unwrap()["d"]["usage"]["generated_tokens"], 120);
        assert!(resumed > 3, "{resumed}");
        client.is_alive().await;
    }
}

#[tokio::test]
async fn a_turn_goes_on_without_a_socket() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let npc = format!("n-{encoding:?}");
        let turn = format!("t-{encoding:?}");
        let mut client = server.joined(encoding, "a", &npc).await;
        let mut frames = Vec::new();
        client.send(&json!({"op": "say", "d": say(&npc, &turn, 40)})).await;
        frames.push(client.recv().await);
        let ticket = client.ticket();
        drop(client);
        server.until("lost", 1).await;
        // Another session sees when it is over, and what was said.
        let mut other = server.joined(encoding, "a", &npc).await;
        let stored = loop {
            let answer = other.ask("say", say(&npc, &turn, 40)).await;
            if answer["op"] == "turn.done" {
                break answer["d"].clone();
            }
            assert_eq!(answer["d"]["code"], "duplicate_turn", "{answer}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        let mut client = server.connect(encoding).await;
        frames.extend(client.resume(&ticket).await.0);
        check_turn(&frames, &turn, "a");
        assert_eq!(frames.last().unwrap()["d"], stored);
        // Both say goodbye, so that the next encoding finds no one.
        assert_eq!((client.close(1000).await, other.close(1000).await), (1000, 1000));
        server.until("sessions", 0).await;
    }
}

#[tokio::test]
async fn a_reader_that_was_too_slow_gets_the_rest_on_its_next_socket() {
    let server =
        TestServer::start(&["session.send_queue_bytes=65536", "session.replay_bytes=16777216"]).await;
    for encoding in BOTH {
        let mut client = Client::connect_narrow(server.address, encoding).await;
        client.recv().await;
        client.ready = client.identify("a").await;
        client.ask("npc.join", json!({"npc": "n", "archetype": "lich"})).await;
        let start = client.ticket();
        let frame = json!({"op": "npc.join", "cid": "x".repeat(30_000), "d": {"npc": "n"}});
        for _ in 0..100 {
            client.send_anyway(encoding.message(&frame)).await;
        }
        client.closed(4002, "slow_consumer").await;
        let mut next = server.connect(encoding).await;
        // What it did not get, and for good measure all that it did, which is more than a queue takes.
        let (missed, ticket) = next.resume(&start).await;
        let bytes: usize = next.numbered.iter().map(|message| message.clone().into_data().len()).sum();
        assert!(bytes > 65536, "{bytes}");
        assert!(ticket.seq > client.last_s, "the queue that was dropped: {} {}", ticket.seq, client.last_s);
        assert!(missed.iter().all(|frame| frame["op"] == "npc.joined"));
        next.is_alive().await;
    }
}

#[tokio::test]
async fn what_is_no_longer_held_is_a_gap_and_never_a_part() {
    let server = TestServer::start(&["session.replay_bytes=4096"]).await;
    for encoding in BOTH {
        let mut client = server.joined(encoding, "a", "n").await;
        for _ in 0..20 {
            ask_for(&mut client, 700).await;
            client.recv().await;
        }
        // Larger than all that may be held, then a small one.
        let before = client.ticket();
        let mut asks = server.connect(encoding).await;
        asks.not_resumed(&Ticket { seq: 0, ..before.clone() }, "gap").await;
        ask_for(&mut client, 5000).await;
        client.recv().await;
        ask_for(&mut client, 10).await;
        client.recv().await;
        let ticket = client.ticket();
        drop(client);
        for seq in 0..=before.seq {
            asks.not_resumed(&Ticket { seq, ..ticket.clone() }, "gap").await;
        }
        let (missed, _) = asks.resume(&Ticket { seq: before.seq + 1, ..ticket }).await;
        assert_eq!(missed.len(), 1);
    }
}

#[tokio::test]
async fn all_sessions_together_hold_no_more_than_they_may() {
    let server = TestServer::start(&["session.replay_total_mb=1", "session.replay_bytes=1000000"]).await;
    let mut clients = Vec::new();
    for i in 0..3 {
        let mut client = server.joined(Encoding::Msgpack, &format!("p{i}"), "n").await;
        let ready = client.ticket();
        for _ in 0..30 {
            ask_for(&mut client, 30_000).await;
            client.recv().await;
        }
        clients.push((client, ready));
    }
    // 2.7 MB were sent, and each client alone may hold all of its own.
    let mut held = 0;
    for (client, ready) in clients {
        let newest = client.ticket();
        drop(client);
        let mut asks = server.connect(Encoding::Msgpack).await;
        // The oldest frame from which on there is everything.
        for seq in ready.seq..=newest.seq {
            asks.send(&Ticket { seq, ..newest.clone() }.frame()).await;
            asks.last_s = seq;
            let answer = asks.recv().await;
            if answer["op"] == "resume_failed" {
                assert_eq!(answer["d"]["reason"], "gap");
                continue;
            }
            let mut missed = vec![answer];
            while missed.last().unwrap()["op"] != "resumed" {
                missed.push(asks.recv().await);
            }
            assert_eq!(missed.len() as u64, newest.seq - seq + 1);
            held += missed.len() - 1;
            break;
        }
        assert_eq!(asks.last_s, newest.seq, "the newest number can always be resumed from");
    }
    assert!(held * 30_000 <= 1 << 20, "{held} frames");
    assert!(held >= 15, "{held} frames: less than half of what may be held");
}

#[tokio::test]
async fn ready_says_how_long_a_session_waits() {
    for (window, waits) in [("session.resume_window_ms=0", false), ("session.resume_window_ms=600000", true)]
    {
        let server = TestServer::start(&[window]).await;
        let client = server.identified(Encoding::Json, "a").await;
        let d: &Value = &client.ready["d"];
        assert_eq!(d["resume_window_ms"], if waits { 600_000 } else { 0 });
        assert_eq!(d["limits"]["replay_bytes"], 262_144);
        let ticket = client.ticket();
        drop(client);
        server.until("sockets", 0).await;
        server.until("sessions", usize::from(waits)).await;
        let mut client = server.connect(Encoding::Json).await;
        if waits {
            client.resume(&ticket).await;
        } else {
            client.not_resumed(&ticket, "unknown_session").await;
        }
    }
}

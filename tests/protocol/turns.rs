//! Lines and their answers.

use serde_json::{Value, json};

use crate::client::{BOTH, Client, Encoding};
use crate::server::{TestServer, engine_stats};

pub fn say(npc: &str, turn: &str, max_tokens: u32) -> Value {
    let generation = json!({"max_tokens": max_tokens, "greedy": true});
    json!({"npc": npc, "turn": turn, "text": "Who are you?", "generation": generation})
}

/// Checks the frames of one turn against each other; returns its text.
pub fn check_turn(frames: &[Value], turn: &str, player: &str) -> String {
    let (started, rest) = frames.split_first().unwrap();
    let (done, deltas) = rest.split_last().unwrap();
    assert_eq!((&started["op"], &done["op"]), (&json!("turn.started"), &json!("turn.done")));
    for frame in frames {
        assert_eq!((&frame["d"]["turn"], &frame["d"]["player"]), (&json!(turn), &json!(player)), "{frame}");
    }
    let mut text = String::new();
    let mut t_ms = 0;
    for delta in deltas {
        assert_eq!(delta["op"], "dialogue.delta", "{delta}");
        let d = &delta["d"];
        assert_eq!(d["offset"], text.chars().count(), "{d}");
        assert!(d["t_ms"].as_u64().unwrap() >= t_ms, "{d}");
        assert!(d["tokens"].is_u64());
        t_ms = d["t_ms"].as_u64().unwrap();
        text += d["text"].as_str().unwrap();
    }
    assert_eq!(done["d"]["text"], text);
    text
}

#[tokio::test]
async fn a_line_is_answered() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut client = server.identified(encoding, "mina").await;
        let joined =
            client.ask("npc.join", json!({"npc": "vlad", "archetype": "vampire", "name": "Vlad"})).await;
        let d = &joined["d"];
        assert_eq!(d["npc"]["id"], "vlad");
        assert_eq!((&d["npc"]["name"], &d["npc"]["archetype"]), (&json!("Vlad"), &json!("vampire")));
        assert!(d["npc"]["seed"].is_u64(), "{d}");
        assert_eq!(d["chain"]["archetype"], "vampire");
        assert!(d["chain"]["generic"].is_boolean() && d["chain"]["tasks"].is_object(), "{d}");
        assert_eq!(d["npc"]["personality"].as_object().unwrap().len(), 50);
        assert!(d["npc"]["body"].is_object() && d["npc"]["goals"].is_array(), "{d}");
        assert_eq!(d["relationship"].as_object().unwrap().len(), 5);
        assert_eq!(d.get("face"), None, "it is not among turn.tracks: {d}");

        let turn = format!("t-{encoding:?}");
        client.send(&json!({"op": "say", "cid": 5, "d": say("vlad", &turn, 12)})).await;
        let frames = client.until("turn.done").await;
        let text = check_turn(&frames, &turn, "mina");
        assert!(!text.is_empty());
        let started = &frames[0];
        assert_eq!(started["cid"], 5);
        assert!(frames[1..].iter().all(|frame| frame.get("cid").is_none()));
        assert_eq!((&started["d"]["npc"], &started["d"]["text"]), (&json!("vlad"), &json!("Who are you?")));
        assert!(started["d"]["generic"].is_boolean() && started["d"]["adapters"].is_array(), "{started}");
        assert!(started["d"]["prompt_tokens"].as_u64().unwrap() > 0);
        let done = &frames.last().unwrap()["d"];
        assert!(done["reason"] == "stop" || done["reason"] == "length", "{done}");
        assert_eq!((&done["npc"], &done["fallback"]), (&json!("vlad"), &json!(false)));
        let generated = done["usage"]["generated_tokens"].as_u64().unwrap();
        assert!((1..=12).contains(&generated), "{done}");
        for time in ["queue_ms", "ttft_ms", "total_ms"] {
            assert!(done["timing"][time].is_u64(), "{done}");
        }
        assert!(done["interaction"].is_string(), "{done}");

        // The id is a key: the same answer again, and nothing runs.
        client.send(&json!({"op": "say", "cid": "again", "d": say("vlad", &turn, 12)})).await;
        let again = client.recv().await;
        assert_eq!((&again["op"], &again["cid"]), (&json!("turn.done"), &json!("again")));
        assert_eq!(again["d"], *done);
        client.ask("npc.leave", json!({"npc": "vlad"})).await;
    }
}

/// Starts a long turn and reads until some of it was said.
pub async fn start_long_turn(client: &mut Client, npc: &str, turn: &str) {
    client.send(&json!({"op": "say", "d": say(npc, turn, 200)})).await;
    // Two characters at the least.
    client.until("dialogue.delta").await;
    client.until("dialogue.delta").await;
}

#[tokio::test]
async fn duplicate_turn_while_it_runs() {
    let server = TestServer::start(&[]).await;
    let mut client = server.joined(Encoding::Msgpack, "a", "n").await;
    start_long_turn(&mut client, "n", "t").await;
    client.send(&json!({"op": "say", "cid": "twice", "d": say("n", "t", 200)})).await;
    let error = client.until("error").await.pop().unwrap();
    assert_eq!((&error["cid"], &error["d"]["code"]), (&json!("twice"), &json!("duplicate_turn")));
    assert_eq!(error["d"]["turn"], "t");
    client.send(&json!({"op": "cancel", "d": {"turn": "t"}})).await;
    client.until("turn.done").await;
}

#[tokio::test]
async fn a_cancel_ends_the_turn_at_what_was_heard() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut client = server.joined(encoding, "a", "n").await;
        let turn = format!("t-{encoding:?}");
        start_long_turn(&mut client, "n", &turn).await;
        client.send(&json!({"op": "cancel", "cid": "stop", "d": {"turn": turn, "heard_offset": 2}})).await;
        let frames = client.until("turn.cancelled").await;
        let cancelled = frames.last().unwrap();
        assert_eq!(cancelled["cid"], "stop");
        let d = &cancelled["d"];
        assert_eq!((&d["turn"], &d["player"]), (&json!(turn), &json!("a")));
        assert_eq!(d["valid_through"]["text_offset"], 2);
        assert!(d["valid_through"]["t_ms"].is_u64());
        assert_eq!(d["retracted"], json!([]));
        // Nothing comes in between.
        let done = client.recv().await;
        assert_eq!((&done["op"], &done["d"]["reason"]), (&json!("turn.done"), &json!("cancelled")));
        assert_eq!(done["d"]["text"].as_str().unwrap().chars().count(), 2);

        // Afterwards the record can still be shortened, and there is no second end.
        let again = client.ask("cancel", json!({"turn": turn, "heard_offset": 1})).await;
        assert_eq!(
            (&again["op"], &again["d"]["valid_through"]["text_offset"]),
            (&json!("turn.cancelled"), &json!(1))
        );
        client.is_alive().await;
    }
}

#[tokio::test]
async fn a_turn_that_waits_can_be_cancelled() {
    let server = TestServer::start(&[]).await;
    let mut client = server.joined(Encoding::Json, "a", "n").await;
    start_long_turn(&mut client, "n", "first").await;
    client.send(&json!({"op": "say", "cid": "w", "d": say("n", "second", 200)})).await;
    client.send(&json!({"op": "cancel", "cid": "c", "d": {"turn": "second"}})).await;
    let frames = client.until("turn.cancelled").await;
    assert_eq!(frames.last().unwrap()["cid"], "c");
    let done = client.until("turn.done").await.pop().unwrap();
    assert_eq!((&done["d"]["turn"], &done["cid"]), (&json!("second"), &json!("w")));
    client.send(&json!({"op": "cancel", "d": {"turn": "first"}})).await;
    client.until("turn.done").await;
}

#[tokio::test]
async fn two_cancels_get_two_answers_and_one_end() {
    let server = TestServer::start(&[]).await;
    let mut client = server.joined(Encoding::Msgpack, "a", "n").await;
    start_long_turn(&mut client, "n", "t").await;
    for cid in [1, 2] {
        client.send(&json!({"op": "cancel", "cid": cid, "d": {"turn": "t"}})).await;
    }
    let mut answered = Vec::new();
    let mut ends = 0;
    while answered.len() < 2 || ends < 1 {
        let frame = client.recv().await;
        match frame["op"].as_str().unwrap() {
            "turn.cancelled" => answered.push(frame["cid"].as_u64().unwrap()),
            "turn.done" => ends += 1,
            _ => {}
        }
    }
    assert_eq!((answered, ends), (vec![1, 2], 1));
    client.is_alive().await;
}

#[tokio::test]
async fn another_session_of_the_player_can_cancel_and_is_answered() {
    let server = TestServer::start(&[]).await;
    let mut speaking = server.joined(Encoding::Msgpack, "a", "n").await;
    let mut other = server.identified(Encoding::Json, "a").await;
    let mut stranger = server.identified(Encoding::Json, "b").await;
    start_long_turn(&mut speaking, "n", "t").await;
    stranger.refused("cancel", json!({"turn": "t"}), "unknown_turn").await;
    other.send(&json!({"op": "cancel", "cid": "o", "d": {"turn": "t"}})).await;
    let cancelled = other.recv().await;
    assert_eq!((&cancelled["op"], &cancelled["cid"]), (&json!("turn.cancelled"), &json!("o")));
    let cancelled = speaking.until("turn.cancelled").await.pop().unwrap();
    assert_eq!(cancelled.get("cid"), None);
    speaking.until("turn.done").await;
}

#[tokio::test]
async fn playback_is_not_answered_and_bounds_a_cancel() {
    let server = TestServer::start(&[]).await;
    let mut client = server.joined(Encoding::Json, "a", "n").await;
    client.send(&json!({"op": "say", "d": say("n", "t", 8)})).await;
    client.until("turn.done").await;
    client.send(&json!({"op": "playback", "cid": 1, "d": {"turn": "t", "heard_offset": 3}})).await;
    client.is_alive().await;
    let cancelled = client.ask("cancel", json!({"turn": "t"})).await;
    assert_eq!(cancelled["d"]["valid_through"]["text_offset"], 3);
}

#[tokio::test]
async fn leaving_an_npc_does_not_end_its_line() {
    let server = TestServer::start(&[]).await;
    let mut client = server.joined(Encoding::Json, "a", "n").await;
    client.send(&json!({"op": "say", "d": say("n", "t", 10)})).await;
    client.send(&json!({"op": "npc.leave", "d": {"npc": "n"}})).await;
    let frames = client.until("turn.done").await;
    assert!(frames.iter().any(|frame| frame["op"] == "npc.left"));
    client.refused("say", say("n", "t2", 10), "unknown_npc").await;
}

#[tokio::test]
async fn a_client_that_vanishes_without_a_window_ends_its_turn_and_frees_the_npc() {
    let server = TestServer::start(&["session.resume_window_ms=0"]).await;
    let mut gone = server.joined(Encoding::Msgpack, "a", "n").await;
    let before = engine_stats().abandoned;
    start_long_turn(&mut gone, "n", "t").await;
    drop(gone);
    server.until("sessions", 0).await;
    server.until("sockets", 0).await;
    let mut next = server.joined(Encoding::Json, "b", "n").await;
    next.send(&json!({"op": "say", "d": say("n", "t", 4)})).await;
    assert_eq!(next.recv().await["op"], "turn.started");
    next.until("turn.done").await;
    // The engine may hear of the new turn before it looks for who has gone; not so of the turn's end.
    assert!(engine_stats().abandoned > before, "the vanished client's row was freed, not finished");
}

#[tokio::test]
async fn turns_that_run_get_the_grace_of_a_shutdown_and_new_ones_none() {
    let server = TestServer::start(&["shutdown.grace_ms=60000"]).await;
    let mut client = server.joined(Encoding::Json, "a", "n").await;
    let mut late = server.connect(Encoding::Msgpack).await;
    client.send(&json!({"op": "say", "d": say("n", "t", 24)})).await;
    client.until("turn.started").await;
    server.shut_down();
    server.until("draining", true).await;
    assert_eq!(server.readyz().await.0, 503);
    assert_eq!(server.http("/healthz", &[]).await.0, 200);
    late.send(&json!({"op": "identify", "d": {"token": "l", "client": {"name": "l", "version": "1"}}})).await;
    late.closed(4001, "draining").await;
    client.send(&json!({"op": "say", "cid": "no", "d": say("n", "t2", 24)})).await;
    let frames = client.closed(4001, "draining").await;
    let refused = frames.iter().find(|frame| frame["op"] == "error").unwrap();
    assert_eq!((&refused["cid"], &refused["d"]["code"]), (&json!("no"), &json!("overloaded")));
    assert!(refused["d"]["retry_after_ms"].is_u64());
    assert_eq!(frames.last().unwrap()["op"], "turn.done");
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lines_sent_at_once_to_one_npc_are_answered_in_their_order() {
    let server = TestServer::start(&[]).await;
    let mut client = server.joined(Encoding::Json, "a", "n").await;
    let turns: Vec<String> = (0..8).map(|i| format!("t{i}")).collect();
    for turn in &turns {
        client.send(&json!({"op": "say", "d": say("n", turn, 1)})).await;
    }
    let mut done = Vec::new();
    while done.len() < turns.len() {
        let frame = client.recv().await;
        if frame["op"] == "turn.done" {
            done.push(frame["d"]["turn"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(done, turns);
}

#[tokio::test]
async fn an_answer_of_a_measurement_goes_on_past_its_end() {
    let ends = TestServer::start(&[]).await;
    let goes_on = TestServer::start(&["turn.ignore_end=true"]).await;
    let mut generated = Vec::new();
    for server in [&ends, &goes_on] {
        let mut client = server.joined(Encoding::Msgpack, "a", "n").await;
        let mut line = say("n", "t", 60);
        // Every answer has one of them.
        line["generation"]["stop"] = json!(["e", "a", "o", "i"]);
        client.send(&json!({"op": "say", "d": line})).await;
        let done = client.until("turn.done").await.pop().unwrap();
        generated
            .push((done["d"]["reason"].clone(), done["d"]["usage"]["generated_tokens"].as_u64().unwrap()));
    }
    assert_eq!(generated[0].0, "stop");
    assert!(generated[0].1 < 60, "{generated:?}");
    assert_eq!(generated[1], (json!("length"), 60));
}

/// However soon a line is repeated: the whole answer first, then its end again, and never anything behind an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeat_does_not_overtake_the_answer() {
    let server = TestServer::scripted(&["engine.script_tokens_per_second=0"]).await;
    let mut client = server.joined(Encoding::Msgpack, "mina", "vlad").await;
    // Each frame goes to many, so that turns end long before all of theirs are sent.
    let audience: Vec<_> = (0..40).map(|number| format!("guest-{number}")).collect();
    let mut guests = Vec::new();
    for guest in &audience {
        guests.push(server.joined(Encoding::Msgpack, guest, "vlad").await);
    }
    for number in 0..50 {
        let turn = format!("t-{number}");
        let mut d = say("vlad", &turn, 64);
        d["audience"] = json!(audience);
        let line = json!({"op": "say", "d": d});
        client.send(&line).await;
        let (mut frames, mut ends) = (Vec::new(), Vec::new());
        let mut unanswered = 0;
        while ends.is_empty() || unanswered > 0 {
            let frame = client.recv().await;
            match frame["op"].as_str().unwrap() {
                "turn.done" => {
                    unanswered -= usize::from(!ends.is_empty());
                    ends.push(frame);
                }
                "error" => {
                    assert_eq!(frame["d"]["code"], "duplicate_turn", "{frame}");
                    unanswered -= 1;
                }
                _ => {
                    assert!(ends.is_empty(), "behind the turn's end: {frame}");
                    frames.push(frame);
                }
            }
            if ends.is_empty() {
                client.send(&line).await;
                unanswered += 1;
            }
        }
        frames.push(ends[0].clone());
        check_turn(&frames, &turn, "mina");
        assert!(ends.iter().all(|end| end["d"] == ends[0]["d"]), "{ends:?}");
    }
}

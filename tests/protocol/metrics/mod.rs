//! `/metrics`, and what it says after something has happened.

mod catalogue;
pub mod page;

use std::fs;

use serde_json::{Value, json};

use self::page::Page;
use crate::client::{Client, Encoding};
use crate::http::ask;
use crate::server::TestServer;
use crate::tokens::{Issuer, claims};

async fn say(client: &mut Client, npc: &str, turn: &str) -> Vec<Value> {
    client.send(&json!({"op": "say", "d": {"npc": npc, "turn": turn, "text": "Who are you?"}})).await;
    client.until("turn.done").await
}

fn count(frames: &[Value], op: &str) -> f64 {
    frames.iter().filter(|frame| frame["op"] == op).count() as f64
}

/// How much a page counts more than one before.
struct Since(Page, Page);

impl Since {
    fn more(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.1.sum(name, labels) - self.0.sum(name, labels)
    }
}

#[tokio::test]
async fn turns_are_counted_from_the_socket_to_the_step() {
    // Lines of one length, so that the last one is not over before it is cancelled.
    let sets = ["turn.tracks=[\"emotion\"]", "turn.tracks_timeout_ms=60000", "turn.ignore_end=true"];
    let server = TestServer::start(&sets).await;
    let before = Page::of(&server).await;
    let mut client = server.joined(Encoding::Json, "anna", "lucy").await;
    let mut frames = Vec::new();
    for turn in ["t1", "t2", "t3"] {
        frames.extend(say(&mut client, "lucy", turn).await);
    }
    // One that is cancelled once it has begun.
    let endless = json!({"max_tokens": 200});
    let line = json!({"npc": "lucy", "turn": "t4", "text": "Tell me everything.", "generation": endless});
    client.send(&json!({"op": "say", "d": line})).await;
    frames.extend(client.until("dialogue.delta").await);
    client.send(&json!({"op": "cancel", "d": {"turn": "t4"}})).await;
    frames.extend(client.until("turn.done").await);
    // A client may know of a turn's end a moment before.
    let mut after = Page::of(&server).await;
    while after.sum("turns_running", &[]) > 0.0 {
        after = Page::of(&server).await;
    }
    let now = Since(before, after);

    let dones: Vec<&Value> =
        frames.iter().filter(|frame| frame["op"] == "turn.done").map(|frame| &frame["d"]).collect();
    assert_eq!(now.more("turns_started_total", &[]), 4.0);
    for reason in ["stop", "length", "cancelled", "blocked", "error"] {
        let told = dones.iter().filter(|done| done["reason"] == reason).count() as f64;
        assert_eq!(now.more("turns_done_total", &[("reason", reason)]), told, "{reason}");
    }
    assert_eq!(now.more("turns_routed_total", &[("reason", "no_chain")]), 4.0);
    assert_eq!(now.more("turns_answered_total", &[("by", "engine")]), 4.0);
    assert_eq!(now.1.sum("turns_by_archetype_total", &[("archetype", "vampire")]), 4.0);
    for (metric, key) in [
        ("turn_prompt_tokens_total", "prompt_tokens"),
        ("turn_cached_tokens_total", "cached_tokens"),
        ("turn_generated_tokens_total", "generated_tokens"),
    ] {
        let told: u64 = dones.iter().map(|done| done["usage"][key].as_u64().unwrap()).sum();
        assert_eq!(now.more(metric, &[]), told as f64, "{metric}");
    }
    let deltas = count(&frames, "dialogue.delta");
    assert_eq!(now.more("turn_first_token_seconds_count", &[]), 4.0);
    assert_eq!(now.more("turn_inter_token_seconds_count", &[]), deltas - 4.0);
    assert_eq!(now.more("turn_seconds_count", &[]), 4.0);
    assert_eq!(now.more("turn_queue_seconds_count", &[]), 4.0);
    let asked = now.more("turn_questions_total", &[("task", "emotional_response")]);
    let answered = now.more("turn_question_seconds_count", &[]);
    assert!(asked >= 4.0 && answered >= 3.0 && answered <= asked, "{answered} of {asked}");

    // What was sent, to this client alone.
    for op in ["turn.started", "dialogue.delta", "turn.done", "turn.cancelled", "emotion", "npc.joined"] {
        let told = if op == "npc.joined" { 1.0 } else { count(&frames, op) };
        assert_eq!(now.more("frames_sent_total", &[("op", op)]), told, "{op}");
    }
    for (op, told) in [("identify", 1.0), ("npc.join", 1.0), ("say", 4.0), ("cancel", 1.0), ("other", 0.0)] {
        assert_eq!(now.more("frames_received_total", &[("op", op)]), told, "{op}");
    }
    assert!(now.more("sent_bytes_total", &[]) > now.more("received_bytes_total", &[]));

    // What was stored.
    assert_eq!(now.more("journal_records_total", &[]), 4.0);
    assert_eq!(now.more("journal_put_seconds_count", &[]), 4.0);
    assert!(now.more("journal_commits_total", &[]) >= 1.0);
    assert!(now.more("journal_commit_seconds_count", &[]) >= now.more("journal_commits_total", &[]));
    assert_eq!(now.1.sum("journal_writable", &[]), 1.0);
    assert!(now.1.sum("journal_size_bytes", &[("file", "database")]) > 0.0);
    assert!(now.more("hot_lookups_total", &[]) >= 4.0);
    assert!(now.more("hot_lookups_total", &[("result", "hit")]) >= 3.0);
    assert_eq!(now.more("recall_searches_total", &[]), 4.0);
    assert_eq!(now.1.sum("hot_conversations", &[]), 1.0);
    assert_eq!(now.1.sum("npcs", &[]), 1.0);

    // What was computed. Other tests have the same engine do more.
    assert!(now.more("engine_requests_total", &[("kind", "generate")]) >= 4.0);
    assert!(now.more("engine_requests_total", &[("kind", "choose")]) >= 4.0);
    assert!(now.more("engine_steps_total", &[]) >= 10.0);
    assert!(
        now.more("engine_step_seconds_count", &[]) >= 10.0 && now.more("engine_step_seconds_sum", &[]) > 0.0
    );
    let generated = now.more("turn_generated_tokens_total", &[]);
    assert!(now.more("engine_tokens_total", &[("phase", "decode")]) >= generated - 4.0);
    assert!(now.more("engine_tokens_total", &[("phase", "prefill")]) >= 20.0);
    let class = [("class", "player")];
    assert!(now.more("engine_queue_wait_seconds_count", &class) >= 4.0);
    let line = [("kind", "generate")];
    let prompts = now.more("engine_prompt_tokens_total", &line);
    assert!(prompts >= now.more("turn_prompt_tokens_total", &[]), "{prompts}");
    assert!(now.more("engine_cached_tokens_total", &line) <= prompts);
    assert!(now.1.sum("engine_kv_used_bytes", &[]) <= now.1.sum("engine_kv_limit_bytes", &[]));
    assert_eq!(now.1.sum("engine_rows", &[]), 16.0);
    assert_eq!(now.1.sum("engine_running", &[]), 1.0);
}

#[tokio::test]
async fn sockets_and_sessions_are_counted_by_their_ends() {
    let server = TestServer::scripted(&["session.frames_per_second=1", "session.frames_burst=4"]).await;
    let mut client = server.joined(Encoding::Json, "anna", "lucy").await;
    client.refused("npc.focus", json!({"npc": "nobody"}), "unknown_npc").await;
    // A frame that is none.
    client.send_message("{".into()).await;
    client.closed(4500, "bad_frame").await;
    // A token that is no name, and a socket that says nothing before it goes.
    let mut stranger = server.connect(Encoding::Msgpack).await;
    stranger
        .send(&json!({"op": "identify", "d": {"token": "a\nb", "client": {"name": "t", "version": "1"}}}))
        .await;
    stranger.closed(4502, "unauthenticated").await;
    drop(server.connect(Encoding::Json).await);
    // A session that is lost and comes back, is not resumed with another token, and then ends as its client wishes.
    let mut lost = server.identified(Encoding::Json, "ben").await;
    lost.is_alive().await;
    let ticket = lost.ticket();
    drop(lost);
    server.until("lost", 1).await;
    let mut back = server.connect(Encoding::Json).await;
    let wrong = crate::client::Ticket { token: "no".into(), ..ticket.clone() };
    back.not_resumed(&wrong, "bad_token").await;
    back.resume(&ticket).await;
    assert_eq!(back.close(1000).await, 1000);
    // More frames than may come at once.
    let mut hasty = server.identified(Encoding::Json, "cleo").await;
    for _ in 0..6 {
        hasty.send(&json!({"op": "heartbeat", "d": {"seq": 0}})).await;
    }
    hasty.until("error").await;
    assert_eq!(hasty.close(1000).await, 1000);
    server.until("sessions", 0).await;
    server.until("sockets", 0).await;

    let (status, _) = server.http("/ws", &[]).await;
    assert_eq!(status, 400);
    let page = Page::of(&server).await;
    for (name, labels, expected) in [
        ("sessions_started_total", &[][..], 3.0),
        ("sessions_lost_total", &[], 1.0),
        ("sessions_resumed_total", &[], 1.0),
        ("sessions_ended_total", &[("cause", "socket")], 3.0),
        ("sessions_ended_total", &[("cause", "expired")], 0.0),
        ("resume_failures_total", &[("reason", "bad_token")], 1.0),
        ("socket_closes_total", &[("code", "4500"), ("reason", "bad_frame")], 1.0),
        ("socket_closes_total", &[("code", "4502"), ("reason", "unauthenticated")], 1.0),
        ("socket_closes_total", &[("code", "1000"), ("reason", "normal")], 2.0),
        // Both that went without a word.
        ("socket_closes_total", &[("code", "none"), ("reason", "none")], 2.0),
        ("frames_received_total", &[("op", "other")], 1.0),
        ("errors_total", &[("code", "unknown_npc")], 1.0),
        ("errors_total", &[("code", "bad_payload")], 0.0),
        ("auth_failures_total", &[("cause", "name")], 1.0),
        ("auth_failures_total", &[("cause", "expired")], 0.0),
        ("upgrades_refused_total", &[("cause", "no_upgrade")], 1.0),
        ("sessions", &[("state", "connected")], 0.0),
        ("sessions", &[("state", "lost")], 0.0),
        ("sockets", &[], 0.0),
        ("send_queue_bytes", &[], 0.0),
        ("replay_bytes", &[], 0.0),
    ] {
        assert_eq!(page.sum(name, labels), expected, "{name} {labels:?}");
    }
    let limited = page.sum("rate_limited_total", &[("limit", "frames")]);
    assert!(limited >= 1.0);
    assert_eq!(page.sum("errors_total", &[("code", "rate_limited")]), limited);
}

#[tokio::test]
async fn a_player_who_is_erased_and_a_session_that_gives_way_are_counted() {
    let server = TestServer::scripted(&["session.max_sessions_per_player=1"]).await;
    drop(server.joined(Encoding::Json, "anna", "lucy").await);
    server.until("lost", 1).await;
    let client = server.joined(Encoding::Json, "anna", "lucy").await;
    let answer = ask(&server, "DELETE", "/api/v1/players/anna", &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    drop(client);
    let page = Page::of(&server).await;
    assert_eq!(page.sum("sessions_ended_total", &[("cause", "gave_way")]), 1.0);
    assert_eq!(page.sum("sessions_ended_total", &[("cause", "erased")]), 1.0);
    assert_eq!(page.sum("erasures_total", &[("result", "done")]), 1.0);
    assert_eq!(page.sum("erasure_seconds_count", &[]), 1.0);
}

#[tokio::test]
async fn what_finds_no_place_is_counted() {
    let server = TestServer::scripted(&[
        "engine.script_max_turns=1",
        "engine.script_tokens_per_second=0.05",
        "npc.mailbox=1",
        "npc.on_overload=error",
    ])
    .await;
    let mut client = server.joined(Encoding::Json, "anna", "lucy").await;
    client.ask("npc.join", json!({"npc": "mina", "archetype": "vampire"})).await;
    client.send(&json!({"op": "say", "d": {"npc": "lucy", "turn": "t1", "text": "Hello."}})).await;
    client.until("turn.started").await;
    // No place in the mailbox, and none in the engine.
    for (npc, turn) in [("lucy", "t2"), ("mina", "t3")] {
        client.send(&json!({"op": "say", "d": {"npc": npc, "turn": turn, "text": "And you?"}})).await;
        client.until("error").await;
    }
    let page = Page::of(&server).await;
    assert_eq!(page.sum("turns_running", &[]), 1.0);
    assert_eq!(page.sum("turns_started_total", &[]), 3.0);
    assert_eq!(page.sum("turns_done_total", &[("reason", "error")]), 2.0);
    assert_eq!(page.sum("mailbox_full_total", &[]), 1.0);
    assert_eq!(page.sum("engine_refused_total", &[("cause", "queue_full"), ("class", "player")]), 1.0);
    assert_eq!(page.sum("errors_total", &[("code", "overloaded")]), 2.0);
    assert_eq!(page.sum("engine_requests_total", &[("kind", "generate")]), 1.0);
}

#[tokio::test]
async fn operators_alone_read_it_unless_it_is_open() {
    let issuer = Issuer::new();
    let server = issuer.server(&[]).await;
    let bearer = |scope: &str| format!("Bearer {}", issuer.sign(&claims("olga", scope)));
    let (play, admin) = (bearer("play"), bearer("admin"));
    for (headers, status) in [
        (&[][..], 401),
        (&[("Authorization", play.as_str())][..], 403),
        (&[("Authorization", admin.as_str())][..], 200),
    ] {
        assert_eq!(ask(&server, "GET", "/metrics", headers, "").await.status, status);
    }
    let page = ask(&server, "GET", "/metrics", &[("Authorization", &admin)], "").await;
    let page = Page::parse(page.text());
    assert_eq!(page.sum("auth_failures_total", &[("cause", "scope")]), 1.0);
    let open = issuer.server(&["server.metrics=open"]).await;
    assert_eq!(ask(&open, "GET", "/metrics", &[], "").await.status, 200);
    assert_eq!(ask(&open, "GET", "/api/v1/stats", &[], "").await.status, 401);
}

#[tokio::test]
async fn in_dev_mode_no_other_host_is_meant() {
    let server = TestServer::scripted(&["server.metrics=open"]).await;
    assert_eq!(ask(&server, "GET", "/metrics", &[("Host", "evil.example")], "").await.status, 403);
    assert_eq!(ask(&server, "POST", "/metrics", &[], "").await.status, 405);
}

#[tokio::test]
async fn many_archetypes_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let pack = |name: &str| {
        let dir = folder.path().join(name);
        fs::create_dir(&dir).unwrap();
        let text = format!(
            "name = \"{name}\"\ntitle = \"X\"\nnames = [\"Pip\"]\npersona = \"You are {{name}}.\"\noverload_lines = [\"Hee.\"]\n"
        );
        fs::write(dir.join("pack.toml"), text).unwrap();
    };
    let names: Vec<String> = (0..70).map(|number| format!("imp{number}")).collect();
    for name in &names {
        pack(name);
    }
    let packs = format!("packs.path={}", folder.path().display());
    let server =
        TestServer::scripted(&[&packs, "engine.script_tokens_per_second=0", "session.max_npcs=100"]).await;
    let mut client = server.identified(Encoding::Json, "anna").await;
    for name in &names {
        let joined = client.ask("npc.join", json!({"npc": name, "archetype": name})).await;
        assert_eq!(joined["op"], "npc.joined", "{joined}");
        say(&mut client, name, name).await;
    }
    let page = Page::of(&server).await;
    assert_eq!(page.0["npc_gateway_turns_by_archetype"].samples.len(), 65);
    assert_eq!(page.sum("turns_by_archetype_total", &[("archetype", "other")]), 6.0);
    assert_eq!(page.sum("turns_by_archetype_total", &[]), 70.0);
}

//! `/api/v1/stats` and `/api/v1/sessions`: how the server is, and who is there.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::client::{Client, Encoding};
use crate::server::TestServer;

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

async fn stats(server: &TestServer) -> Value {
    let (status, stats) = server.api("stats", None).await;
    assert_eq!(status, 200, "{stats}");
    stats
}

async fn sessions(server: &TestServer, query: &str) -> Value {
    let (status, page) = server.api(&format!("sessions{query}"), None).await;
    assert_eq!(status, 200, "{page}");
    page
}

#[tokio::test]
async fn the_rows_of_the_batch_are_seen_while_they_compute() {
    let server = TestServer::with_own_engine(&[
        "engine.rows=4",
        "engine.kv_memory_mb=64",
        "turn.ignore_end=true",
        "turn.tracks=[]",
    ])
    .await;
    let idle = stats(&server).await;
    assert_eq!(keys(&idle), ["engine", "history", "server", "sessions", "turns"]);
    assert_eq!(
        keys(&idle["engine"]),
        [
            "adapters",
            "decoder",
            "kv",
            "overloaded",
            "queue_limit",
            "rows",
            "step_ms",
            "steps",
            "tokens_per_s",
            "waiting"
        ]
    );
    assert_eq!(idle["engine"]["rows"], json!([null, null, null, null]));
    assert_eq!((&idle["engine"]["step_ms"], &idle["engine"]["steps"]), (&Value::Null, &json!(0)));
    assert!(["native", "portable"].contains(&idle["engine"]["decoder"].as_str().unwrap()));
    assert_eq!(idle["server"]["engine"], "model");
    assert_eq!(idle["server"]["draining"], false);
    assert_eq!(idle["sessions"], json!({"sessions": 0, "lost": 0, "sockets": 0, "limit": 10000}));
    let archive = json!({"journal": {"writable": true, "waiting": 0}, "warm": {"state": "embedded"}, "archive": {"state": "off"}});
    assert_eq!(idle["history"], archive);
    assert!(idle["engine"]["kv"]["limit_bytes"].as_u64().unwrap() > 0);
    assert_eq!(keys(&idle["engine"]["adapters"]), ["limit_bytes", "registered", "resident", "used_bytes"]);

    let mut client = server.joined(Encoding::Json, "anna", "lucy").await;
    let line =
        json!({"npc": "lucy", "turn": "t1", "text": "Tell me all.", "generation": {"max_tokens": 300}});
    client.send(&json!({"op": "say", "d": line})).await;
    // Until its row is seen to decode.
    let busy = loop {
        let now = stats(&server).await;
        let rows = now["engine"]["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 4);
        if rows.iter().filter_map(Value::as_object).any(|row| row["phase"] == "decode") {
            break now;
        }
        assert_eq!(now["turns"]["done"]["length"], 0, "it was over before it was seen");
        sleep(Duration::from_millis(10)).await;
    };
    let row = busy["engine"]["rows"].as_array().unwrap().iter().find(|row| !row.is_null()).unwrap();
    assert_eq!((&row["kind"], &row["background"]), (&json!("generate"), &json!(false)));
    assert!(row["tokens"].as_u64().unwrap() > 20, "{row}");
    assert_eq!((&busy["turns"]["running"], &busy["turns"]["started"]), (&json!(1), &json!(1)));
    assert!(busy["engine"]["step_ms"].as_f64().unwrap() > 0.0, "{busy}");
    assert!(busy["engine"]["tokens_per_s"].as_f64().unwrap() > 0.0, "{busy}");
    assert!(busy["engine"]["kv"]["used_bytes"].as_u64().unwrap() > 0, "{busy}");

    client.until("turn.done").await;
    // The row is free again, and what it computed is kept.
    let after = loop {
        let now = stats(&server).await;
        if now["engine"]["rows"] == json!([null, null, null, null]) && now["turns"]["running"] == 0 {
            break now;
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(
        after["turns"]["done"],
        json!({"stop": 0, "length": 1, "cancelled": 0, "blocked": 0, "error": 0})
    );
    assert_eq!(after["turns"]["generated_tokens"], 300);
    assert_eq!(after["engine"]["kv"]["conversations"], 1);
    assert!(after["engine"]["steps"].as_u64().unwrap() >= 300);
    assert!(after["server"]["uptime_ms"].as_u64() >= idle["server"]["uptime_ms"].as_u64());
    assert_eq!(after["server"]["started_ms"], idle["server"]["started_ms"]);
}

#[tokio::test]
async fn a_script_has_no_rows() {
    let server = TestServer::scripted(&[]).await;
    let engine = &stats(&server).await["engine"];
    assert_eq!(
        (&engine["decoder"], &engine["rows"], &engine["kv"], &engine["adapters"]),
        (&json!("scripted"), &json!([]), &Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn sessions_are_told_as_they_are() {
    let server = TestServer::scripted(&["engine.script_tokens_per_second=0.05"]).await;
    let mut anna = server.joined(Encoding::Msgpack, "anna", "lucy").await;
    anna.ask("npc.join", json!({"npc": "igor", "archetype": "ghoul"})).await;
    anna.send(&json!({"op": "say", "d": {"npc": "lucy", "turn": "t1", "text": "Hello."}})).await;
    anna.until("turn.started").await;
    let id = anna.ready["d"]["session"].clone();
    let page = sessions(&server, "").await;
    assert_eq!(keys(&page), ["items"]);
    let [item] = &page["items"].as_array().unwrap()[..] else { panic!("{page}") };
    let since = item["since_ms"].as_u64().unwrap();
    assert!(since > 1_700_000_000_000, "{item}");
    // Everything since `ready`: nothing was acknowledged.
    assert_eq!(item["held_frames"].as_u64(), Some(anna.last_s), "{item}");
    let bytes = item["held_bytes"].as_u64().unwrap();
    assert!(bytes > 64 * anna.last_s, "{item}");
    let expected = json!({
        "session": id, "player": "anna", "state": "connected", "since_ms": since,
        "scopes": ["play", "director", "admin"], "subprotocol": "npc.v1.msgpack", "npcs": ["igor", "lucy"],
        "turns": 1, "held_frames": anna.last_s, "held_bytes": bytes,
    });
    assert_eq!(item, &expected);
    // What the client has is not held.
    anna.ask("heartbeat", json!({"seq": anna.last_s})).await;
    let page = sessions(&server, "").await;
    assert!(page["items"][0]["held_frames"].as_u64().unwrap() < expected["held_frames"].as_u64().unwrap());
    drop(anna);
    server.until("lost", 1).await;
    let page = sessions(&server, "").await;
    assert_eq!((&page["items"][0]["state"], &page["items"][0]["session"]), (&json!("lost"), &id));
}

#[tokio::test]
async fn sessions_come_in_pages() {
    let server = TestServer::scripted(&[]).await;
    let mut clients: Vec<Client> = Vec::new();
    for player in ["anna", "ben", "cleo", "dan", "eve"] {
        clients.push(server.identified(Encoding::Json, player).await);
    }
    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = sessions(&server, &query).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{page}");
        seen.extend(items.iter().map(|item| item["session"].as_str().unwrap().to_owned()));
        let Some(next) = page.get("next") else { break };
        query = format!("?limit=2&after={}", next.as_str().unwrap());
    }
    assert!(seen.is_sorted(), "{seen:?}");
    let sent: BTreeSet<_> =
        clients.iter().map(|client| client.ready["d"]["session"].as_str().unwrap().to_owned()).collect();
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), sent);
    for (query, message) in [
        ("?limit=0", "limit is \"0\", but must be a number, 1 to 500"),
        ("?limit=many", "limit is \"many\", but must be a number, 1 to 500"),
        ("?after=anna", "after must be the id of a session"),
    ] {
        let (status, refused) = server.api(&format!("sessions{query}"), None).await;
        assert_eq!((status, &refused), (400, &json!({"error": message})));
    }
}

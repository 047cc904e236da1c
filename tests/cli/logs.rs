//! What is in the log, and what must not be there.

use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use npc_stores::{Postgres, Redis};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::stream::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{Message, WebSocket, connect};

use crate::support::{Server, gateway, needed, started};

/// A session of a player.
struct Player(WebSocket<MaybeTlsStream<TcpStream>>);

impl Player {
    fn identified(server: &Server, name: &str) -> Self {
        let mut request = format!("ws://{}/ws", server.address).into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "npc.v1.json".parse().unwrap());
        let mut player = Self(connect(request).unwrap().0);
        player.send("identify", &json!({"token": name, "client": {"name": "test", "version": "1"}}));
        player.until("ready");
        player
    }

    fn send(&mut self, op: &str, d: &Value) {
        self.0.send(Message::text(json!({"op": op, "d": d}).to_string())).unwrap();
    }

    /// The payload of the next frame of this kind.
    fn until(&mut self, op: &str) -> Value {
        loop {
            let message = self.0.read().unwrap();
            let Message::Text(text) = message else { panic!("{message:?} instead of {op}") };
            let mut frame: Value = serde_json::from_str(&text).unwrap();
            assert_ne!(frame["op"], "error", "{frame}");
            if frame["op"] == op {
                return frame["d"].take();
            }
        }
    }

    fn ask(&mut self, op: &str, d: &Value, answer: &str) -> Value {
        self.send(op, d);
        self.until(answer)
    }
}

/// In every text that a player sends.
const SAID: &str = "quagmire";
/// In every answer of the script.
const ANSWERED: &str = "flummoxed";

/// Says something in every way in which it can be said. Returns what was answered.
fn say_all(server: &Server) -> String {
    let said = |what: &str| format!("{what}{SAID} {SAID}{what}");
    let mut player = Player::identified(server, "anna");
    player.ask("npc.join", &json!({"npc": "lucy", "archetype": "vampire"}), "npc.joined");
    player.ask("npc.focus", &json!({"npc": "lucy"}), "npc.warm");
    let actions =
        json!([{"name": said("n"), "description": said("d")}, {"name": "bow", "description": "bows"}]);
    let mut answered = String::new();
    for turn in ["t1", "t2"] {
        let say = json!({"npc": "lucy", "turn": turn, "text": said("t"), "context": said("c"), "actions": actions,
            "generation": {"stop": [said("s")], "max_tokens": 16}});
        let done = player.ask("say", &say, "turn.done");
        assert!(done["interaction"].is_string(), "{done}");
        done["text"].as_str().unwrap().clone_into(&mut answered);
    }
    let event = json!({"npc": "lucy", "event": "e", "kind": "gift", "text": said("e"), "importance": 1.0});
    player.ask("event", &event, "event.recorded");
    let act = json!({"npc": "lucy", "act": "a", "context": said("a"), "tasks": ["action_policy"], "actions": actions});
    player.ask("npc.act", &act, "npc.acted");
    player.send("playback", &json!({"turn": "t2", "heard_offset": 3}));
    player.ask("npc.leave", &json!({"npc": "lucy"}), "npc.left");
    player.0.close(None).unwrap();
    while player.0.read().is_ok() {}
    answered
}

/// Ends a server as an operator does, so that all of its log is there.
fn end(mut server: Server) {
    let id = server.process.id().to_string();
    assert!(Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().unwrap().success());
    assert!(server.process.wait().unwrap().success());
}

/// A server whose log goes into a file.
fn logged(log: &Path, sets: &[&str]) -> Server {
    let mut command = gateway(&["serve", "--listen", "127.0.0.1:0"]);
    for set in sets {
        command.args(["--set", set]);
    }
    command.env("ORT_DYLIB_PATH", needed("ORT_DYLIB_PATH"));
    started(command.stderr(File::create(log).unwrap()))
}

#[test]
fn no_log_shows_what_is_said() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (redis, postgres) = (Redis::start(), Postgres::start());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let script = place.path().join("script.txt");
    std::fs::write(&script, format!("So it is {ANSWERED}.\n")).unwrap();
    let scripted =
        ["engine.kind=scripted".to_owned(), format!("engine.script_file={}", script.display())].to_vec();
    let model = vec![format!("model.path={}", needed("NPC_GATEWAY_TEST_MODEL").display())];
    for (name, level, format, engine) in [
        ("info", "info", "pretty", &scripted),
        ("scripted", "trace", "json", &scripted),
        ("model", "trace", "pretty", &model),
    ] {
        let database = runtime.block_on(postgres.database());
        let mut sets = vec![
            format!("log.level={level}"),
            format!("log.format={format}"),
            "log.slow_turn_ms=1".to_owned(),
            format!("history.redis_url={}", redis.url()),
            format!("history.postgres_url={}", postgres.url(&database)),
        ];
        sets.extend_from_slice(engine);
        let log = place.path().join(name);
        let server = logged(&log, &sets.iter().map(String::as_str).collect::<Vec<_>>());
        let answered = say_all(&server);
        end(server);
        let log = std::fs::read_to_string(log).unwrap().to_lowercase();
        assert!(log.contains("a turn was slow") && log.contains("socket ended"), "{log}");
        assert_eq!(log.contains("trace"), level == "trace", "{log}");
        let bytes = |text: &str| format!("{:?}", text.as_bytes()).trim_matches(['[', ']']).to_owned();
        // What is shorter may be there by chance.
        let answered = Some(answered.trim().to_lowercase()).filter(|text| text.len() >= SAID.len());
        for hidden in [SAID, ANSWERED].into_iter().chain(answered.as_deref()) {
            for form in [hidden.to_owned(), bytes(hidden)] {
                let at = log.find(&form).map(|at| log[..at].lines().count());
                assert_eq!(
                    at,
                    None,
                    "{form:?} is in the log {name}: {:?}",
                    at.and_then(|at| log.lines().nth(at - 1))
                );
            }
        }
    }
}

/// The lines of a log of JSON with this message.
fn lines(log: &Path, message: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|line| line["fields"]["message"] == message).collect()
}

#[test]
fn a_slow_turn_says_where_its_time_went() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (slow, told) in [("20", true), ("0", false), ("3600000", false)] {
        let log = place.path().join(slow);
        let slow = format!("log.slow_turn_ms={slow}");
        // Sixteen words, one after another.
        let words = ["engine.kind=scripted", "engine.script_tokens_per_second=100", "log.format=json", &slow];
        let server = logged(&log, &words);
        let mut player = Player::identified(&server, "anna");
        player.ask("npc.join", &json!({"npc": "lucy", "archetype": "vampire"}), "npc.joined");
        let say =
            json!({"npc": "lucy", "turn": "t1", "text": "Who are you?", "generation": {"max_tokens": 16}});
        player.ask("say", &say, "turn.done");
        end(server);
        let lines = lines(&log, "a turn was slow");
        assert_eq!(lines.len(), usize::from(told), "{slow}: {lines:?}");
        for line in lines {
            assert_eq!((&line["level"], &line["span"]["turn"]), (&json!("WARN"), &json!("t1")), "{line}");
            assert_eq!(line["span"]["npc"], "lucy", "{line}");
            let fields = &line["fields"];
            let number = |name: &str| fields[name].as_u64().unwrap_or_else(|| panic!("{name}: {line}"));
            let parts = [
                "mailbox",
                "moderation",
                "recall",
                "queue",
                "prefill",
                "decode",
                "tracks",
                "journal",
                "telling",
            ]
            .map(|part| number(&format!("{part}_ms")));
            let (all, total) = (parts.iter().sum::<u64>(), number("total_ms"));
            // Each part is cut to whole milliseconds.
            assert!(all <= total && total <= all + parts.len() as u64, "{line}");
            assert!(total >= 20 && number("decode_ms") > 0, "{line}");
            assert!(number("first_token_ms") <= total && number("generated_tokens") > 0, "{line}");
            assert!(fields["ended"].is_string(), "{line}");
        }
    }
}

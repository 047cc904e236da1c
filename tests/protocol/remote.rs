//! Models elsewhere that answer lines without adapters. The base in the gateway is a script here, except where the other
//! end is a real llama.cpp.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Client, Encoding, PATIENCE};
use crate::metrics::page::Page;
use crate::server::TestServer;
use crate::turns::{check_turn, say};

/// What the script says.
const LOCAL: &str = "The base answers.";

/// A server of chat completions that says these pieces to everyone, and then ends its answer, or the connection.
async fn completions(pieces: &'static [&'static str], whole: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // An error is a client that has gone.
            tokio::spawn(async move { drop(complete(stream, pieces, whole).await) });
        }
    });
    address
}

async fn complete(stream: TcpStream, pieces: &[&str], whole: bool) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line).await? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body: Value = serde_json::from_slice(&body).unwrap();
    let messages = body["messages"].as_array().unwrap();
    assert_eq!((&messages[0]["role"], &messages.last().unwrap()["role"]), (&json!("system"), &json!("user")));
    assert!(messages.last().unwrap()["content"].as_str().unwrap().contains("Who are you?"));
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        .await?;
    for piece in pieces {
        let event = json!({"choices": [{"delta": {"content": piece}}]});
        stream.write_all(format!("data: {event}\n\n").as_bytes()).await?;
    }
    if whole {
        let end = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
        stream.write_all(format!("data: {end}\n\ndata: [DONE]\n\n").as_bytes()).await?;
    } else {
        // The pieces have arrived before the end does.
        stream.flush().await?;
    }
    stream.shutdown().await
}

/// A file of one model at this address.
fn models(address: SocketAddr, server: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    let url = format!("http://{address}/v1");
    let keys = "cost = 0.1\nquality = 0.9";
    writeln!(
        file,
        "[[model]]\nname = \"far\"\nurl = \"{url}\"\nmodel = \"m\"\nserver = \"{server}\"\n{keys}"
    )
    .unwrap();
    file
}

/// A gateway that prefers the models of the file, with a script for its base.
async fn gateway(file: &NamedTempFile, script: &NamedTempFile, sets: &[&str]) -> TestServer {
    let patience = format!("models.first_word_ms={}", PATIENCE.as_millis());
    let (file, script) = (
        format!("models.file={}", file.path().display()),
        format!("engine.script_file={}", script.path().display()),
    );
    let own = [&*file, &*script, &*patience, "models.priority=quality", "engine.script_tokens_per_second=0"];
    TestServer::scripted(&[&own[..], sets].concat()).await
}

fn script() -> NamedTempFile {
    let mut script = NamedTempFile::new().unwrap();
    writeln!(script, "{LOCAL}").unwrap();
    script
}

/// The frames of one line's turn.
async fn turn(client: &mut Client, turn: &str) -> Vec<Value> {
    client.send(&json!({"op": "say", "d": say("vlad", turn, 24)})).await;
    client.until("turn.done").await
}

/// What `/api/v1/models` says of the model elsewhere.
async fn far(server: &TestServer) -> Value {
    let (status, answer) = server.http("/api/v1/models", &[]).await;
    assert_eq!(status, 200, "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut models: Value = serde_json::from_str(body).unwrap();
    assert_eq!(models["items"][0]["name"], "local");
    models["items"][1].take()
}

#[tokio::test]
async fn a_model_elsewhere_answers_as_the_engine_does() {
    let file = models(completions(&["I am ", "Vlad, ", "of Grünwald."], true).await, "openai");
    let script = script();
    let server = gateway(&file, &script, &[]).await;
    let mut client = server.joined(Encoding::Json, "mina", "vlad").await;
    for name in ["t1", "t2"] {
        let frames = turn(&mut client, name).await;
        assert_eq!(check_turn(&frames, name, "mina"), "I am Vlad, of Grünwald.");
        assert_eq!((&frames[0]["d"]["generic"], &frames[0]["d"]["adapters"]), (&json!(true), &json!([])));
        let done = &frames.last().unwrap()["d"];
        assert_eq!((&done["reason"], &done["fallback"]), (&json!("stop"), &json!(false)));
        assert!(done["interaction"].is_string(), "{done}");
    }
    assert_eq!(far(&server).await["answers"], 2);
}

#[tokio::test]
async fn where_it_is_away_the_base_answers_before_the_first_word() {
    // Free a moment ago, and nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = models(address, "openai");
    let script = script();
    let server = gateway(&file, &script, &["models.retries=0", "models.breaker_failures=2"]).await;
    let mut client = server.joined(Encoding::Json, "mina", "vlad").await;
    for name in ["t1", "t2", "t3"] {
        assert_eq!(check_turn(&turn(&mut client, name).await, name, "mina"), LOCAL);
    }
    let far = far(&server).await;
    assert_eq!((&far["closed"], &far["failures"]), (&json!("circuit open"), &json!(2)), "{far}");
    let page = Page::of(&server).await;
    assert_eq!(page.sum("model_requests_total", &[("model", "far"), ("outcome", "failed")]), 2.0);
    assert_eq!(page.sum("model_requests_total", &[("model", "local"), ("outcome", "answered")]), 3.0);
    assert_eq!(page.sum("model_state", &[("model", "far"), ("state", "circuit_open")]), 1.0);
    assert_eq!(page.sum("model_state", &[("model", "far"), ("state", "available")]), 0.0);
    assert_eq!(page.sum("model_first_word_seconds_count", &[("model", "local")]), 3.0);
    assert_eq!(page.sum("turns_answered_total", &[("by", "base")]), 3.0);
}

#[tokio::test]
async fn a_failure_in_mid_stream_ends_the_turn_as_one_of_the_engine_does() {
    let file = models(completions(&["I am "], false).await, "openai");
    let script = script();
    let server = gateway(&file, &script, &[]).await;
    let mut client = server.joined(Encoding::Json, "mina", "vlad").await;
    let frames = turn(&mut client, "t1").await;
    let ops: Vec<&str> = frames.iter().map(|frame| frame["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["turn.started", "dialogue.delta", "error", "turn.done"], "{frames:?}");
    assert_eq!((&frames[2]["d"]["code"], &frames[2]["d"]["turn"]), (&json!("engine_failed"), &json!("t1")));
    assert_eq!(frames[3]["d"]["reason"], "error");
}

/// A llama.cpp server.
struct Llama(Child);

impl Llama {
    /// Starts it on a port, and waits until it has loaded its model.
    async fn start(address: SocketAddr) -> Self {
        let path =
            |name: &str| std::env::var_os(name).unwrap_or_else(|| panic!("{name}: use `cargo xtask llama`"));
        let mut command = Command::new(path("NPC_GATEWAY_TEST_LLAMA"));
        command.arg("-m").arg(path("NPC_GATEWAY_TEST_GGUF"));
        command.args([
            "--host",
            "127.0.0.1",
            "--port",
            &address.port().to_string(),
            "-c",
            "2048",
            "--parallel",
            "2",
        ]);
        let llama =
            Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let ready = async {
            while !Self::is_ready(address).await.unwrap_or(false) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(3), ready).await.expect("llama-server is ready");
        llama
    }

    async fn is_ready(address: SocketAddr) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
#[ignore = "wants a llama.cpp server: cargo xtask llama"]
async fn a_real_llama_cpp_answers_goes_away_and_comes_back() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = models(address, "llama.cpp");
    let script = script();
    let sets = ["models.retries=0", "models.breaker_failures=1", "models.breaker_open_ms=100"];
    let server = gateway(&file, &script, &sets).await;
    let mut client = server.joined(Encoding::Json, "mina", "vlad").await;
    let llama = Llama::start(address).await;
    let mut said = Vec::new();
    for name in ["t1", "t2"] {
        let frames = turn(&mut client, name).await;
        let text = check_turn(&frames, name, "mina");
        let usage = &frames.last().unwrap()["d"]["usage"];
        println!("{usage} {text}");
        assert!(text != LOCAL && !text.is_empty());
        // The server's own counts: the persona alone has more tokens.
        assert!(usage["prompt_tokens"].as_u64().unwrap() > 50, "{usage}");
        assert!((1..=24).contains(&usage["generated_tokens"].as_u64().unwrap()), "{usage}");
        said.push(text);
    }
    let measured = far(&server).await;
    println!("{measured}");
    assert!(measured["first_ms"].is_number() && measured["tokens_per_s"].is_number(), "{measured}");

    // A line that is cancelled in the middle frees the server for the next one.
    client.send(&json!({"op": "say", "d": say("vlad", "t3", 24)})).await;
    client.until("dialogue.delta").await;
    client.send(&json!({"op": "cancel", "d": {"turn": "t3", "heard_offset": 0}})).await;
    let frames = client.until("turn.done").await;
    assert!(
        ["cancelled", "stop", "length"].contains(&frames.last().unwrap()["d"]["reason"].as_str().unwrap())
    );

    // It dies while it speaks: the turn ends with an error, or was faster.
    client.send(&json!({"op": "say", "d": say("vlad", "t4", 24)})).await;
    client.until("dialogue.delta").await;
    drop(llama);
    let frames = client.until("turn.done").await;
    println!("{}", frames.last().unwrap());

    // It is away: the base answers, and nobody sees an error.
    for name in ["t5", "t6"] {
        assert_eq!(check_turn(&turn(&mut client, name).await, name, "mina"), LOCAL);
    }
    // It is back: after the pause a line tries it.
    let _llama = Llama::start(address).await;
    let before = far(&server).await["answers"].as_u64();
    let back = async {
        for n in 7.. {
            let name = format!("t{n}");
            let frames = turn(&mut client, &name).await;
            let text = check_turn(&frames, &name, "mina");
            // Not by the text: a model repeats what it has said, also when another one has said it.
            if far(&server).await["answers"].as_u64() > before {
                println!("{text}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("it answers again");
    let told = far(&server).await;
    assert_eq!(told.get("closed"), None, "{told}");
}

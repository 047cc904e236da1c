//! The server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{complaint, gateway, needed, refused, serve, serve_with, started, status};

#[test]
fn serves_when_it_says_so_and_ends_when_told() {
    let mut server = serve();
    assert_eq!(status(&server.address, "/readyz"), "HTTP/1.1 200 OK");
    let told = Instant::now();
    let id = server.process.id().to_string();
    assert!(Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().unwrap().success());
    let end = loop {
        if let Some(end) = server.process.try_wait().unwrap() {
            break end;
        }
        assert!(told.elapsed() < Duration::from_secs(20), "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(end.code(), Some(0));

    let taken = serve();
    let mut second = gateway(&["serve", "--listen", &taken.address, "--model"]);
    second.arg(needed("NPC_GATEWAY_TEST_MODEL")).env("ORT_DYLIB_PATH", needed("ORT_DYLIB_PATH"));
    let said = refused(second, 1);
    assert!(said.contains(&format!("cannot listen on {}", taken.address)), "{said}");
}

#[test]
fn a_damaged_adapter_is_named_and_the_server_answers_without_it() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vampire = place.path().join("packs/vampire");
    let adapter = vampire.join("dialogue_style/v1");
    std::fs::create_dir_all(&adapter).unwrap();
    std::fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/adapters/vampire/pack.toml"),
        vampire.join("pack.toml"),
    )
    .unwrap();
    std::fs::write(adapter.join("adapter_config.json"), r#"{"peft_type":"LORA","r":8,"lora_alpha":16}"#)
        .unwrap();
    std::fs::write(adapter.join("adapter_model.safetensors"), "no tensors").unwrap();
    let log = place.path().join("log");
    let packs = format!("packs.path={}", place.path().join("packs").display());
    let server = serve_with(&[&packs], std::fs::File::create(&log).unwrap().into());

    let url = format!("ws://{}/ws", server.address);
    let chat = ["chat", &url, "--npc", "carmilla", "--archetype", "vampire", "--say", "Who are you?"];
    let output = gateway(&chat).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    assert!(!output.stdout.trim_ascii().is_empty());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("vampire.dialogue_style@v1") && log.contains("damaged"), "{log}");
}

/// At the level that logs the most.
#[test]
fn no_log_shows_a_token_or_a_secret() {
    use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest, connect};

    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let secret = "this-secret-must-not-be-in-any-log";
    let keys = place.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("default.secret"), secret).unwrap();
    let log = place.path().join("log");
    let keys = format!("auth.keys={}", keys.display());
    let server = serve_with(
        &["auth.mode=jwt", &keys, "log.level=trace", "session.max_frame_bytes=100000"],
        std::fs::File::create(&log).unwrap().into(),
    );
    let good = jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        &serde_json::json!({"sub": "mina", "exp": 4_000_000_000_u64, "scope": "play"}),
        &jsonwebtoken::EncodingKey::from_secret(secret.as_bytes()),
    )
    .unwrap();
    let bad = format!("{good}x");
    for (token, answer) in [(&good, "ready"), (&bad, "4502")] {
        let mut request = format!("ws://{}/ws", server.address).into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "npc.v1.json".parse().unwrap());
        let (mut socket, _) = connect(request).unwrap();
        let d = serde_json::json!({"token": token, "client": {"name": "test", "version": "1"}});
        socket.send(Message::text(serde_json::json!({"op": "identify", "d": d}).to_string())).unwrap();
        assert!(socket.read().unwrap().to_text().unwrap().contains("hello"));
        match socket.read().unwrap() {
            Message::Text(text) => assert!(text.contains(answer), "{text}"),
            Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code).to_string(), answer),
            other => panic!("{other:?}"),
        }
    }
    let mut socket = TcpStream::connect(&server.address).unwrap();
    write!(
        socket,
        "GET /api/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {bad}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    drop(server);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("TRACE") && log.contains("a token was refused"), "{log}");
    for hidden in [secret, &good[good.len() - 20..]] {
        assert!(!log.contains(hidden), "{hidden} is in the log");
    }
}

#[test]
fn as_many_files_are_opened_as_the_system_allows() {
    let gateway = env!("CARGO_BIN_EXE_npc-gateway");
    let serve =
        format!("ulimit -Sn 100; exec {gateway} serve --listen 127.0.0.1:0 --set engine.kind=scripted");
    let mut command = Command::new("sh");
    command.args(["-c", &serve]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let server = started(&mut command);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.process.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(words[3], words[4], "soft and hard: {files}");
}

#[test]
fn the_log_has_the_level_that_is_asked_for() {
    use tokio_tungstenite::tungstenite::connect;

    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = place.path().join("log");
    let mut command = gateway(&["serve", "--listen", "127.0.0.1:0", "--set", "engine.kind=scripted"]);
    command.arg("--data").arg(place.path().join("data"));
    let server = started(command.stderr(std::fs::File::create(&log).unwrap()));
    let (mut socket, _) = connect(format!("ws://{}/ws", server.address)).unwrap();
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    let began = Instant::now();
    let text = loop {
        let text = std::fs::read_to_string(&log).unwrap();
        if text.contains("socket ended") {
            break text;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "{text}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(!text.contains("DEBUG"), "{text}");
}

#[test]
fn a_script_answers_without_a_model() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (script, log) = (place.path().join("script.txt"), place.path().join("log"));
    std::fs::write(&script, "So it is said.\n").unwrap();
    let serve = |file: &str| {
        let file = format!("engine.script_file={file}");
        let mut command =
            gateway(&["serve", "--listen", "127.0.0.1:0", "--set", "engine.kind=scripted", "--set", &file]);
        // Nothing is found and nothing can be fetched.
        command.env_clear().env("HOME", place.path().join("nowhere"));
        command.arg("--data").arg(tempfile::tempdir_in(place.path()).unwrap().keep());
        command
    };
    let mut process = serve(&script.display().to_string());
    let server = started(process.stderr(std::fs::File::create(&log).unwrap()));
    let url = format!("ws://{}/ws", server.address);
    let output = gateway(&["chat", &url, "--say", "Is it?"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "So it is said.", "{}", complaint(&output));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("WARN") && log.contains("for load tests alone"), "{log}");

    let said = refused(serve("/nowhere.txt"), 2);
    assert!(said.contains("setting engine.script_file: script /nowhere.txt: No such file"), "{said}");
    let mut bench = gateway(&["bench", "engine", "--set", "engine.kind=scripted"]);
    bench.stdin(Stdio::null());
    assert!(refused(bench, 2).contains("setting engine.kind: bench measures the model"));
}

/// ONNX Runtime's own builds note who they run for, and tell it to others, unless they are kept from it.
#[test]
fn the_runtime_tells_nobody_that_it_runs() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut command = gateway(&["serve", "--listen", "127.0.0.1:0", "--model"]);
    command.arg(needed("NPC_GATEWAY_TEST_MODEL")).env("ORT_DYLIB_PATH", needed("ORT_DYLIB_PATH"));
    command.env("HOME", home.path()).env_remove("XDG_CACHE_HOME").env_remove("ORT_DISABLE_TELEMETRY");
    let server = started(command.stderr(Stdio::null()));
    assert_eq!(status(&server.address, "/readyz"), "HTTP/1.1 200 OK");
    let written: Vec<_> = std::fs::read_dir(home.path().join(".cache")).into_iter().flatten().collect();
    assert!(written.is_empty(), "{written:?}");
}

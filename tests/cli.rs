//! The command line as scripts meet it: exit codes, messages, and the line that says the server is ready.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn needed(variable: &str) -> PathBuf {
    std::env::var_os(variable).expect("run the tests with `cargo xtask test`").into()
}

/// Servers of one data folder refuse each other: every command has its own.
static COMMANDS: AtomicUsize = AtomicUsize::new(0);

fn gateway(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
    // Where there are no packs beside those that are built in.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    let data = format!("cli-data-{}", COMMANDS.fetch_add(1, Ordering::Relaxed));
    let data = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(data);
    // What another run left there.
    let _ = std::fs::remove_dir_all(&data);
    command.env("NPC_GATEWAY__SERVER__DATA", data);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command that must fail with `code`, and returns what it says.
fn refused(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    let said = complaint(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    assert!(output.stdout.is_empty(), "results alone go to standard output");
    said
}

#[test]
fn a_bad_setting_exits_2_and_is_named() {
    let cases: [(&[&str], &str); 12] = [
        (&["serve", "--set", "engine.row=2"], "--set: unknown setting engine.row; did you mean engine.rows?"),
        (&["serve", "--set", "engine.rows=257"], "--set: engine.rows is 257, but must be a number, 1 to 256"),
        (
            &["serve", "--listen", "here"],
            "--listen: server.listen is \"here\", but must be an address and a port",
        ),
        (
            &["serve", "--listen", "0.0.0.0:1"],
            "--listen: server.listen is \"0.0.0.0:1\", but must be a loopback",
        ),
        (&["serve", "--set", "auth.mode=jwt"], "auth.keys is \"\", but must be a folder with a key"),
        (
            &["serve", "--set", "auth.mode=jwt", "--set", "auth.keys=/nowhere"],
            "setting auth.keys: /nowhere: No such file",
        ),
        (
            &["serve", "--set", "server.tls_cert=/nowhere", "--set", "server.tls_key=/nowhere"],
            "setting server.tls_cert: /nowhere: No such file",
        ),
        (
            &["serve", "--set", "models.file=/nowhere.toml"],
            "setting models.file: /nowhere.toml: No such file",
        ),
        (
            &["serve", "--set", "models.priority=speed"],
            "models.priority is \"speed\", but must be one of `latency`, `cost`, `quality`, `balanced`",
        ),
        (&["serve", "--model", "/nowhere"], "setting model.path: /nowhere: No such file"),
        (&["serve", "--config", "/nowhere.toml"], "config file /nowhere.toml: No such file"),
        (&["serve", "--nonsense"], "unexpected argument '--nonsense'"),
    ];
    for (words, message) in cases {
        let said = refused(gateway(words), 2);
        assert!(said.contains(message), "{words:?}: {said}");
    }
    let mut by_variable = gateway(&["serve"]);
    by_variable.env("NPC_GATEWAY__ENGINE__QUEUE", "lots");
    let said = refused(by_variable, 2);
    assert!(said.contains("NPC_GATEWAY__ENGINE__QUEUE: engine.queue is \"lots\""), "{said}");
}

#[test]
fn what_is_planned_says_so() {
    let said = refused(gateway(&["plan", "--npcs", "5", "--json"]), 2);
    assert!(said.contains("is not available in this version"), "{said}");
}

#[test]
fn the_reference_cases_are_told_with_their_arithmetic() {
    let output = gateway(&["plan", "--reference"]).output().unwrap();
    assert!(output.status.success());
    let told = String::from_utf8(output.stdout).unwrap();
    for row in ["| 100 | 87.5 | 1 |", "| 1000 | 875.0 | 5 |", "| 10000 | 8750.0 | 175 | 154833 |"] {
        assert!(told.contains(row), "{row}: {told}");
    }
    assert!(
        told.contains(
            "servers for 1,000 NPCs: 5 g5.2xlarge (does not hold): the design's own formula gives 18"
        ),
        "{told}"
    );
}

#[test]
fn what_cannot_be_trained_or_measured_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mute = folder.path().join("vampire");
    std::fs::create_dir(&mute).unwrap();
    std::fs::copy("adapters/vampire/pack.toml", mute.join("pack.toml")).unwrap();
    let packs = folder.path().to_str().unwrap();
    let repo = concat!(env!("CARGO_MANIFEST_DIR"), "/adapters");
    let cases: [(&[&str], &str); 6] = [
        (&["train", "--packs", packs], "no pack has a folder `lines`"),
        (&["train", "--packs", packs, "--archetype", "unicorn"], "there is no pack \"unicorn\""),
        (&["train", "--packs", packs, "--task", "dancing"], "there is no task of that name"),
        (&["train", "--packs", repo, "--out", packs], "--out: name one --archetype"),
        (&["train", "--packs", repo, "--resume"], "--out"),
        (&["eval", "--packs", packs], "no pack has an adapter"),
    ];
    for (words, message) in cases {
        let said = refused(gateway(&[&["adapters"], words].concat()), 2);
        assert!(said.contains(message), "{words:?}: {said}");
    }
}

/// An NPC by hand: its line, and the end of the file.
#[test]
fn an_npc_is_restored_and_exported_again() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("lucy.jsonl"));
    let head = concat!(
        r#"{"format":"npc-gateway.npc","version":1,"#,
        r#""npc":{"id":"lucy","archetype":"vampire","name":"Lucy","seed":7,"state":{}}}"#,
        "\n"
    );
    let foot = |digest: &str| format!("{{\"interactions\":0,\"sha256\":\"{digest}\"}}\n");
    // `printf '…\n' | sha256sum` of the first line.
    let digest = "da532deb40fd955f255a2d4c1c8442d08a25924e866c521f0a2670f3c2a8b6d4";
    std::fs::write(&file, format!("{head}{}", foot(digest))).unwrap();
    let on = |words: &[&str]| {
        let mut command = gateway(words);
        command.arg("--data").arg(&data);
        command
    };
    let name = file.to_str().unwrap();
    assert!(refused(on(&["export", "lucy"]), 1).contains("there is no journal"));
    let restored = on(&["restore", name]).output().unwrap();
    assert!(restored.status.success(), "{}", complaint(&restored));
    assert!(refused(on(&["export", "mina"]), 1).contains("there is no npc \"mina\""));
    let exported = on(&["export", "lucy"]).output().unwrap();
    assert_eq!(exported.stdout, std::fs::read(&file).unwrap(), "{}", complaint(&exported));
    // A file is not written over.
    refused(on(&["export", "lucy", "--out", name]), 1);
    std::fs::write(&file, format!("{head}{}", foot("00"))).unwrap();
    assert!(refused(on(&["restore", name]), 1).contains("checksum"));
}

#[test]
fn adapters_are_listed_and_checked() {
    let packs = concat!(env!("CARGO_MANIFEST_DIR"), "/adapters");
    let output = gateway(&["adapters", "list", "--packs", packs]).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    for archetype in ["vampire", "werewolf", "zombie", "ghoul", "lich"] {
        assert!(list.lines().any(|line| line.starts_with(archetype)), "{archetype}: {list}");
    }
    let empty = tempfile::tempdir().unwrap();
    let model = needed("NPC_GATEWAY_TEST_MODEL");
    let mut check = gateway(&["adapters", "check"]);
    check.arg(empty.path()).arg("--model").arg(model);
    let said = refused(check, 1);
    assert!(said.contains("adapter_config.json"), "{said}");
}

/// A pack `imp` with two versions of one adapter, below a folder `adapters`.
fn imp(place: &std::path::Path) {
    use safetensors::tensor::{Dtype, TensorView};
    let pack = place.join("adapters/imp");
    for (version, number) in [("v1", 0.01_f32), ("v2", 0.02)] {
        let dir = pack.join("personality").join(version);
        std::fs::create_dir_all(&dir).unwrap();
        let config = r#"{"peft_type":"LORA","r":1,"lora_alpha":1}"#;
        std::fs::write(dir.join("adapter_config.json"), config).unwrap();
        let numbers = number.to_le_bytes().repeat(576);
        let name = |f| format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{f}.weight");
        let view = |shape| TensorView::new(Dtype::F32, shape, &numbers).unwrap();
        let tensors = [(name("A"), view(vec![1, 576])), (name("B"), view(vec![576, 1]))];
        safetensors::serialize_to_file(tensors, None, &dir.join("adapter_model.safetensors")).unwrap();
    }
    let text = "name = \"imp\"\ntitle = \"Imp\"\nnames = [\"Pip\"]\npersona = \"You are {name}.\"\noverload_lines = [\"Hee.\"]\n";
    std::fs::write(pack.join("pack.toml"), text).unwrap();
}

#[test]
fn a_version_is_promoted_and_taken_back_and_remembered() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    imp(place.path());
    let serve = || {
        let mut command = gateway(&["serve", "--listen", "127.0.0.1:0", "--data", "data", "--model"]);
        command.arg(needed("NPC_GATEWAY_TEST_MODEL")).env("ORT_DYLIB_PATH", needed("ORT_DYLIB_PATH"));
        // Where it stands there is a folder of packs, which no setting names.
        started(command.current_dir(place.path()).stderr(Stdio::null()))
    };
    let server = serve();
    let url = format!("http://{}", server.address);
    let adapters = |words: &[&str]| gateway(&[&["adapters"], words, &["--url", &url]].concat());
    let says = |words: &[&str]| {
        let output = adapters(words).output().unwrap();
        assert!(output.status.success(), "{}", complaint(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(says(&["promote", "imp.personality", "v1"]), "imp.personality uses v1\n");
    let tried = says(&["promote", "imp.personality", "v2", "--share", "0.25"]);
    assert_eq!(tried, "imp.personality uses v1, and v2 for 0.25 of the NPCs\n");
    assert_eq!(says(&["rollback", "imp.personality"]), "imp.personality uses v1\n");
    assert_eq!(says(&["rollback", "imp.personality"]), "imp.personality uses v2\n");
    assert!(
        refused(adapters(&["rollback", "imp.personality"]), 1).contains("has no version before this one")
    );
    let said = refused(adapters(&["promote", "imp.personality", "v9"]), 2);
    assert!(said.contains("has no version v9 that is complete; it has: v1, v2"), "{said}");
    for (words, wanted) in [
        (
            &["promote", "imp.singing", "v1"][..],
            "\"imp.singing\" is no adapter such as vampire.dialogue_style",
        ),
        (&["promote", "imp.personality", "2"][..], "\"2\" is no version such as v2"),
        (&["promote", "imp.personality", "v2", "--share", "2"][..], "--share is 2, but must be from 0 to 1"),
    ] {
        let said = refused(adapters(words), 2);
        assert!(said.contains(wanted), "{said}");
    }
    assert_eq!(says(&["promote", "imp.personality", "v1"]), "imp.personality uses v1\n");
    drop(server);
    let said = refused(adapters(&["rollback", "imp.personality"]), 1);
    assert!(said.contains("is `npc-gateway serve` running there?"), "{said}");
    // Killed, it goes on with what was promoted.
    let server = serve();
    let mut socket = TcpStream::connect(&server.address).unwrap();
    write!(socket, "GET /api/v1/archetypes/imp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let chain: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(chain["tasks"]["personality"]["version"], "v1", "{chain}");
}

/// With less memory than the files claim to have: what is refused was not read.
#[test]
fn adapters_that_claim_to_be_huge_are_refused_in_little_memory() {
    const TEN_GB: u64 = 10 << 30;
    let place = tempfile::tempdir().unwrap();
    let model = needed("NPC_GATEWAY_TEST_MODEL");
    let check = || {
        let command = format!(
            "ulimit -v 1048576; exec {} adapters check {} --model {}",
            env!("CARGO_BIN_EXE_npc-gateway"),
            place.path().display(),
            model.display()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).stdin(Stdio::null());
        refused(shell, 1)
    };
    let config = r#"{"peft_type":"LORA","r":4,"lora_alpha":8}"#;
    std::fs::write(place.path().join("adapter_config.json"), config).unwrap();
    let weights = place.path().join("adapter_model.safetensors");
    let header = format!(
        r#"{{"layers.0.self_attn.q_proj.lora_A.weight":{{"dtype":"F32","shape":[4,671088640],"data_offsets":[0,{TEN_GB}]}}}}"#
    );
    let length = (header.len() as u64).to_le_bytes();
    for bytes in [[&TEN_GB.to_le_bytes()[..], b"{}"].concat(), [&length[..], header.as_bytes()].concat()] {
        std::fs::write(&weights, bytes).unwrap();
        let said = check();
        assert!(said.contains("adapter_model.safetensors is damaged"), "{said}");
    }
    std::fs::File::create(&weights).unwrap().set_len(TEN_GB).unwrap();
    let said = check();
    assert!(said.contains("has 10737418240 bytes; at most "), "{said}");
    std::fs::remove_file(&weights).unwrap();
    std::fs::write(place.path().join("adapter_model.bin"), "x").unwrap();
    let said = check();
    assert!(said.contains("adapter_model.bin is a pickle"), "{said}");
}

#[test]
fn import_replaces_nothing_by_accident() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let import = |out: &str, more: &[&str]| {
        let mut command = gateway(&["import"]);
        command.arg(needed("NPC_GATEWAY_TEST_GGUF")).arg("--out").arg(place.path().join(out)).args(more);
        command
    };
    std::fs::create_dir(place.path().join("mine")).unwrap();
    std::fs::write(place.path().join("mine/notes.txt"), "mine").unwrap();
    let said = refused(import("mine", &["--force"]), 2);
    assert!(said.contains("the folder is not empty, and no model folder"), "{said}");
    assert!(place.path().join("mine/notes.txt").is_file());

    std::fs::create_dir(place.path().join("model")).unwrap();
    for more in [&[][..], &["--force"]] {
        let output = import("model", more).output().unwrap();
        assert!(output.status.success(), "{}", complaint(&output));
        assert!(place.path().join("model/weights.bin").is_file());
        let said = refused(import("model", &[]), 2);
        assert!(said.contains("there is a model folder already; --force replaces it"), "{said}");
    }
    let names: Vec<_> =
        std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
}

/// A server, killed when the test is over.
struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve() -> Server {
    serve_with(&[], Stdio::null())
}

fn serve_with(sets: &[&str], log: Stdio) -> Server {
    let mut command = gateway(&["serve", "--listen", "127.0.0.1:0", "--model"]);
    command.arg(needed("NPC_GATEWAY_TEST_MODEL")).env("ORT_DYLIB_PATH", needed("ORT_DYLIB_PATH"));
    for set in sets {
        command.args(["--set", set]);
    }
    started(command.stderr(log))
}

/// Starts a server and waits until it listens.
fn started(command: &mut Command) -> Server {
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("listening on ").expect("the first line").trim().to_owned();
    Server { process, address }
}

/// The status line that the server answers `path` with.
fn status(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

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
fn the_socket_is_measured_with_adapters_that_differ() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let json = place.path().join("figures.json");
    let words = "bench socket --rows 2 --adapters none,different --prompt-tokens 60 --tokens 4 --requests 1 \
                 --repeats 1 --conversation 2 --set log.level=warn --model";
    let mut bench = gateway(&words.split_whitespace().collect::<Vec<_>>());
    bench.arg(needed("NPC_GATEWAY_TEST_MODEL")).env("ORT_DYLIB_PATH", needed("ORT_DYLIB_PATH"));
    let output = bench.arg("--json").arg(&json).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    for row in ["| 2 | none | 0 |", "| 2 | different | 4 |", "| of 2 lines |"] {
        assert!(table.contains(row), "{row}: {table}");
    }
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!((&report["via"], &report["fixed_length"]), (&"socket".into(), &true.into()));
    for figures in report["results"].as_array().unwrap() {
        assert_eq!(figures["answer_tokens"], 4.0, "{figures}");
        let prompt = figures["prompt_tokens"].as_f64().unwrap();
        assert!((50.0..=70.0).contains(&prompt), "{figures}");
        assert!(
            figures["cached_tokens"].as_f64().unwrap() < 20.0,
            "no prompt begins like another: {figures}"
        );
        assert!(figures["warm_cached_share"].as_f64().unwrap() > 0.5, "{figures}");
        assert!(figures["tokens_per_second"].as_f64().unwrap() > 0.0, "{figures}");
    }
    assert_eq!(report["results"][1]["adapters_each"], 4.0);
    let conversation = &report["conversation"];
    assert!(conversation["second_cached_tokens"].as_f64().unwrap() >= 200.0, "{conversation}");

    let mut nowhere = gateway(&["bench", "socket", "--url", "ws://127.0.0.1:9/ws"]);
    nowhere.stdin(Stdio::null());
    let said = refused(nowhere, 1);
    assert!(said.contains("nothing listens at ws://127.0.0.1:9/ws"), "{said}");
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

#[test]
fn the_journal_is_measured() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut bench = gateway(&["bench", "journal", "--writers", "1,8", "--rates", "50", "--seconds", "1"]);
    let output = bench.arg("--data").arg(place.path()).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<f64>> = table
        .lines()
        .skip(1)
        .map(|row| row[22..].split_whitespace().map(|cell| cell.parse().unwrap()).collect())
        .collect();
    assert_eq!(rows.len(), 3, "{table}");
    for row in rows {
        let [rate, batch, p50, p99, longest] = row[..] else { panic!("{table}") };
        assert!(rate >= 1.0 && batch >= 1.0 && 0.0 < p50 && p50 <= p99 && p99 <= longest, "{table}");
    }
}

#[test]
fn every_line_of_a_load_is_accounted_for() {
    // Four lines at a time have room: two rows and a queue of two. Nobody else is answered by the model.
    let server = serve_with(
        &[
            "engine.rows=2",
            "engine.queue=2",
            "npc.on_overload=error",
            "turn.max_tokens=8",
            "session.turns_per_minute=0",
        ],
        Stdio::null(),
    );
    let url = format!("ws://{}/ws", server.address);
    let load = |words: &str| -> serde_json::Value {
        let words: Vec<&str> = ["bench", "load", "--url", &url].into_iter().chain(words.split(' ')).collect();
        let output = gateway(&words).output().unwrap();
        assert!(output.status.success(), "{}", complaint(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let within = load("--clients 2 --seconds 2 --conversations 8 --tokens 8");
    let count = |tally: &serde_json::Value, name: &str| tally[name].as_u64().unwrap();
    assert!(count(&within, "sent") >= 2, "{within}");
    assert_eq!(count(&within, "answered"), count(&within, "sent"), "{within}");

    let beyond = load("--rate 200 --seconds 2 --conversations 16 --tokens 8");
    assert!(count(&beyond, "refused") > 0 && count(&beyond, "answered") > 0, "{beyond}");
    assert_eq!(count(&beyond, "answered") + count(&beyond, "refused"), count(&beyond, "sent"), "{beyond}");
    for none in ["scripted", "refused_without_retry", "failed", "lost", "extra_frames", "closed_sockets"] {
        assert_eq!((count(&within, none), count(&beyond, none)), (0, 0), "{none}: {within} {beyond}");
    }
}

/// Field 19 of a process's line: how nice it is.
fn niceness(process: u32) -> i32 {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Its name, in brackets, may hold spaces.
    let (_, fields) = line.rsplit_once(") ").unwrap();
    fields.split(' ').nth(16).unwrap().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn what_runs_in_the_background_is_nice_and_ends_with_its_standard_input() {
    use std::os::unix::process::ExitStatusExt;

    let bounds = ["background", "--max-memory-mb", "4096"];
    let serve = ["serve", "--listen", "127.0.0.1:0", "--set", "engine.kind=scripted"];
    let mut command = gateway(&[&bounds[..], &serve].concat());
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    assert_eq!(niceness(child.id()), 19);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let data = limits.lines().find(|limit| limit.starts_with("Max data size")).unwrap();
    assert!(data.contains(" 4294967296 "), "{data}");
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

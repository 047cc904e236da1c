//! The terminal client against a real server: the program itself, as a player runs it.

use std::process::{Output, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::server::TestServer;

fn chat(url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
    // Where there are no packs beside those that are built in.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.args(["chat", url]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Exit code, standard output, standard error.
fn result(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn one_line_is_answered_on_standard_output() {
    let server = TestServer::start(&[]).await;
    for subprotocol in [&[][..], &["--json"]] {
        let args = [&["--say", "Who are you?"], subprotocol].concat();
        let output = chat(&server.address.to_string(), &args).output().await.unwrap();
        let (code, out, err) = result(&output);
        assert_eq!(code, Some(0), "{err}");
        assert!(out.trim().len() > 10 && out.ends_with('\n'), "{out:?}");
        assert!(err.contains(" the vampire is here") && err.contains(" tokens/s, first after "), "{err}");
        assert!(!out.contains('[') && !err.contains('\x1b'), "{out:?} {err:?}");
    }
}

#[tokio::test]
async fn a_script_talks_to_two_npcs() {
    let server = TestServer::start(&["turn.max_tokens=8"]).await;
    let mut child = chat(&server.address.to_string(), &[]).stdin(Stdio::piped()).spawn().unwrap();
    let script =
        "Good evening.\n/mix personality=0.5\n\nWhere am I?\n/npc z:1 zombie\nHungry?\n/quit\nnever said\n";
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).await.unwrap();
    drop(stdin);
    let (code, out, err) = result(&child.wait_with_output().await.unwrap());
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("(mix: personality=0.5)") && err.contains(" the zombie is here"), "{err}");
    assert_eq!(err.matches(" cached]").count(), 3, "{err}");
    let speakers = out.lines().filter(|line| line.contains(": ")).count();
    assert!(speakers >= 3, "{out}");
}

#[tokio::test]
async fn failures_are_told_in_one_line() {
    let server = TestServer::start(&["session.max_text_chars=20"]).await;
    let address = server.address.to_string();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let long = "x".repeat(21);
    let cases: [(&str, &[&str], &str); 5] = [
        (&address, &["--archetype", "unicorn", "--say", "Hi"], "unicorn"),
        (&address, &["--npc", "no spaces", "--say", "Hi"], "npc"),
        (&address, &["--say", &long], "20"),
        (&nobody, &["--say", "Hi"], "nothing listens"),
        ("wss://example.org", &["--say", "Hi"], "TLS"),
    ];
    for (url, args, expected) in cases {
        let (code, out, err) = result(&chat(url, args).output().await.unwrap());
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}: {err}");
        let last = err.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(expected), "{args:?}: {err}");
    }
}

#[tokio::test]
async fn ctrl_c_stops_the_answer() {
    let server = TestServer::start(&["turn.max_tokens=300"]).await;
    let mut child =
        chat(&server.address.to_string(), &["--say", "Tell me a very long story."]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 1];
    stdout.read_exact(&mut first).await.unwrap();
    let pid = libc::pid_t::try_from(child.id().unwrap()).unwrap();
    // SAFETY: `kill` has no preconditions; the child has not been waited for, so the id is its own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    let (code, _, err) = result(&child.wait_with_output().await.unwrap());
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("error: the answer was stopped"), "{err}");
}

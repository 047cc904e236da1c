//! Commands, and servers that end with their test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

pub fn needed(variable: &str) -> PathBuf {
    std::env::var_os(variable).expect("run the tests with `cargo xtask test`").into()
}

/// Servers of one data folder refuse each other: every command has its own.
pub static COMMANDS: AtomicUsize = AtomicUsize::new(0);

pub fn gateway(words: &[&str]) -> Command {
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

pub fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command that must fail with `code`, and returns what it says.
pub fn refused(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    let said = complaint(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    assert!(output.stdout.is_empty(), "results alone go to standard output");
    said
}

/// A server, killed when the test is over.
pub struct Server {
    pub process: Child,
    pub address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn serve() -> Server {
    serve_with(&[], Stdio::null())
}

pub fn serve_with(sets: &[&str], log: Stdio) -> Server {
    let mut command = gateway(&["serve", "--listen", "127.0.0.1:0", "--model"]);
    command.arg(needed("NPC_GATEWAY_TEST_MODEL")).env("ORT_DYLIB_PATH", needed("ORT_DYLIB_PATH"));
    for set in sets {
        command.args(["--set", set]);
    }
    started(command.stderr(log))
}

/// Starts a server and waits until it listens.
pub fn started(command: &mut Command) -> Server {
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("listening on ").expect("the first line").trim().to_owned();
    Server { process, address }
}

/// The status line that the server answers `path` with.
pub fn status(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

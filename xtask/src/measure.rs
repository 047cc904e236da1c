//! `cargo xtask measure`: how long a start takes and how much memory sixteen conversations need.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;

use crate::{cargo, root, step};

/// Conversations at the same time.
const CONVERSATIONS: usize = 16;
const ARCHETYPES: [&str; 5] = ["vampire", "werewolf", "zombie", "ghoul", "lich"];

#[derive(Debug, Args)]
pub struct MeasureArgs {
    /// Starts that are timed.
    #[arg(long, default_value_t = 5)]
    starts: usize,
}

/// A running server.
struct Server {
    child: Child,
    address: SocketAddr,
    /// From the start of the process until `readyz` answered 200.
    ready_after: Duration,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn run(args: &MeasureArgs) -> anyhow::Result<()> {
    step(cargo().args(["build", "--release", "--package", "npc-gateway"]))?;
    let gateway = root().join("target/release/npc-gateway");
    // Fills the cache, so that every start below is a warm one.
    step(Command::new(&gateway).arg("pull").stdout(Stdio::null()))?;

    let mut starts = Vec::new();
    for _ in 0..args.starts.max(1) {
        starts.push(start(&gateway)?.ready_after.as_secs_f64());
    }
    starts.sort_by(f64::total_cmp);
    println!("start to readyz, warm cache: median {:.2} s of {}", starts[starts.len() / 2], starts.len());

    let server = start(&gateway)?;
    let idle = resident_mb(&server)?;
    let began = Instant::now();
    let chats = (0..CONVERSATIONS).map(|i| chat(&gateway, &server, i)).collect::<anyhow::Result<Vec<_>>>()?;
    for mut chat in chats {
        let status = chat.wait()?;
        if !status.success() {
            bail!("a conversation failed: {status}");
        }
    }
    println!("{CONVERSATIONS} conversations at once: {:.1} s", began.elapsed().as_secs_f64());
    println!("resident memory: {idle} MB idle, {} MB after them", resident_mb(&server)?);
    Ok(())
}

fn start(gateway: &Path) -> anyhow::Result<Server> {
    let began = Instant::now();
    let mut child = Command::new(gateway)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .current_dir(root().join("target"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the server")?;
    let stdout = child.stdout.take().context("the server's output")?;
    let mut server = Server { child, address: ([127, 0, 0, 1], 0).into(), ready_after: Duration::ZERO };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address =
        line.trim().strip_prefix("listening on ").with_context(|| format!("no address in {line:?}"))?;
    server.address = address.parse()?;
    while !is_ready(server.address)? {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.ready_after = began.elapsed();
    Ok(server)
}

fn is_ready(address: SocketAddr) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

fn chat(gateway: &Path, server: &Server, i: usize) -> anyhow::Result<Child> {
    let mut command = Command::new(gateway);
    command
        .args(["chat", &format!("ws://{}/ws", server.address)])
        .args(["--npc", &format!("npc-{i}"), "--player", &format!("player-{i}")])
        .args(["--archetype", ARCHETYPES[i % ARCHETYPES.len()], "--say", "Good evening. Who are you?"]);
    command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().context("cannot start a conversation")
}

/// `VmRSS` of the server, in MB of 10⁶ bytes.
fn resident_mb(server: &Server) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024 / 1_000_000)
}

//! `cargo xtask measure`: how long a start takes and how much memory sixteen conversations need.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;

use crate::server::{self, Server};
use crate::step;

/// Conversations at the same time.
const CONVERSATIONS: usize = 16;
const ARCHETYPES: [&str; 5] = ["vampire", "werewolf", "zombie", "ghoul", "lich"];

#[derive(Debug, Args)]
pub struct MeasureArgs {
    /// Starts that are timed.
    #[arg(long, default_value_t = 5)]
    starts: usize,
}

pub fn run(args: &MeasureArgs) -> anyhow::Result<()> {
    let gateway = server::gateway(None)?;
    // Fills the cache, so that every start below is a warm one.
    step(Command::new(&gateway).arg("pull").stdout(Stdio::null()))?;

    let mut starts = Vec::new();
    for _ in 0..args.starts.max(1) {
        starts.push(Server::start(&gateway, &[])?.ready_after.as_secs_f64());
    }
    starts.sort_by(f64::total_cmp);
    println!("start to readyz, warm cache: median {:.2} s of {}", starts[starts.len() / 2], starts.len());

    let server = Server::start(&gateway, &[])?;
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

fn chat(gateway: &Path, server: &Server, i: usize) -> anyhow::Result<Child> {
    let mut command = Command::new(gateway);
    command
        .args(["chat", &format!("ws://{}/ws", server.address)])
        .args(["--npc", &format!("npc-{i}"), "--player", &format!("player-{i}")])
        .args(["--archetype", ARCHETYPES[i % ARCHETYPES.len()], "--say", "Good evening. Who are you?"]);
    command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().context("cannot start a conversation")
}

/// In MB of 10⁶ bytes.
fn resident_mb(server: &Server) -> anyhow::Result<u64> {
    Ok(server.resident()? / 1_000_000)
}

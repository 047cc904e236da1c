//! The servers that are compared, each a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use bytes::Bytes;
use tempfile::{NamedTempFile, TempDir};

use super::{PushArgs, door, save};
use crate::bare::Flush;
use crate::link::Door;
use crate::target::Target;

/// What answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gateway,
    Bare,
}

/// A server, killed when it is dropped.
#[derive(Debug)]
pub struct Peer {
    pub kind: Kind,
    pub door: Door,
    process: Child,
    /// What the bare server reads.
    _frames: Option<NamedTempFile>,
    /// What the gateway writes into.
    _data: Option<TempDir>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    /// A gateway that says so many tokens a second in every turn; 0: as fast as it can.
    pub async fn gateway(args: &PushArgs, rate: f64, tokens: u32) -> anyhow::Result<Self> {
        let mut command = Command::new(&args.gateway);
        let data = tempfile::tempdir()?;
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
        let sets = [
            "engine.kind=scripted".to_owned(),
            format!("engine.script_tokens_per_second={rate}"),
            format!("engine.context={}", (tokens + 1).max(1024)),
            format!("turn.max_tokens={tokens}"),
            "turn.ignore_end=true".to_owned(),
            // The bare server sends the same lines.
            "turn.tracks=[]".to_owned(),
            "session.heartbeat_ms=600000".to_owned(),
            "session.frames_per_second=0".to_owned(),
            "session.turns_per_minute=0".to_owned(),
            // Those of earlier rounds may still wait for their clients.
            format!("session.max_sessions={}", args.clients * (args.rounds + args.late_rounds + 2)),
            "log.level=warn".to_owned(),
        ];
        for set in sets.iter().chain(&args.sets) {
            command.args(["--set", set]);
        }
        Self::start(Kind::Gateway, command, &args.gateway, None, Some(data)).await
    }

    /// A bare server that pushes these frames.
    pub async fn bare(frames: &[Bytes], rate: f64, flush: Flush) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("this program does not know where it lies")?;
        let file = save(frames)?;
        let mut command = Command::new(&own);
        let flush = if flush == Flush::Each { "each" } else { "end" };
        command.args(["bare", "--flush", flush, "--rate", &rate.to_string(), "--frames"]).arg(file.path());
        Self::start(Kind::Bare, command, &own, Some(file), None).await
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    async fn start(
        kind: Kind,
        mut command: Command,
        program: &Path,
        frames: Option<NamedTempFile>,
        data: Option<TempDir>,
    ) -> anyhow::Result<Self> {
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut process = process.with_context(|| format!("cannot start {}", program.display()))?;
        let mut line = String::new();
        if let Some(out) = process.stdout.as_mut() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let address = line.strip_prefix("listening on ").map(str::trim).map(str::to_owned);
        let found = match &address {
            Some(address) => Target::find(address).await,
            None => Err(anyhow::anyhow!("{} did not start", program.display())),
        };
        match found {
            Ok(target) => Ok(Self { kind, door: door(target), process, _frames: frames, _data: data }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                ensure!(false, "{error:#}");
                Err(error)
            }
        }
    }
}

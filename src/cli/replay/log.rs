//! The log of a session.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::session::{From, Logged};

/// Bytes of a log at most.
const MAX_BYTES: u64 = 256 << 20;

/// What went over a session's sockets, but for its handshakes and heartbeats.
pub(super) struct SessionLog {
    pub player: String,
    /// `ready` is the first.
    pub frames: Vec<Logged>,
}

impl SessionLog {
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file = std::fs::File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let bytes = file.metadata().map_or(0, |of| of.len());
        if bytes > MAX_BYTES {
            bail!("{} has {bytes} bytes, at most {MAX_BYTES} are read", path.display());
        }
        let mut frames: Vec<Logged> = Vec::new();
        for (i, line) in BufReader::new(file.take(MAX_BYTES)).lines().enumerate() {
            let at = || format!("{}, line {}", path.display(), i + 1);
            let logged: Logged = serde_json::from_str(&line.with_context(at)?).with_context(at)?;
            let number = frames.len() as u64 + 1;
            if logged.n != number {
                bail!("{}: it is number {}, where {number} is next: the log has a gap", at(), logged.n);
            }
            frames.push(logged);
        }
        let first = frames.first().map(|logged| &logged.frame);
        let player =
            first.filter(|frame| frame["op"] == "ready").and_then(|frame| frame["d"]["player"].as_str());
        let Some(player) = player else { bail!("{}: it does not begin with `ready`", path.display()) };
        Ok(Self { player: player.to_owned(), frames })
    }

    pub fn count(&self, from: From) -> usize {
        self.frames.iter().filter(|logged| logged.from == from).count()
    }

    pub fn server_frames(&self) -> Vec<Value> {
        let frames = self.frames.iter().filter(|logged| logged.from == From::Server);
        frames.map(|logged| logged.frame.clone()).collect()
    }
}

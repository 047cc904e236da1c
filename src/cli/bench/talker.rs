//! One client of a gateway: sends lines and notes when what comes back.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Instant;

use anyhow::{Context, bail};
use tokio::time::timeout_at;

use super::figures::Seen;
use crate::cli::link::Link;
use crate::wire::{ClientFrame, GenerationOptions, NpcJoin, NpcLeave, SayFrame, ServerFrame};

/// An open session.
pub struct Talker {
    link: Link,
    /// When the next heartbeat is due.
    beat_at: Instant,
    turns: u64,
}

/// A line, spoken to an NPC that was met.
#[derive(Debug, Clone)]
pub struct Line {
    pub npc: String,
    pub text: String,
    pub tokens: u32,
    /// Absent: the pack's own.
    pub mix: Option<BTreeMap<String, f32>>,
}

impl Talker {
    pub async fn open(url: &str, player: &str) -> anyhow::Result<Self> {
        let link = Link::open(url, player, false, "bench").await?;
        let beat_at = Instant::now() + link.heartbeat();
        Ok(Self { link, beat_at, turns: 0 })
    }

    /// Joins an NPC, which is made.
    pub async fn meet(&mut self, npc: &str, name: &str, archetype: &str) -> anyhow::Result<()> {
        let join = NpcJoin {
            npc: npc.to_owned(),
            archetype: Some(archetype.to_owned()),
            name: Some(name.to_owned()),
            seed: None,
            personality: None,
        };
        self.link.send(&ClientFrame::NpcJoin(join), None).await?;
        loop {
            match self.next().await? {
                ServerFrame::NpcJoined(_) => return Ok(()),
                ServerFrame::Error(error) => bail!("npc.join {archetype}: {}", error.message),
                _ => {}
            }
        }
    }

    /// Leaves an NPC; the answer is passed over when it comes.
    pub async fn leave(&mut self, npc: String) -> anyhow::Result<()> {
        self.link.send(&ClientFrame::NpcLeave(NpcLeave { npc }), None).await
    }

    /// Says a line and reads the answer to its end.
    pub async fn say(&mut self, line: Line) -> anyhow::Result<Seen> {
        self.turns += 1;
        let generation =
            GenerationOptions { max_tokens: Some(line.tokens), greedy: true, ..GenerationOptions::default() };
        let say = SayFrame {
            npc: line.npc,
            turn: format!("t{}", self.turns),
            text: line.text,
            actions: Vec::new(),
            context: None,
            generation: Some(generation),
            mix: line.mix,
            audience: None,
        };
        let mut seen = Seen::default();
        let sent = Instant::now();
        let mut last = sent;
        self.link.send(&ClientFrame::Say(Box::new(say)), None).await?;
        loop {
            match self.next().await? {
                ServerFrame::TurnStarted(started) => {
                    seen.prompt = started.prompt_tokens;
                    seen.cached = started.cached_tokens;
                    seen.adapters = started.adapters.len();
                }
                ServerFrame::DialogueDelta(delta) => {
                    let now = Instant::now();
                    seen.piece(&delta.text, delta.tokens, (now - last).as_secs_f64() * 1e3);
                    last = now;
                }
                ServerFrame::TurnDone(done) if done.fallback => {
                    bail!("the gateway was overloaded and answered with a scripted line");
                }
                ServerFrame::TurnDone(done) => {
                    if seen.reply.is_empty() {
                        // Tokens without text: nothing was heard before the end.
                        seen.first_token_ms = sent.elapsed().as_secs_f64() * 1e3;
                    }
                    seen.tokens = done.usage.generated_tokens;
                    return Ok(seen);
                }
                ServerFrame::Error(error) => bail!("a line was not answered: {}", error.message),
                _ => {}
            }
        }
    }

    /// Waits for something else without losing the session.
    pub async fn rest(&mut self, until: impl Future) -> anyhow::Result<()> {
        let mut until = std::pin::pin!(until);
        loop {
            tokio::select! {
                _ = &mut until => return Ok(()),
                frame = self.next() => drop(frame?),
            }
        }
    }

    pub async fn close(&mut self) {
        self.link.close().await;
    }

    /// Sends any other frame.
    pub async fn send(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        self.link.send(frame, None).await
    }

    /// The next frame; sends the heartbeats that are due.
    pub async fn next(&mut self) -> anyhow::Result<ServerFrame> {
        loop {
            let Ok(message) = timeout_at(self.beat_at.into(), self.link.next()).await else {
                self.link.beat().await?;
                self.beat_at = Instant::now() + self.link.heartbeat();
                continue;
            };
            // A frame that this version does not know is passed over.
            if let Some(frame) = message?.context("the gateway closed the connection")?.frame {
                return Ok(frame);
            }
        }
    }
}

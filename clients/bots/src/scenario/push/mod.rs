//! Frames a second, and how late frames are: a gateway with a scripted engine beside a bare server that pushes the
//! same frames, in turns.

mod late;
mod peer;
mod rate;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use bytes::Bytes;
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use self::peer::{Kind, Peer};
use crate::bare;
use crate::limits;
use crate::link::Door;
use crate::report::Report;
use crate::target::Opening;
use crate::wire::{Encoding, Generation, Identify, Join, Say};

#[derive(Debug, Args)]
pub struct PushArgs {
    /// The gateway's program.
    #[arg(long, value_name = "FILE")]
    pub gateway: PathBuf,
    /// Another setting of the gateway; may be given again.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub sets: Vec<String>,
    /// Sockets.
    #[arg(long, default_value_t = 64)]
    pub clients: usize,
    /// Measurements of each server; they alternate.
    #[arg(long, default_value_t = 7)]
    pub rounds: usize,
    /// Turns of each client in a round.
    #[arg(long, default_value_t = 10)]
    pub turns: usize,
    /// Tokens, and so deltas, of a turn.
    #[arg(long, default_value_t = 500)]
    pub tokens: u32,
    /// Tokens a second of each client in the measurement of lateness; 0: no such measurement.
    #[arg(long, default_value_t = 20.0)]
    pub pace: f64,
    /// Rounds of that measurement, one turn of each client in each.
    #[arg(long, default_value_t = 3)]
    pub late_rounds: usize,
    /// Tokens of a turn in it.
    #[arg(long, default_value_t = 100)]
    pub late_tokens: u32,
    /// Fails if the gateway pushes less than this share of what the bare server does that sends each frame; 0: whatever
    /// it is.
    #[arg(long, default_value_t = 0.0)]
    pub at_least: f64,
    /// Also writes everything into a file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

pub async fn run(args: &PushArgs) -> anyhow::Result<Arc<Report>> {
    ensure!(args.clients > 0 && args.rounds > 0 && args.turns > 0 && args.tokens > 0, "nothing to measure");
    // Both servers inherit the limit.
    limits::raise_files(args.clients * 2)?;
    let report = Arc::new(Report::default());
    rate::measure(args, &report).await?;
    if args.pace > 0.0 {
        late::measure(args, &report).await?;
    }
    Ok(report)
}

/// The gateway at a rate, and the frames of one of its turns.
async fn gateway(args: &PushArgs, rate: f64, tokens: u32) -> anyhow::Result<(Peer, Vec<Bytes>)> {
    let gateway = Peer::gateway(args, rate, tokens).await?;
    let mut player = Player::enter(&gateway.door, 0, Kind::Gateway, "sample").await?;
    let frames = player.sample(tokens).await?;
    Ok((gateway, frames))
}

/// A client of either server. It does the same for both: sends a line, and reads the head of every frame until
/// `turn.done`.
struct Player {
    socket: tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>,
    npc: String,
    turns: usize,
}

impl Player {
    async fn enter(door: &Door, number: usize, kind: Kind, name: &str) -> anyhow::Result<Self> {
        let socket = door.socket(number).await?;
        let npc = format!("{name}-npc-{number}");
        let mut player = Self { socket, npc, turns: 0 };
        if kind == Kind::Gateway {
            player.until("hello").await?;
            let token = format!("{name}-{number}");
            let client = crate::wire::Client { name: "npc-bots", version: env!("CARGO_PKG_VERSION") };
            let identify = Encoding::Msgpack.write("identify", None, &Identify { token: &token, client })?;
            player.socket.send(identify).await?;
            player.until("ready").await?;
            let join = Join { npc: &player.npc.clone(), archetype: "vampire" };
            player.socket.send(Encoding::Msgpack.write("npc.join", None, &join)?).await?;
            player.until("npc.joined").await?;
        }
        Ok(player)
    }

    /// Reads until this frame; returns how many there were.
    async fn until(&mut self, op: &str) -> anyhow::Result<usize> {
        let mut frames = 0;
        loop {
            let message = self.message().await?;
            frames += 1;
            if Encoding::Msgpack.head(&message)?.op == op {
                return Ok(frames);
            }
        }
    }

    async fn message(&mut self) -> anyhow::Result<Message> {
        let message = self.socket.next().await;
        let message = message.ok_or_else(|| anyhow::anyhow!("the server closed the connection"))??;
        ensure!(!message.is_close(), "the server closed the socket: {message}");
        Ok(message)
    }

    /// Asks for a turn.
    async fn say(&mut self, tokens: u32) -> anyhow::Result<()> {
        self.turns += 1;
        let turn = format!("turn-{:06}", self.turns);
        // The same line every time: both servers push the same frames.
        let generation = Some(Generation { max_tokens: Some(tokens), seed: Some(0) });
        let say = Say { npc: &self.npc, turn: &turn, text: "Go on.", generation, audience: &[] };
        self.socket.send(Encoding::Msgpack.write("say", None, &say)?).await?;
        Ok(())
    }

    /// The frames of a turn, as they are.
    async fn sample(&mut self, tokens: u32) -> anyhow::Result<Vec<Bytes>> {
        self.say(tokens).await?;
        let mut frames = Vec::new();
        loop {
            let message = self.message().await?;
            let done = Encoding::Msgpack.head(&message)?.op == "turn.done";
            frames.push(message.into_data());
            if done {
                return Ok(frames);
            }
        }
    }
}

/// How servers of this measurement are connected to.
fn door(target: crate::target::Target) -> Door {
    Door {
        target,
        encoding: Encoding::Msgpack,
        patience: std::time::Duration::from_mins(1),
        opening: Opening::default(),
    }
}

fn save(frames: &[Bytes]) -> anyhow::Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    bare::save(file.path(), frames)?;
    Ok(file)
}

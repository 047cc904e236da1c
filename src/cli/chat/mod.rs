//! `chat`: talk to an NPC from a terminal, over the real socket.
//!
//! The answer goes to standard output as it comes, everything else to standard error, so that
//! `chat --say TEXT` can be used in scripts.

mod command;
mod conversation;
mod input;
mod screen;
mod talk;

#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal},
    time::Instant,
};

use anyhow::{Context, bail};
use tokio::time::{MissedTickBehavior, interval_at};

use self::{conversation::Conversation, screen::Screen};
use super::link::{self, Link};

/// The archetype of a new NPC when none is named.
const DEFAULT_ARCHETYPE: &str = "vampire";

/// Arguments of `chat`.
#[derive(Debug, Clone, clap::Args)]
pub struct ChatArgs {
    /// Address of the gateway: ws://HOST:PORT/ws, or just HOST:PORT.
    #[arg(default_value = "ws://127.0.0.1:7777/ws")]
    pub url: String,
    /// Id of the NPC to talk to; it is made if it does not exist. Without it: an NPC named like its archetype.
    #[arg(long, value_name = "ID")]
    pub npc: Option<String>,
    /// Archetype of the NPC; without it an existing NPC keeps its own and a new one is a vampire.
    #[arg(long, value_name = "NAME")]
    pub archetype: Option<String>,
    /// Say this one line, print the answer and exit.
    #[arg(long, value_name = "TEXT")]
    pub say: Option<String>,
    /// The player's name. A gateway with `auth.mode = "dev"` takes it as the token.
    #[arg(long, value_name = "NAME", default_value = "player")]
    pub player: String,
    /// Token of the player, for a gateway that checks tokens.
    #[arg(long, value_name = "TOKEN", env = "NPC_GATEWAY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Speak JSON instead of MessagePack.
    #[arg(long)]
    pub json: bool,
}

/// Runs the chat until the player quits, the input ends or, with `--say`, the turn is over.
///
/// An error says in one line what went wrong: no connection, a refusal, a turn that failed.
pub async fn run(args: ChatArgs) -> anyhow::Result<()> {
    let url = link::url(&args.url)?;
    let token = args.token.as_deref().unwrap_or(&args.player);
    let mut link = Link::open(&url, token, args.json, "chat").await?;

    let one_line = args.say.is_some();
    let mut screen = Screen::new(io::stdout(), io::stderr());
    screen.dim = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    screen.prompt = !one_line && io::stdin().is_terminal();
    screen.names = !one_line;
    let npc = args.npc.clone().or_else(|| args.archetype.clone());
    let npc = npc.unwrap_or_else(|| DEFAULT_ARCHETYPE.to_owned());
    let mut conversation = Conversation::new(screen, npc, args.archetype, args.say);

    let mut lines = if one_line { None } else { Some(input::lines()) };
    let beat = link.heartbeat();
    // The first heartbeat comes at a random point of the interval, so that clients that were all cut off at
    // once do not beat together ever after.
    let first = Instant::now() + beat.mul_f64(rand::random::<f64>());
    let mut heartbeat = interval_at(first.into(), beat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        for (frame, cid) in conversation.take_outbox() {
            link.send(&frame, cid).await?;
        }
        if let Some(end) = conversation.ended() {
            link.close().await;
            return end.map_err(anyhow::Error::msg);
        }
        tokio::select! {
            message = link.next() => match message? {
                Some(message) => conversation.message(message, Instant::now())?,
                None => bail!("the gateway closed the connection"),
            },
            line = input::next(&mut lines), if conversation.wants_input() => {
                if let Some(line) = line {
                    conversation.line(&line?)?;
                } else {
                    lines = None;
                    conversation.input_ended();
                }
            }
            signal = tokio::signal::ctrl_c() => {
                signal.context("cannot watch for Ctrl-C")?;
                conversation.interrupt()?;
            }
            _ = heartbeat.tick() => link.beat().await?,
        }
    }
}

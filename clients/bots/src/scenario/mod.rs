//! What crowds do.

pub mod chat;
pub mod flood;
pub mod idle;
pub mod push;
pub mod slow;
pub mod storm;
pub mod tavern;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::bot::{Bot, Told, Words, retry};
use crate::fault::Fault;
use crate::limits;
use crate::link::Door;
use crate::report::Report;
use crate::target::{Opening, Target};
use crate::wire::{Encoding, Generation};

/// How often a connection is tried that the machine or the server does not take.
const TRIES: u32 = 60;
/// Seeds that lines have; a script answers the same to the same one.
pub const SEEDS: u64 = 8;

/// What all scenarios have in common.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Address of the gateway: ws://HOST:PORT/ws, or just HOST:PORT.
    #[arg(long, default_value = "ws://127.0.0.1:7777/ws")]
    pub url: String,
    /// Players.
    #[arg(long, default_value_t = 10)]
    pub clients: usize,
    /// Seconds over which they arrive.
    #[arg(long, default_value_t = 0.0)]
    pub ramp: f64,
    /// Seconds for which they stay after that; what has begun is finished.
    #[arg(long, default_value_t = 10.0)]
    pub duration: f64,
    /// Connections that are being opened at the same time; more would only wait for this machine.
    #[arg(long, default_value_t = 1000)]
    pub at_once: usize,
    /// Makes the run's choices; the same seed makes the same ones.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Players are called PREFIX-0, PREFIX-1, …; with `auth.mode = "dev"` the name is the token.
    #[arg(long, default_value = "bot", value_name = "PREFIX")]
    pub token_prefix: String,
    /// A file with a token a line, for a gateway that checks tokens; as many as players.
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// How frames are written.
    #[arg(long, value_enum, default_value = "msgpack")]
    pub encoding: Encoding,
    /// Archetype of the NPCs that players make.
    #[arg(long, default_value = "vampire")]
    pub archetype: String,
    /// Seconds for which nothing may come where something must.
    #[arg(long, default_value_t = 60)]
    pub patience: u64,
    /// Process of the server, on this machine: its resident memory is noted.
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Also writes everything into a file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The players of a run.
#[derive(Debug)]
pub struct Crowd {
    pub common: Common,
    pub door: Door,
    pub report: Arc<Report>,
    tokens: Vec<String>,
    opening: Semaphore,
    /// When the first one arrives.
    start: Instant,
}

impl Crowd {
    /// Makes everything ready; nobody has connected yet.
    pub async fn gather(common: &Common) -> anyhow::Result<Arc<Self>> {
        limits::raise_files(common.clients)?;
        let tokens = match &common.tokens {
            None => Vec::new(),
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read --tokens {}", file.display()))?;
                let tokens: Vec<String> =
                    text.lines().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect();
                anyhow::ensure!(
                    tokens.len() >= common.clients,
                    "--tokens {} has {} tokens for {} players",
                    file.display(),
                    tokens.len(),
                    common.clients
                );
                tokens
            }
        };
        let door = Door {
            target: Target::find(&common.url).await?,
            encoding: common.encoding,
            patience: Duration::from_secs(common.patience),
            opening: Opening::default(),
        };
        // Somebody must be there: what is not there breaks no promise.
        let there = door.target.connect(0, Opening::default()).await;
        drop(there.with_context(|| format!("--url {}: cannot connect", common.url))?);
        let report = Arc::new(Report::default());
        let opening = Semaphore::new(common.at_once.max(1));
        Ok(Arc::new(Self { common: common.clone(), door, report, tokens, opening, start: Instant::now() }))
    }

    /// The token of a player.
    pub fn token(&self, number: usize) -> String {
        let own = || format!("{}-{number}", self.common.token_prefix);
        self.tokens.get(number).cloned().unwrap_or_else(own)
    }

    /// The id of an NPC of this run.
    pub fn npc(&self, number: usize) -> String {
        format!("{}-npc-{number}", self.common.token_prefix)
    }

    /// The choices of a player, of which nobody else's depend.
    pub fn choices(&self, number: usize) -> StdRng {
        StdRng::seed_from_u64(self.common.seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// When the run is to come to its end.
    pub fn deadline(&self) -> Instant {
        self.start + Duration::from_secs_f64((self.common.ramp + self.common.duration).clamp(0.0, 1e6))
    }

    /// Lets every player play, each from its own time of arrival on. A fault that comes out of one is a broken
    /// promise.
    pub async fn play<F>(self: &Arc<Self>, player: impl Fn(Arc<Self>, usize) -> F)
    where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        self.play_some(0..self.common.clients, player).await;
    }

    /// The same for some of them.
    pub async fn play_some<F>(
        self: &Arc<Self>,
        numbers: std::ops::Range<usize>,
        player: impl Fn(Arc<Self>, usize) -> F,
    ) where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let count = numbers.len().max(1);
        let mut players = JoinSet::new();
        for (nth, number) in numbers.enumerate() {
            let arrives = self.start
                + Duration::from_secs_f64(self.common.ramp.clamp(0.0, 1e6) * nth as f64 / count as f64);
            let (plays, report) = (player(Arc::clone(self), number), Arc::clone(&self.report));
            players.spawn(async move {
                sleep_until(arrives).await;
                if let Err(fault) = plays.await {
                    report.broke(format!("player {number}: {fault}"));
                }
            });
        }
        while let Some(joined) = players.join_next().await {
            if let Err(error) = joined {
                self.report.broke(format!("a player panicked: {error}"));
            }
        }
    }

    /// Opens a session; a connection that the server or the machine does not take is tried again.
    pub async fn enter(&self, number: usize) -> Result<Bot, Fault> {
        let token = self.token(number);
        self.insist(|| Bot::enter(&self.door, number, &token, &self.report)).await
    }

    /// Opens something until it works, as long as what goes wrong may pass.
    pub async fn insist<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let mut tries = 0;
        loop {
            // Closed only with the run.
            let place = self.opening.acquire().await;
            let opened = attempt().await;
            drop(place);
            match opened {
                Err(fault) if fault.is_passing() && tries < TRIES => {
                    tries += 1;
                    self.report.count("connections tried again");
                    let wait = Duration::from_millis(100 * u64::from(tries.min(10)));
                    sleep(wait.mul_f64(rand::random_range(0.5..1.5))).await;
                }
                done => return done,
            }
        }
    }

    /// Says one line to its end, again after every refusal that may pass, until `deadline`.
    pub async fn converse(
        &self,
        bot: &mut Bot,
        npc: &str,
        choices: &mut StdRng,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let text = format!("What do you know of the number {}?", choices.random_range(0..1_000_000));
        let generation = Some(Generation { seed: Some(choices.random_range(0..SEEDS)), max_tokens: None });
        loop {
            match bot.say(Words { npc, text: &text, generation, audience: &[] }).await? {
                Told::Answered(_) => return Ok(()),
                Told::Refused(refusal) if matches!(refusal.code.as_str(), "overloaded" | "rate_limited") => {
                    if Instant::now() >= deadline {
                        return Ok(());
                    }
                    sleep(retry(&refusal)).await;
                }
                Told::Refused(refusal) => return Err(Fault::Refused(refusal)),
            }
        }
    }
}

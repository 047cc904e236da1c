//! Players and NPCs in one room: everybody hears what is said to some of them.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rand::Rng;
use tokio::sync::Barrier;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Common, Crowd, SEEDS};
use crate::book::{Book, Texts};
use crate::bot::{Bot, Told, Words, retry};
use crate::fault::Fault;
use crate::report::Report;
use crate::wire::{Body, Generation};

#[derive(Debug, Args)]
pub struct TavernArgs {
    #[command(flatten)]
    pub common: Common,
    /// NPCs, all of which every player joins.
    #[arg(long, default_value_t = 8)]
    pub npcs: usize,
    /// Other players who hear a line: those who come next in the count.
    #[arg(long, default_value_t = 3)]
    pub audience: usize,
    /// Longest pause between two lines of a player, in seconds.
    #[arg(long, default_value_t = 1.0)]
    pub pause: f64,
}

#[derive(Debug)]
struct Room {
    npcs: usize,
    audience: usize,
    pause: f64,
    /// Everybody is there before anybody speaks, and stays until everybody has heard everything.
    all_in: Barrier,
    texts: Arc<Texts>,
}

pub async fn run(args: &TavernArgs) -> anyhow::Result<Arc<Report>> {
    let crowd = Crowd::gather(&args.common).await?;
    let clients = args.common.clients;
    let room = Arc::new(Room {
        npcs: args.npcs.max(1),
        audience: args.audience.min(clients.saturating_sub(1)),
        pause: args.pause.clamp(0.0, 1e6),
        all_in: Barrier::new(clients),
        texts: Arc::new(Texts::default()),
    });
    crowd.play(|crowd, number| sit(crowd, number, Arc::clone(&room))).await;
    if crowd.report.counted("lines said") == 0 && crowd.report.broken() == 0 {
        anyhow::bail!("nobody said anything: --duration is over before everybody is in");
    }
    let unheard = room.texts.unheard();
    if unheard > 0 {
        crowd.report.broke(format!("{unheard} turns were not heard by everybody who should have"));
    }
    Ok(Arc::clone(&crowd.report))
}

async fn sit(crowd: Arc<Crowd>, number: usize, room: Arc<Room>) -> Result<(), Fault> {
    let mut bot = crowd.enter(number).await?;
    bot.book = Book::shared(Arc::clone(&room.texts));
    for npc in 0..room.npcs {
        bot.join(&crowd.npc(npc), &crowd.common.archetype).await?;
    }
    // Somebody who cannot come in keeps the others waiting, but not for ever.
    if timeout(crowd.door.patience, room.all_in.wait()).await.is_err() {
        return Err(Fault::Silence(crowd.door.patience.as_secs()));
    }
    let clients = crowd.common.clients;
    // Names are tokens here: the audience is named before anybody can be asked.
    let audience: Vec<String> =
        (1..=room.audience).map(|next| crowd.token((number + next) % clients)).collect();
    let mut choices = crowd.choices(number);
    loop {
        let pause = Duration::from_secs_f64(room.pause * choices.random::<f64>());
        listen_until(&mut bot, Instant::now() + pause).await?;
        if Instant::now() >= crowd.deadline() {
            break;
        }
        let npc = crowd.npc(choices.random_range(0..room.npcs));
        let seed = choices.random_range(0..SEEDS);
        speak(&mut bot, &room, &npc, seed, &audience).await?;
    }
    // Others speak to the end.
    let mut quiet = Instant::now();
    while room.texts.unheard() > 0 && quiet.elapsed() < crowd.door.patience {
        let before = room.texts.unheard();
        listen_until(&mut bot, Instant::now() + Duration::from_millis(50)).await?;
        if room.texts.unheard() != before {
            quiet = Instant::now();
        }
    }
    bot.link.leave().await;
    Ok(())
}

async fn speak(bot: &mut Bot, room: &Room, npc: &str, seed: u64, audience: &[String]) -> Result<(), Fault> {
    let generation = Some(Generation { seed: Some(seed), max_tokens: None });
    let words = Words { npc, text: "Who else is here tonight?", generation, audience };
    let said = std::time::Instant::now();
    // Said to be expected before it is said: somebody else may hear the end first.
    room.texts.expect(&bot.name, &bot.next_turn(), audience.len() + 1);
    let (turn, cid) = bot.begin(words).await?;
    match bot.listen(&turn, cid, said).await? {
        Told::Answered(_) => Ok(()),
        Told::Refused(refusal) => {
            room.texts.forget(&bot.name, &turn);
            if !matches!(refusal.code.as_str(), "overloaded" | "rate_limited") {
                return Err(Fault::Refused(refusal));
            }
            sleep(retry(&refusal)).await;
            Ok(())
        }
    }
}

/// Hears what others are told.
async fn listen_until(bot: &mut Bot, until: Instant) -> Result<(), Fault> {
    loop {
        tokio::select! {
            frame = bot.link.next_or_wait() => {
                let frame = frame?;
                if let Body::Error(refusal) = frame.body {
                    return Err(Fault::Refused(refusal));
                }
                if bot.hear(&frame)?.is_some_and(|ended| ended.player != bot.name) {
                    bot.report.count("turns of others heard");
                }
            }
            () = sleep_until(until) => return Ok(()),
        }
    }
}

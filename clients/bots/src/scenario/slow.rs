//! Players who do not read while they are told a lot, and others beside them who do.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep;

use super::{Common, Crowd, chat};
use crate::bot::{Bot, Words};
use crate::fault::Fault;
use crate::link::Door;
use crate::report::Report;
use crate::target::Opening;
use crate::wire::{Body, Generation};

/// The server's word for a client that does not read.
const SLOW_CONSUMER: u16 = 4002;

#[derive(Debug, Args)]
pub struct SlowArgs {
    #[command(flatten)]
    pub common: Common,
    /// Lines that a slow player says at once, each to another NPC.
    #[arg(long, default_value_t = 8)]
    pub lines: usize,
    /// Seconds for which it reads nothing.
    #[arg(long, default_value_t = 3.0)]
    pub asleep: f64,
    /// Players beside them who read as they should.
    #[arg(long, default_value_t = 10)]
    pub honest: usize,
}

pub async fn run(args: &SlowArgs) -> anyhow::Result<Arc<Report>> {
    let slow = args.common.clients;
    let all = Common { clients: slow + args.honest, ..args.common.clone() };
    let crowd = Crowd::gather(&all).await?;
    let (lines, asleep) = (args.lines.max(1), Duration::from_secs_f64(args.asleep.clamp(0.0, 1e6)));
    tokio::join!(
        crowd.play_some(0..slow, |crowd, number| doze(crowd, number, lines, asleep)),
        crowd.play_some(slow..slow + args.honest, |crowd, number| chat::visit(crowd, number, 3, 0.5)),
    );
    Ok(Arc::clone(&crowd.report))
}

async fn doze(crowd: Arc<Crowd>, number: usize, lines: usize, asleep: Duration) -> Result<(), Fault> {
    let door = Door { opening: Opening { small_buffer: true }, ..crowd.door.clone() };
    let token = crowd.token(number);
    let mut bot = crowd.insist(|| Bot::enter(&door, number, &token, &crowd.report)).await?;
    let mut open = HashSet::new();
    for line in 0..lines {
        let npc = format!("{}-{line}", crowd.npc(number));
        bot.join(&npc, &crowd.common.archetype).await?;
        let generation = Some(Generation { seed: Some(line as u64), max_tokens: None });
        let text = "Tell me everything that you know.";
        open.insert(bot.begin(Words { npc: &npc, text, generation, audience: &[] }).await?.0);
    }
    sleep(asleep).await;
    let fault = loop {
        match hear(&mut bot, &mut open).await {
            Ok(()) if open.is_empty() => {
                crowd.report.count("slow players who got everything in time");
                bot.link.leave().await;
                return Ok(());
            }
            Ok(()) => {}
            Err(fault) => break fault,
        }
    };
    // A server that has waited long enough for a close frame to be read may cut the connection.
    match &fault {
        Fault::Closed { code: Some(SLOW_CONSUMER), .. } => crowd.report.count("closed with 4002"),
        Fault::Broken(_) => crowd.report.count("cut off"),
        _ => return Err(fault),
    }
    let back = Instant::now();
    let (lost, seat) = bot.cut();
    let link = crowd.insist(|| crowd.door.resume(number, seat.clone())).await?;
    let mut bot = lost.reseated(link);
    while !open.is_empty() {
        match hear(&mut bot, &mut open).await {
            // It missed more than `session.replay_bytes`, and was told so.
            Err(Fault::NotResumed(reason)) if reason == "gap" => {
                crowd.report.count("slow players who missed too much (gap)");
                bot.link.leave().await;
                return Ok(());
            }
            heard => heard?,
        }
    }
    crowd.report.time("resume to the last turn.done", back.elapsed());
    crowd.report.count("slow players who got everything by resuming");
    bot.link.leave().await;
    Ok(())
}

/// Hears one frame, and strikes off the turn that it ended.
async fn hear(bot: &mut Bot, open: &mut HashSet<String>) -> Result<(), Fault> {
    let frame = bot.link.next().await?;
    match &frame.body {
        Body::ResumeFailed(failed) => return Err(Fault::NotResumed(failed.reason.clone())),
        Body::Error(refusal) => return Err(Fault::Refused(refusal.clone())),
        _ => {}
    }
    if let Some(ended) = bot.hear(&frame)? {
        open.remove(&ended.turn);
    }
    Ok(())
}

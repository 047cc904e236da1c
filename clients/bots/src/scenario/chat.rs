//! Players walk up to an NPC of their own, talk, and leave.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rand::Rng;
use tokio::time::{Instant, sleep};

use super::{Common, Crowd};
use crate::fault::Fault;
use crate::report::Report;

#[derive(Debug, Args)]
pub struct ChatArgs {
    #[command(flatten)]
    pub common: Common,
    /// Lines that a player says before it leaves and comes again.
    #[arg(long, default_value_t = 3)]
    pub lines: usize,
    /// Longest pause between two lines, in seconds; each is as long as chance has it.
    #[arg(long, default_value_t = 1.0)]
    pub pause: f64,
}

pub async fn run(args: &ChatArgs) -> anyhow::Result<Arc<Report>> {
    let crowd = Crowd::gather(&args.common).await?;
    let (lines, pause) = (args.lines, args.pause.clamp(0.0, 1e6));
    crowd.play(|crowd, number| visit(crowd, number, lines, pause)).await;
    Ok(Arc::clone(&crowd.report))
}

/// Comes, talks and leaves, again and again until the end of the run.
pub async fn visit(crowd: Arc<Crowd>, number: usize, lines: usize, pause: f64) -> Result<(), Fault> {
    let (npc, mut choices, deadline) = (crowd.npc(number), crowd.choices(number), crowd.deadline());
    loop {
        let mut bot = crowd.enter(number).await?;
        bot.join(&npc, &crowd.common.archetype).await?;
        bot.focus(&npc).await?;
        for _ in 0..lines {
            crowd.converse(&mut bot, &npc, &mut choices, deadline).await?;
            if Instant::now() >= deadline {
                break;
            }
            sleep(Duration::from_secs_f64(pause * choices.random::<f64>())).await;
        }
        bot.leave_npc(&npc).await?;
        bot.link.leave().await;
        crowd.report.count("visits");
        if Instant::now() >= deadline {
            return Ok(());
        }
    }
}

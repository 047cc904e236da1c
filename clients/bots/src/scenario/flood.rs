//! Players who send as much as they can, and others beside them who must not suffer.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep, timeout};

use super::{Common, Crowd, chat};
use crate::bot::{Bot, retry};
use crate::fault::Fault;
use crate::report::Report;
use crate::wire::{Body, Frame, Heartbeat, Join, Say, Which};

const SLOW_CONSUMER: u16 = 4002;
const RATE_LIMITED: u16 = 4004;
/// Frames between two looks at what came back.
const BATCH: usize = 32;

#[derive(Debug, Args)]
pub struct FloodArgs {
    #[command(flatten)]
    pub common: Common,
    /// Players beside them who do as they should.
    #[arg(long, default_value_t = 10)]
    pub honest: usize,
    /// The gateway has no limits to run into: being refused nothing is right.
    #[arg(long)]
    pub unlimited: bool,
}

pub async fn run(args: &FloodArgs) -> anyhow::Result<Arc<Report>> {
    let flooding = args.common.clients;
    let all = Common { clients: flooding + args.honest, ..args.common.clone() };
    let crowd = Crowd::gather(&all).await?;
    tokio::join!(
        crowd.play_some(0..flooding, flood),
        crowd.play_some(flooding..flooding + args.honest, |crowd, number| chat::visit(crowd, number, 3, 0.5)),
    );
    let report = Arc::clone(&crowd.report);
    let limited = report.counted("floods refused: rate_limited")
        + report.counted("floods refused: overloaded")
        + report.counted("floods closed with 4004");
    if flooding > 0 && limited == 0 && !args.unlimited {
        report.broke("no flood was held up by anything".into());
    }
    if args.honest > 0 && report.counted("lines answered") == 0 {
        report.broke("nobody who did as they should was answered".into());
    }
    Ok(report)
}

/// Floods until the end of the run, and comes back after each time that it is thrown out.
async fn flood(crowd: Arc<Crowd>, number: usize) -> Result<(), Fault> {
    while Instant::now() < crowd.deadline() {
        let mut bot = crowd.enter(number).await?;
        match pour(&crowd, &mut bot, number).await {
            Ok(()) => bot.link.leave().await,
            Err(fault) => match fault.code() {
                Some(RATE_LIMITED) => {
                    crowd.report.count("floods closed with 4004");
                    sleep(Duration::from_secs(1)).await;
                }
                Some(SLOW_CONSUMER) => crowd.report.count("floods closed with 4002"),
                _ => match fault {
                    Fault::Broken(_) => crowd.report.count("floods cut off"),
                    // Its first frame on a new socket: the rate is the player's, not the socket's.
                    Fault::Refused(refusal) if refusal.code == "rate_limited" => sleep(retry(&refusal)).await,
                    _ => return Err(fault),
                },
            },
        }
    }
    Ok(())
}

/// Sends one kind of frame as fast as it goes.
async fn pour(crowd: &Crowd, bot: &mut Bot, number: usize) -> Result<(), Fault> {
    let npc = crowd.npc(number);
    bot.join(&npc, &crowd.common.archetype).await?;
    let mut sent = 0_u64;
    while Instant::now() < crowd.deadline() {
        for _ in 0..BATCH {
            sent += 1;
            match number % 5 {
                0 => bot.link.feed("heartbeat", &Heartbeat { seq: bot.link.seat.seq }).await?,
                1 => bot.link.feed("no.such.op", &Which { npc: &npc }).await?,
                2 => {
                    let turn = format!("f{sent}");
                    let say = Say { npc: &npc, turn: &turn, text: "Hey!", generation: None, audience: &[] };
                    bot.link.feed("say", &say).await?
                }
                3 => {
                    let npc = format!("{npc}-{sent}");
                    bot.link.feed("npc.join", &Join { npc: &npc, archetype: &crowd.common.archetype }).await?
                }
                _ => bot.link.feed("npc.focus", &Which { npc: &npc }).await?,
            };
        }
        bot.link.flush().await?;
        crowd.report.add("frames of floods", BATCH as u64);
        // What is there is read, and no more waited for.
        while let Ok(frame) = timeout(Duration::ZERO, bot.link.next_or_wait()).await {
            note(crowd, &frame?);
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn note(crowd: &Crowd, frame: &Frame) {
    let Body::Error(refusal) = &frame.body else { return };
    crowd.report.count(match refusal.code.as_str() {
        "rate_limited" => "floods refused: rate_limited",
        "overloaded" => "floods refused: overloaded",
        "too_many_npcs" => "floods refused: too_many_npcs",
        "unknown_op" => "floods refused: unknown_op",
        _ => "floods refused: other",
    });
}

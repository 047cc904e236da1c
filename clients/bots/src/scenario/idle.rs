//! Players who open a session and stay, with nothing but heartbeats.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Common, Crowd};
use crate::fault::Fault;
use crate::limits::resident_bytes;
use crate::report::Report;

#[derive(Debug, Args)]
pub struct IdleArgs {
    #[command(flatten)]
    pub common: Common,
    /// Every player also joins an NPC, of this many that they share; 0: none does.
    #[arg(long, default_value_t = 0)]
    pub npcs: usize,
}

/// Where all players are.
#[derive(Debug)]
struct Hall {
    npcs: usize,
    inside: AtomicUsize,
    lost: AtomicUsize,
    heartbeats: AtomicUsize,
    /// Whether they may go.
    open: watch::Sender<bool>,
}

/// `--duration` counts from when all are in.
pub async fn run(args: &IdleArgs) -> anyhow::Result<Arc<Report>> {
    let crowd = Crowd::gather(&args.common).await?;
    let before = args.common.server_pid.map(resident_bytes).transpose()?;
    let hall = Arc::new(Hall {
        npcs: args.npcs,
        inside: AtomicUsize::new(0),
        lost: AtomicUsize::new(0),
        heartbeats: AtomicUsize::new(0),
        open: watch::Sender::new(false),
    });
    let playing = crowd.play(|crowd, number| {
        let hall = Arc::clone(&hall);
        async move {
            let stayed = stay(crowd, number, &hall).await;
            if stayed.is_err() {
                hall.lost.fetch_add(1, Ordering::AcqRel);
            }
            stayed
        }
    });
    let watching = async {
        let watched = watch_them(&crowd, &hall, before).await;
        hall.open.send_replace(true);
        watched
    };
    let ((), watched) = tokio::join!(playing, watching);
    watched?;
    crowd.report.add("sessions", hall.inside.load(Ordering::Acquire) as u64);
    crowd.report.add("heartbeats answered", hall.heartbeats.load(Ordering::Acquire) as u64);
    Ok(Arc::clone(&crowd.report))
}

async fn watch_them(crowd: &Crowd, hall: &Hall, before: Option<u64>) -> anyhow::Result<()> {
    let (started, all) = (Instant::now(), crowd.common.clients);
    while hall.inside.load(Ordering::Acquire) + hall.lost.load(Ordering::Acquire) < all {
        sleep(Duration::from_millis(20)).await;
    }
    let inside = hall.inside.load(Ordering::Acquire);
    let seconds = started.elapsed().as_secs_f64();
    crowd.report.figure("seconds until all were in", seconds);
    crowd.report.figure("sessions opened a second", inside as f64 / seconds);
    sleep(Duration::from_secs_f64(crowd.common.duration.clamp(0.0, 1e6))).await;
    if let (Some(pid), Some(before)) = (crowd.common.server_pid, before) {
        let after = resident_bytes(pid)?;
        crowd.report.figure("server MiB before", before as f64 / 1_048_576.0);
        crowd.report.figure("server MiB with all sessions", after as f64 / 1_048_576.0);
        let each = after.saturating_sub(before) as f64 / inside.max(1) as f64 / 1024.0;
        crowd.report.figure("server KiB a session", each);
    }
    Ok(())
}

async fn stay(crowd: Arc<Crowd>, number: usize, hall: &Hall) -> Result<(), Fault> {
    let mut bot = crowd.enter(number).await?;
    if hall.npcs > 0 {
        bot.join(&crowd.npc(number % hall.npcs), &crowd.common.archetype).await?;
    }
    hall.inside.fetch_add(1, Ordering::AcqRel);
    let mut open = hall.open.subscribe();
    let opened = open.wait_for(|open| *open);
    tokio::pin!(opened);
    loop {
        tokio::select! {
            frame = bot.link.next_or_wait() => match frame?.op.as_str() {
                "heartbeat_ack" => {
                    hall.heartbeats.fetch_add(1, Ordering::AcqRel);
                }
                op => return Err(Fault::Broke(format!("{op} came to somebody who did nothing"))),
            },
            _ = &mut opened => break,
        }
    }
    bot.link.leave().await;
    Ok(())
}

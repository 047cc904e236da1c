//! Frames a second at full speed.

use std::sync::Arc;

use anyhow::ensure;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::peer::Peer;
use super::{Player, PushArgs};
use crate::bare::Flush;
use crate::report::Report;

/// The servers that are measured in turns, and how a line of standard error calls them.
const NAMES: [&str; 3] = ["gateway", "bare, each frame sent", "bare, all gathered"];

pub async fn measure(args: &PushArgs, report: &Report) -> anyhow::Result<()> {
    let (gateway, frames) = super::gateway(args, 0.0, args.tokens).await?;
    let each = Peer::bare(&frames, 0.0, Flush::Each).await?;
    let gathered = Peer::bare(&frames, 0.0, Flush::End).await?;
    let peers = [gateway, each, gathered];
    let bytes: usize = frames.iter().map(bytes::Bytes::len).sum();
    report.figure("frames of a turn", frames.len() as f64);
    report.figure("bytes of a frame", bytes as f64 / frames.len() as f64);
    let (mut rates, mut ratios) = ([Vec::new(), Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..args.rounds {
        // Whoever comes first in one round comes later in the next.
        let mut measured = [0.0; 3];
        for turn in 0..3 {
            let which = (round + turn) % 3;
            measured[which] = frames_per_second(&peers[which], args, round, frames.len()).await?;
            rates[which].push(measured[which]);
        }
        let said: Vec<_> =
            NAMES.iter().zip(measured).map(|(name, rate)| format!("{name}: {rate:.0}")).collect();
        eprintln!("round {}, frames/s: {}", round + 1, said.join("; "));
        for (ratios, bare) in ratios.iter_mut().zip(&measured[1..]) {
            ratios.push(measured[0] / bare);
        }
    }
    let [gateway, each, gathered] = rates.each_mut().map(|rates| median(rates));
    let [ratio, of_gathered] = ratios.each_mut().map(|ratios| median(ratios));
    report.figure("gateway frames/s", gateway);
    report.figure("bare frames/s, each sent", each);
    report.figure("bare frames/s, gathered", gathered);
    report.figure("gateway over bare, each sent", ratio);
    report.figure("gateway over bare, gathered", of_gathered);
    if ratio < args.at_least {
        report.broke(format!(
            "the gateway pushes {ratio:.3} of what a bare server does, not {}",
            args.at_least
        ));
    }
    Ok(())
}

/// All clients open their sockets, then all ask for their turns at the same moment.
async fn frames_per_second(
    peer: &Peer,
    args: &PushArgs,
    round: usize,
    of_turn: usize,
) -> anyhow::Result<f64> {
    let (all_in, mut players) = (Arc::new(Barrier::new(args.clients + 1)), JoinSet::new());
    for number in 0..args.clients {
        let (door, kind, all_in) = (peer.door.clone(), peer.kind, Arc::clone(&all_in));
        let (turns, tokens, name) = (args.turns, args.tokens, format!("round{round}"));
        players.spawn(async move {
            let player = Player::enter(&door, number, kind, &name).await;
            // Also whoever failed, so that nobody waits for ever.
            all_in.wait().await;
            let mut player = player?;
            let mut frames = 0;
            for _ in 0..turns {
                player.say(tokens).await?;
                let read = player.until("turn.done").await?;
                ensure!(
                    read == of_turn,
                    "a turn of {read} frames instead of {of_turn}: another work is compared"
                );
                frames += read;
            }
            anyhow::Ok((frames, player))
        });
    }
    all_in.wait().await;
    let start = Instant::now();
    let (mut frames, mut done) = (0, Vec::new());
    while let Some(player) = players.join_next().await {
        let (read, player) = player??;
        frames += read;
        // Closed when the clock has stopped.
        done.push(player);
    }
    Ok(frames as f64 / start.elapsed().as_secs_f64())
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values {
        [] => f64::NAN,
        _ if values.len() % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&mut []).is_nan());
    }
}

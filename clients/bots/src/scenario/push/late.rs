//! How late frames are that come at a steady pace.
//!
//! Both servers make token n of a turn at n/pace after they were asked. A client cannot know when that was; it takes
//! its earliest frame, set against the pace, for punctual, and measures how much later than that the others come.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::peer::{Kind, Peer};
use super::rate::median;
use super::{Player, PushArgs};
use crate::bare::Flush;
use crate::limits::cpu_seconds;
use crate::report::Report;
use crate::wire::Encoding;

/// What is told of each server.
const NAMES: [(Kind, &str, &str); 2] = [
    (Kind::Gateway, "gateway: delta late by", "gateway: say to turn.started"),
    (Kind::Bare, "bare: delta late by", "bare: say to turn.started"),
];

pub async fn measure(args: &PushArgs, report: &Arc<Report>) -> anyhow::Result<()> {
    let (gateway, frames) = super::gateway(args, args.pace, args.late_tokens).await?;
    let bare = Peer::bare(&frames, args.pace, Flush::Each).await?;
    let pushed = (args.late_rounds.max(1) * args.clients * frames.len()) as f64;
    let mut busy = [0.0; 2];
    let (mut added, mut added_start) = (Vec::new(), Vec::new());
    for round in 0..args.late_rounds.max(1) {
        let rounds = [Report::default(), Report::default()].map(Arc::new);
        for turn in 0..2 {
            let which = (round + turn) % 2;
            let peer = if which == 0 { &gateway } else { &bare };
            let before = cpu_seconds(peer.pid())?;
            listen(peer, args, round, &rounds[which], report).await?;
            busy[which] += cpu_seconds(peer.pid())? - before;
        }
        let p99 = |which: usize, of: &str| {
            rounds[which].percentile(of, 99.0).unwrap_or_default().as_secs_f64() * 1e3
        };
        let (late, start) = (|i: usize| p99(i, NAMES[i].1), |i: usize| p99(i, NAMES[i].2));
        added.push(late(0) - late(1));
        added_start.push(start(0) - start(1));
        eprintln!("round {}: p99 late gateway {:.2} ms, bare {:.2} ms", round + 1, late(0), late(1));
    }
    report.figure("gateway CPU us a frame, paced", busy[0] / pushed * 1e6);
    report.figure("bare CPU us a frame, paced", busy[1] / pushed * 1e6);
    report.figure("ms added to p99 of a delta", median(&mut added));
    report.figure("ms added to p99 of turn.started", median(&mut added_start));
    Ok(())
}

/// Every client listens to one turn; they begin at random times of the first second.
async fn listen(
    peer: &Peer,
    args: &PushArgs,
    round: usize,
    own: &Arc<Report>,
    all: &Arc<Report>,
) -> anyhow::Result<()> {
    let Some((_, late, start)) = NAMES.iter().find(|(kind, ..)| *kind == peer.kind) else { return Ok(()) };
    let mut players = JoinSet::new();
    for number in 0..args.clients {
        let (door, kind, name) = (peer.door.clone(), peer.kind, format!("late{round}"));
        let (tokens, pace) = (args.late_tokens, args.pace);
        let reports = [Arc::clone(own), Arc::clone(all)];
        players.spawn(async move {
            let mut player = Player::enter(&door, number, kind, &name).await?;
            let wait = rand::rng().random_range(0.0..1.0);
            sleep(Duration::from_secs_f64(wait)).await;
            let said = Instant::now();
            player.say(tokens).await?;
            let (began, times) = arrivals(&mut player).await?;
            for report in reports {
                report.time(start, began - said);
                for lateness in lateness(&times, pace) {
                    report.time(late, lateness);
                }
            }
            anyhow::Ok(player)
        });
    }
    while let Some(player) = players.join_next().await {
        player??;
    }
    Ok(())
}

/// When `turn.started` and each delta came.
async fn arrivals(player: &mut Player) -> anyhow::Result<(Instant, Vec<Instant>)> {
    let mut began = None;
    let mut times = Vec::new();
    loop {
        let message = player.message().await?;
        let now = Instant::now();
        match &*Encoding::Msgpack.head(&message)?.op {
            "turn.started" => began = Some(now),
            "dialogue.delta" => times.push(now),
            "turn.done" => return Ok((began.unwrap_or(now), times)),
            _ => {}
        }
    }
}

/// How much later each frame came than the earliest one, against the pace.
fn lateness(times: &[Instant], pace: f64) -> Vec<Duration> {
    let Some(first) = times.first() else { return Vec::new() };
    let against = |(nth, time): (usize, &Instant)| (*time - *first).as_secs_f64() - nth as f64 / pace;
    let offsets: Vec<f64> = times.iter().enumerate().map(against).collect();
    let earliest = offsets.iter().copied().fold(f64::INFINITY, f64::min);
    offsets.into_iter().map(|offset| Duration::from_secs_f64(offset - earliest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_against_the_most_punctual_frame() {
        let start = Instant::now();
        let times: Vec<Instant> =
            [5, 100, 203, 300].map(|ms| start + Duration::from_millis(ms)).into_iter().collect();
        let late: Vec<u128> =
            lateness(&times, 10.0).iter().map(|d| (d.as_secs_f64() * 1e3).round() as u128).collect();
        assert_eq!(late, [5, 0, 3, 0]);
        assert!(lateness(&[], 10.0).is_empty());
    }
}

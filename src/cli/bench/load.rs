//! `bench load`: offers lines to a gateway that runs, and accounts for every one of them.
//!
//! An open loop (`--rate`) offers lines whether the gateway keeps up or not, which is how players behave; a closed one
//! (`--clients`) says the next line when one has been answered, which finds out how many the gateway can answer.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use super::stats::{Percentiles, percentiles};
use super::talker::Talker;
use super::{adapters, words};
use crate::cli::link;
use crate::wire::{
    ClientFrame, DoneReason, ErrorCode, ErrorPayload, GenerationOptions, SayFrame, ServerFrame,
};

/// How long a line may take before it counts as lost.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long it is listened, after the last line has ended, for frames that should not come.
const LISTEN: Duration = Duration::from_millis(500);

/// Messages of errors that are kept.
const MESSAGES: usize = 5;

/// Words of a line.
const WORDS: usize = 6;

#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    /// The gateway, as ws://HOST:PORT/ws.
    #[arg(long)]
    url: String,
    /// Lines a second, offered at random times on average so often. Without it: --clients lines at a time.
    #[arg(long, conflicts_with = "clients")]
    rate: Option<f64>,
    /// Lines at a time, each said when one before has ended.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: u16,
    /// For how long lines are said.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Players, each with a socket and an NPC of its own, who speak in turns: as many lines may run at once.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=1024))]
    conversations: u16,
    /// Longest answer, in tokens.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=4096))]
    tokens: u32,
    /// Writes the figures here too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is offered to a gateway.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    /// Lines a second; `None`: `clients` at a time.
    pub rate: Option<f64>,
    pub clients: u16,
    pub seconds: Duration,
    pub conversations: u16,
    /// Longest answer.
    pub tokens: u32,
}

/// What came of a line that the model answered.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Heard {
    /// From when the line was to be said, in milliseconds.
    pub first_token_ms: f64,
    pub total_ms: f64,
    pub prompt_tokens: u32,
    pub cached_tokens: u32,
    pub generated_tokens: u32,
    /// Answers to choices that came with it.
    pub choices: u32,
}

/// What became of the lines. Every one that was sent is in exactly one of `answered`, `scripted`, `refused`, `failed`
/// and `lost`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Tally {
    /// From the first line to the end of the last.
    seconds: f64,
    /// Lines that there were, whether or not somebody was free to say them.
    pub offered: u64,
    sent: u64,
    /// By the model.
    pub answered: u64,
    /// With a scripted line.
    scripted: u64,
    /// With `overloaded`.
    refused: u64,
    /// Of the refused ones those that were not told when to try again.
    refused_without_retry: u64,
    /// With any other error, or with a `turn.done` that is no whole line.
    failed: u64,
    /// Did not end within two minutes, or before the socket was closed.
    lost: u64,
    /// Frames of lines that had ended, and of lines that nobody said.
    extra_frames: u64,
    /// By the gateway, of players who waited for nothing.
    closed_sockets: u64,
    /// Answered by the model.
    pub lines_per_second: f64,
    /// Of the answered ones, from when the line was to be said, in milliseconds.
    pub first_token_ms: Percentiles,
    total_ms: Percentiles,
    /// What the first of those that went wrong were told.
    messages: Vec<String>,
}

/// How a line ended.
#[derive(Debug, PartialEq)]
enum End {
    Answered(Heard),
    Scripted,
    Refused { retry: bool },
    Failed(String),
    Lost(String),
}

/// What a speaker has to tell at its end, besides how its lines ended.
#[derive(Default)]
struct Left {
    extra_frames: u64,
    /// Why its socket was closed while it said nothing.
    closed: Option<String>,
}

/// A line to be said.
struct Job {
    /// When it was to be said; times count from here.
    due: Instant,
    /// Held until it has ended.
    _turn: Option<OwnedSemaphorePermit>,
}

pub(super) fn run(args: &LoadArgs) -> anyhow::Result<()> {
    anyhow::ensure!(args.rate.is_none_or(|rate| rate > 0.0 && rate.is_finite()), "--rate must be above 0");
    let seconds = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    let url = link::url(&args.url)?;
    let offered = Offer {
        rate: args.rate,
        clients: args.clients,
        seconds,
        conversations: args.conversations,
        tokens: args.tokens,
    };
    let (tally, _) = super::super::runtime()?.block_on(offer(offered, &url))?;
    let text = serde_json::to_string_pretty(&tally)?;
    println!("{text}");
    match &args.json {
        Some(file) => std::fs::write(file, text).with_context(|| file.display().to_string()),
        None => Ok(()),
    }
}

/// Says lines for so long, waits for the end of all of them, and counts.
pub(super) async fn offer(args: Offer, url: &str) -> anyhow::Result<(Tally, Vec<Heard>)> {
    let count = usize::from(args.conversations);
    // As many places as conversations: nobody ever waits to say that it is free, and one line each to be counted.
    let (free, mut is_free) = mpsc::channel(count);
    let (ended, ends) = mpsc::channel(count);
    let mut rng = ChaCha8Rng::from_os_rng();
    let run = words::mark(&mut rng);
    let mut jobs = Vec::new();
    let mut speakers = JoinSet::new();
    for number in 0..count {
        let speaker = Speaker::meet(url, number, &run, args.tokens).await?;
        let (sender, receiver) = mpsc::channel(1);
        jobs.push(sender);
        speakers.spawn(speaker.run(number, receiver, free.clone(), ended.clone()));
    }
    // A channel ends when the last speaker has gone.
    drop((free, ended));
    let counted = tokio::spawn(count_ends(ends));

    let start = Instant::now();
    let end = start + args.seconds;
    let (mut offered, mut sent) = (0, 0);
    let turns = std::sync::Arc::new(Semaphore::new(usize::from(args.clients)));
    let mut due = start;
    while due < end {
        let job = if let Some(rate) = args.rate {
            sleep_until(due.into()).await;
            let job = Job { due, _turn: None };
            // Times between lines that know nothing of each other.
            due += Duration::from_secs_f64(-(1.0 - rng.random::<f64>()).ln() / rate);
            job
        } else {
            let Ok(turn) = timeout_at(end.into(), std::sync::Arc::clone(&turns).acquire_owned()).await else {
                break;
            };
            due = Instant::now();
            Job { due, _turn: Some(turn?) }
        };
        offered += 1;
        let speaker = if args.rate.is_some() { is_free.try_recv().ok() } else { is_free.recv().await };
        if let Some(number) = speaker {
            let number: usize = number;
            // Fails only if its socket was closed meanwhile: it then says so itself, and this line was not sent.
            sent += u64::from(jobs[number].try_send(job).is_ok());
        } else if args.rate.is_none() {
            anyhow::bail!("the gateway closed every socket");
        }
    }
    // Without another job the speakers end, each after its line.
    drop(jobs);
    let (mut extra_frames, mut closed) = (0, Vec::new());
    while let Some(left) = speakers.join_next().await {
        let left = left?;
        extra_frames += left.extra_frames;
        closed.extend(left.closed);
    }
    let (mut tally, heard) = counted.await?;
    let closed_sockets = closed.len() as u64;
    tally.messages.extend(closed);
    tally.messages.truncate(MESSAGES);
    // A job that was handed to a speaker whose socket closed at that very moment ended nowhere.
    tally.lost += sent - tally.ended();
    tally.seconds = start.elapsed().saturating_sub(LISTEN).as_secs_f64();
    tally.lines_per_second = tally.answered as f64 / tally.seconds;
    Ok((Tally { offered, sent, extra_frames, closed_sockets, ..tally }, heard))
}

async fn count_ends(mut ends: mpsc::Receiver<End>) -> (Tally, Vec<Heard>) {
    let mut tally = Tally::default();
    let mut all: Vec<Heard> = Vec::new();
    while let Some(end) = ends.recv().await {
        let message = match end {
            End::Answered(heard) => {
                tally.answered += 1;
                all.push(heard);
                continue;
            }
            End::Scripted => {
                tally.scripted += 1;
                continue;
            }
            End::Refused { retry } => {
                tally.refused += 1;
                tally.refused_without_retry += u64::from(!retry);
                continue;
            }
            End::Failed(message) => {
                tally.failed += 1;
                message
            }
            End::Lost(message) => {
                tally.lost += 1;
                message
            }
        };
        if tally.messages.len() < MESSAGES {
            tally.messages.push(message);
        }
    }
    tally.first_token_ms = percentiles(all.iter().map(|heard| heard.first_token_ms).collect());
    tally.total_ms = percentiles(all.iter().map(|heard| heard.total_ms).collect());
    (tally, all)
}

impl Tally {
    fn ended(&self) -> u64 {
        self.answered + self.scripted + self.refused + self.failed + self.lost
    }
}

/// A player with its NPC.
struct Speaker {
    talker: Talker,
    npc: String,
    /// What its turns' ids begin with: they must not be those of an earlier run.
    run: String,
    tokens: u32,
    turns: u64,
    left: Left,
    rng: ChaCha8Rng,
}

impl Speaker {
    /// The same players and NPCs every time: a run goes on with the conversations of the one before.
    async fn meet(url: &str, number: usize, run: &str, tokens: u32) -> anyhow::Result<Self> {
        let mut talker = Talker::open(url, &format!("load-{number}")).await?;
        let npc = format!("load-{number}");
        let archetype = adapters::ARCHETYPES[number % adapters::ARCHETYPES.len()];
        talker.meet(&npc, &format!("Nobody{number}"), archetype).await?;
        let (run, rng) = (run.to_owned(), ChaCha8Rng::from_os_rng());
        Ok(Self { talker, npc, run, tokens, turns: 0, left: Left::default(), rng })
    }

    /// Says what it is given until there is no more, or its socket is closed.
    async fn run(
        mut self,
        number: usize,
        mut jobs: mpsc::Receiver<Job>,
        free: mpsc::Sender<usize>,
        ended: mpsc::Sender<End>,
    ) -> Left {
        loop {
            // Both fail only if the run was given up.
            if free.send(number).await.is_err() {
                break;
            }
            let job = match self.next_job(&mut jobs).await {
                Ok(Some(job)) => job,
                Ok(None) => break,
                Err(error) => {
                    self.left.closed = Some(format!("{error:#}"));
                    return self.left;
                }
            };
            let end = self.say(job.due).await;
            let lost = matches!(end, End::Lost(_));
            if ended.send(end).await.is_err() || lost {
                break;
            }
        }
        let _ = timeout_at((Instant::now() + LISTEN).into(), async {
            while let Ok(frame) = self.talker.next().await {
                self.left.extra_frames += u64::from(turn_of(&frame).is_some());
            }
        })
        .await;
        self.talker.close().await;
        self.left
    }

    /// Waits for a line to say, and keeps the session meanwhile.
    async fn next_job(&mut self, jobs: &mut mpsc::Receiver<Job>) -> anyhow::Result<Option<Job>> {
        loop {
            tokio::select! {
                job = jobs.recv() => return Ok(job),
                frame = self.talker.next() => {
                    self.left.extra_frames += u64::from(turn_of(&frame?).is_some());
                }
            }
        }
    }

    async fn say(&mut self, due: Instant) -> End {
        match tokio::time::timeout(PATIENCE, self.answer(due)).await {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => End::Lost(format!("{error:#}")),
            Err(_) => End::Lost(format!("a line did not end within {} s", PATIENCE.as_secs())),
        }
    }

    async fn answer(&mut self, due: Instant) -> anyhow::Result<End> {
        self.turns += 1;
        let turn = format!("{}-{}", self.run, self.turns);
        let mut text = "Tell me of".to_owned();
        words::extend(&mut text, WORDS, &mut self.rng);
        let options = GenerationOptions { max_tokens: Some(self.tokens), ..GenerationOptions::default() };
        let say = SayFrame {
            npc: self.npc.clone(),
            turn: turn.clone(),
            text,
            actions: Vec::new(),
            context: None,
            generation: Some(options),
            mix: None,
            audience: None,
        };
        self.talker.send(&ClientFrame::Say(Box::new(say))).await?;
        let millis = || due.elapsed().as_secs_f64() * 1e3;
        let (mut started, mut first, mut failed, mut choices) = (false, None, None, 0);
        loop {
            let frame = self.talker.next().await?;
            if turn_of(&frame).is_some_and(|of| *of != turn) {
                self.left.extra_frames += 1;
                continue;
            }
            match frame {
                ServerFrame::TurnStarted(_) => started = true,
                ServerFrame::DialogueDelta(_) => first = first.or_else(|| Some(millis())),
                ServerFrame::Emotion(_)
                | ServerFrame::ActionProposed(_)
                | ServerFrame::Social(_)
                | ServerFrame::Goal(_) => choices += 1,
                // Once it has started, `turn.done` comes too.
                ServerFrame::Error(error) if started => failed = Some(error.message),
                ServerFrame::Error(error) => return Ok(refused(error)),
                ServerFrame::TurnDone(done) => {
                    let whole = matches!(done.reason, DoneReason::Stop | DoneReason::Length);
                    return Ok(match failed {
                        Some(message) => End::Failed(message),
                        None if !whole => End::Failed(format!("turn.done with reason {:?}", done.reason)),
                        None if done.fallback => End::Scripted,
                        None => {
                            let total_ms = millis();
                            // An answer may have no text: it was then heard at its end.
                            End::Answered(Heard {
                                first_token_ms: first.unwrap_or(total_ms),
                                total_ms,
                                prompt_tokens: done.usage.prompt_tokens,
                                cached_tokens: done.usage.cached_tokens,
                                generated_tokens: done.usage.generated_tokens,
                                choices,
                            })
                        }
                    });
                }
                _ => {}
            }
        }
    }
}

/// An error instead of an answer.
fn refused(error: ErrorPayload) -> End {
    if error.code == ErrorCode::Overloaded {
        End::Refused { retry: error.retry_after_ms.is_some_and(|ms| ms > 0) }
    } else {
        End::Failed(error.message)
    }
}

/// The turn that a frame is about.
fn turn_of(frame: &ServerFrame) -> Option<&String> {
    match frame {
        ServerFrame::TurnStarted(frame) => Some(&frame.turn),
        ServerFrame::DialogueDelta(frame) => Some(&frame.turn),
        ServerFrame::TurnDone(frame) => Some(&frame.turn),
        ServerFrame::TurnCancelled(frame) => Some(&frame.turn),
        ServerFrame::Error(frame) => frame.turn.as_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_end_is_counted_once() {
        let (sender, ends) = mpsc::channel(16);
        for end in [
            End::Answered(Heard { first_token_ms: 1.0, total_ms: 2.0, ..Heard::default() }),
            End::Answered(Heard { first_token_ms: 3.0, total_ms: 4.0, ..Heard::default() }),
            End::Scripted,
            End::Refused { retry: true },
            End::Refused { retry: false },
            End::Failed("a".into()),
            End::Lost("b".into()),
        ] {
            sender.send(end).await.unwrap();
        }
        drop(sender);
        let (tally, heard) = count_ends(ends).await;
        assert_eq!(heard.len(), 2);
        assert_eq!((tally.answered, tally.scripted, tally.refused), (2, 1, 2));
        assert_eq!((tally.refused_without_retry, tally.failed, tally.lost), (1, 1, 1));
        assert_eq!((tally.ended(), tally.first_token_ms.p50), (7, 2.0));
        assert_eq!(tally.messages, ["a", "b"]);
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let mut error = ErrorPayload::new(ErrorCode::Overloaded, "full");
        assert_eq!(refused(error.clone()), End::Refused { retry: false });
        error.retry_after_ms = Some(100);
        assert_eq!(refused(error.clone()), End::Refused { retry: true });
        error.code = ErrorCode::EngineFailed;
        assert_eq!(refused(error), End::Failed("full".into()));
    }
}

//! The task of one turn.

mod taking;
#[cfg(test)]
mod tests;
mod trouble;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{Instrument, debug_span};

use super::events::Item;
use super::generic::{Opened, Source};
use super::guard::Guard;
use super::mix;
use super::spent::{Part, Spent};
use super::state::TurnState;
use super::tracks::{Became, Question, Tracks};
use super::trimmer::Trimmer;
use super::{Say, TurnEvent, Turns};
use crate::archetype::Task;
use crate::chain::Routes;
use crate::engine::{Choice, EngineError, Generate, Generation, MAX_STOPS, Mix, Sampling, Schedule, Usage};
use crate::history::Recalled;
use crate::npc::{Npc, Place};
use crate::wire::{AdapterUse, DoneReason, RouteReason};

/// Everything that one turn needs.
pub(super) struct Runner {
    pub turns: Arc<Turns>,
    pub npc: Arc<Npc>,
    pub say: Say,
    pub state: Arc<TurnState>,
    /// The adapters of the line and of all questions about it.
    pub routes: Routes,
    pub mix: Mix,
    pub used: Vec<AdapterUse>,
    pub sampling: Sampling,
    pub max_tokens: u32,
    /// Its id may be that of a turn in the journal.
    pub may_be_stored: bool,
    /// Outcomes of actions that stand in the line's context.
    pub outcomes: usize,
}

/// How a turn ended.
pub(super) enum Ending {
    /// With text, all of it or a part.
    Line { reason: DoneReason, fallback: bool },
    /// Cancelled by the client.
    Cancelled,
    /// With an error, which was sent.
    Failed,
    /// Nobody takes the turn's events any more.
    Gone,
}

/// What is counted while a turn runs.
pub(super) struct Progress {
    pub spent: Spent,
    pub arrived: Instant,
    /// Time in the NPC's mailbox.
    waited_ms: f64,
    /// When `turn.started` was sent; `None`: it was not.
    pub started: Option<Instant>,
    /// When the engine's last event was taken.
    now: Instant,
    pub usage: Usage,
    /// Who answers.
    source: Source,
    /// What of the past stands in the prompt besides the window.
    pub recalled: Option<Recalled>,
    /// What became of the NPC.
    pub became: Became,
}

impl Progress {
    fn since_arrival_ms(&self) -> f64 {
        self.now.saturating_duration_since(self.arrived).as_secs_f64() * 1e3
    }
}

/// An answer while it streams: what its text goes through, and what goes with it.
struct Answer<'a> {
    line: Trimmer,
    guard: Guard<'a>,
    tracks: Tracks<'a>,
    /// When the last text was sent.
    spoke: Option<Instant>,
}

impl<'a> Answer<'a> {
    fn new(runner: &'a Runner) -> Self {
        Self { line: Trimmer::default(), guard: Guard::new(runner), tracks: Tracks::new(runner), spoke: None }
    }
}

/// Events of the engine that are taken at once, if they are there.
const BURST: usize = 64;

/// Nobody takes the turn's events any more.
pub(super) struct Gone;

/// The player and the NPC as the engine's scheduler knows them.
pub(super) fn schedule(player: &str, npc: &str) -> Schedule {
    let number = |text: &str| {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        hasher.finish()
    };
    Schedule { owner: number(player), npc: number(npc), ..Schedule::default() }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Only a panic comes here without an end: the id must not count as running for ever.
        if self.state.done().is_none() {
            self.turns.registry.remove(&self.state);
        }
    }
}

impl From<Result<Ending, Gone>> for Ending {
    fn from(result: Result<Ending, Gone>) -> Self {
        result.unwrap_or(Self::Gone)
    }
}

impl Runner {
    /// Runs the turn to its end. `place`: its place in the NPC's mailbox; `None`: the mailbox is full.
    pub async fn run(self, mut place: Option<Place>, events: mpsc::Sender<Item>) {
        let now = Instant::now();
        let mut progress = Progress {
            spent: Spent::new(now),
            arrived: now,
            waited_ms: 0.0,
            started: None,
            now,
            usage: Usage::default(),
            source: Source::Engine,
            recalled: None,
            became: Became::default(),
        };
        if self.may_be_stored && self.told_again(&events).await {
            if let Some(mut place) = place {
                place.vacate();
                drop(events.send(Item::End(place)).await);
            }
            return;
        }
        let metrics = &self.turns.metrics;
        metrics.started.inc();
        let running = metrics.running.hold();
        let mut waiting = place.is_some().then(|| metrics.mailbox_waiting.hold());
        let ending = if let Some(place) = &mut place {
            tokio::select! {
                biased;
                () = self.state.cancelled.cancelled() => Ending::Cancelled,
                () = events.closed() => Ending::Gone,
                () = place.reached().instrument(debug_span!("mailbox")) => {
                    drop(waiting.take());
                    self.turns.speaking.begin(&self.state);
                    progress.waited_ms = progress.arrived.elapsed().as_secs_f64() * 1e3;
                    self.answer(&mut progress, &events).await.into()
                }
            }
        } else {
            metrics.mailbox_full.inc();
            let error = EngineError::Overloaded { retry_after_ms: 1000 };
            self.overloaded(error, &mut progress, &events).await.into()
        };
        drop(waiting);
        self.conclude(ending, &mut progress, &events, place.as_mut()).await;
        drop(running);
        self.tell_if_slow(&mut progress.spent, &progress.usage, Instant::now());
        // Held until the line is remembered and its end was passed on: the NPC's next line builds on it, and comes
        // behind it. Who has gone waits for nothing.
        if let Some(place) = place {
            drop(events.send(Item::End(place)).await);
        }
    }

    /// Generates the line and streams it.
    async fn answer(&self, progress: &mut Progress, events: &mpsc::Sender<Item>) -> Result<Ending, Gone> {
        progress.spent.enter(Part::Moderation, Instant::now());
        let lets_in = tokio::select! {
            biased;
            () = self.state.cancelled.cancelled() => return Ok(Ending::Cancelled),
            () = events.closed() => return Err(Gone),
            lets_in = Guard::lets_in(self).instrument(debug_span!("moderation")) => lets_in,
        };
        if !lets_in {
            self.start(progress, &[], Some(RouteReason::Blocked), events).await?;
            return Ok(Ending::Line { reason: DoneReason::Blocked, fallback: false });
        }
        progress.spent.enter(Part::Recall, Instant::now());
        let prompt = match self.prompt().instrument(debug_span!("recall")).await {
            Ok((prompt, recalled)) => {
                progress.recalled = recalled;
                prompt
            }
            Err(error) => return self.failed(&error, events).await,
        };
        progress.spent.enter(Part::Queue, Instant::now());
        let messages = prompt.messages;
        let request = Generate {
            prompt: prompt.tokens,
            mix: self.mix.clone(),
            sampling: self.sampling.clone(),
            stop: self.stops(),
            max_tokens: self.max_tokens,
            ignore_end: self.turns.turn.ignore_end,
            schedule: self.schedule(),
        };
        let opened = tokio::select! {
            biased;
            () = self.state.cancelled.cancelled() => return Ok(Ending::Cancelled),
            () = events.closed() => return Err(Gone),
            opened = self.generate(request, &messages) => opened,
        };
        match opened {
            Ok(Opened { generation, source, before }) => {
                self.turns.metrics.answered.of(source.counted()).inc();
                progress.source = source;
                progress.waited_ms += before.as_secs_f64() * 1e3;
                let mut answer = Answer::new(self);
                let ending = self.stream(generation, &mut answer, progress, events).await;
                progress.became = answer.tracks.became().clone();
                ending
            }
            Err(error @ EngineError::Overloaded { .. }) => self.overloaded(error, progress, events).await,
            Err(error) => self.engine_failed(error, progress, events).await,
        }
    }

    /// The request's stop texts and the server's own, as many as the engine takes.
    fn stops(&self) -> Vec<String> {
        if self.turns.turn.ignore_end {
            return Vec::new();
        }
        let own = self.say.generation.iter().flat_map(|generation| generation.stop.iter());
        own.chain(&self.turns.turn.stop).take(MAX_STOPS).cloned().collect()
    }

    async fn stream(
        &self,
        mut generation: Generation,
        answer: &mut Answer<'_>,
        progress: &mut Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<Ending, Gone> {
        // Behind the line, and in the same step if there is room.
        answer.tracks.ask();
        loop {
            let silent_at = answer.tracks.silent_at();
            let mut event = tokio::select! {
                biased;
                () = self.state.cancelled.cancelled() => return Ok(Ending::Cancelled),
                () = events.closed() => return Err(Gone),
                Some(choice) = answer.tracks.next(), if answer.tracks.is_waiting() => {
                    answer.tracks.answered(choice);
                    self.tell(&mut answer.tracks, progress, events).await?;
                    continue;
                }
                () = silent(silent_at) => {
                    answer.tracks.pause();
                    self.tell(&mut answer.tracks, progress, events).await?;
                    continue;
                }
                event = generation.next() => event,
            };
            progress.now = Instant::now();
            // What is there already comes with it. A cancel that comes meanwhile lets no text through either.
            for taken in 1.. {
                if let Some(ending) = self.take(event, answer, progress, events).await? {
                    if matches!(ending, Ending::Line { fallback: false, .. }) {
                        return self.finish(ending, &mut answer.tracks, progress, events).await;
                    }
                    return Ok(ending);
                }
                event = if taken < BURST { generation.ready() } else { None };
                if event.is_none() {
                    break;
                }
            }
        }
    }

    /// The line is there: waits for the answers that are not, and tells the rest.
    async fn finish(
        &self,
        ending: Ending,
        tracks: &mut Tracks<'_>,
        progress: &Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<Ending, Gone> {
        let late = tokio::time::sleep(Duration::from_millis(self.turns.turn.tracks_timeout_ms));
        tokio::pin!(late);
        while tracks.is_waiting() {
            tokio::select! {
                biased;
                () = self.state.cancelled.cancelled() => return Ok(Ending::Cancelled),
                () = events.closed() => return Err(Gone),
                Some(answer) = tracks.next() => {
                    tracks.answered(answer);
                    self.tell(tracks, progress, events).await?;
                }
                () = &mut late => break,
            }
        }
        if matches!(ending, Ending::Line { reason: DoneReason::Blocked, .. }) {
            tracks.without_action();
        }
        tracks.finish();
        self.tell(tracks, progress, events).await?;
        Ok(ending)
    }

    /// Sends what the tracks have, if the turn has begun.
    async fn tell(
        &self,
        tracks: &mut Tracks<'_>,
        progress: &Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<(), Gone> {
        if progress.started.is_some() {
            for event in tracks.take_events() {
                send(events, event).await?;
            }
        }
        Ok(())
    }

    /// Asks the engine for a choice.
    pub(super) fn choose(
        &self,
        task: Task,
        question: &Question,
    ) -> impl Future<Output = Result<Choice, EngineError>> + Send + 'static {
        let adapter =
            mix::of_task(&self.npc, &self.routes, self.say.mix.as_ref(), task).map(|(weighted, _)| weighted);
        self.turns.choose(question, adapter, self.schedule())
    }

    pub(super) fn schedule(&self) -> Schedule {
        Schedule {
            deadline: Some(Instant::now() + Duration::from_millis(self.turns.turn.queue_timeout_ms)),
            ..schedule(&self.say.player, &self.say.npc)
        }
    }
}

/// Waits for a moment; for ever if there is none.
async fn silent(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

pub(super) async fn send(events: &mpsc::Sender<Item>, event: TurnEvent) -> Result<(), Gone> {
    events.send(Item::Event(event)).await.map_err(|_| Gone)
}

pub(super) fn millis(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}

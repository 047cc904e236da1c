//! Brings one archetype after the other from its request to its end. Every step is on the disk before the next one
//! begins, and each may be done twice.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::state::{FRUITLESS, Record, State};
use super::trainer::Ended;
use super::{Provisioner, fault, now_ms};
use crate::archetype::Task;
use crate::metrics::{Left, Reached};

/// How often a training's bounds are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the progress of a training is stored.
const STORE: Duration = Duration::from_secs(10);

/// Why an archetype does not go on.
pub(super) enum Halt {
    /// For good.
    Rejected(String),
    /// The server stops.
    Stopped,
}

/// What happens while a trainer runs.
enum Event {
    Stop,
    /// It is time to look at its bounds.
    Look,
    /// `None`: it says nothing more.
    Said(Option<Progress>),
    Ended(Ended),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Rejected(error.to_string())
    }
}

/// Runs what blocks beside the tasks of players.
pub(super) async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
}

impl Provisioner {
    /// Provisions what is asked for, one archetype after the other, until `stop` is cancelled. A trainer that runs then is
    /// killed, and goes on when the server is started again.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                archetype = self.next() => self.drive(&archetype, &stop).await,
            }
        }
    }

    /// Takes an archetype as far as it goes.
    async fn drive(&self, archetype: &str, stop: &CancellationToken) {
        let Some(mut record) = self.record(archetype) else { return };
        while !record.state.is_end() {
            let (left, since_ms) = (record.state, record.changed_ms);
            let stepped = match self.step(&mut record, stop).await {
                Ok(next) => record.advance(next, now_ms()).map_err(|error| error.to_string()),
                Err(Halt::Stopped) => return,
                Err(Halt::Rejected(reason)) => Err(reason),
            };
            if let Err(reason) = stepped {
                record.reject(&reason, now_ms());
            }
            self.count(left, record.state, record.changed_ms.saturating_sub(since_ms));
            if let Some(reason) = &record.reason {
                tracing::warn!(archetype, reason, "provisioning was rejected");
            } else {
                tracing::info!(archetype, state = record.state.name(), "provisioning goes on");
            }
            if let Err(error) = self.save(&record).await {
                // What is not stored must not go on: it would be done as if it had never been.
                tracing::error!(archetype, %error, "provisioning cannot be stored");
                record.reject(&format!("how far it is cannot be stored: {error}"), now_ms());
                self.put(record);
                return;
            }
        }
        self.clear(archetype).await;
    }

    /// Counts a step from one state to another after so many milliseconds.
    fn count(&self, from: State, to: State, after_ms: u64) {
        let reached = match to {
            State::Requested => None,
            State::Training => Some(Reached::Training),
            State::Evaluating => Some(Reached::Evaluating),
            State::Loading => Some(Reached::Loading),
            State::Registered => Some(Reached::Registered),
            State::Available => Some(Reached::Available),
            State::Rejected => Some(Reached::Rejected),
        };
        let left = match from {
            State::Requested => Some(Left::Requested),
            State::Training => Some(Left::Training),
            State::Evaluating => Some(Left::Evaluating),
            State::Loading => Some(Left::Loading),
            State::Registered => Some(Left::Registered),
            State::Available | State::Rejected => None,
        };
        if let (Some(reached), Some(left)) = (reached, left) {
            self.metrics.steps.of(reached).inc();
            self.metrics.states.of(left).observe(Duration::from_millis(after_ms));
        }
    }

    /// Does what a state is for; returns the one that follows.
    async fn step(&self, record: &mut Record, stop: &CancellationToken) -> Result<State, Halt> {
        going_on(stop)?;
        match record.state {
            State::Requested => Ok(State::Training),
            State::Training => self.train(record, stop).await,
            State::Evaluating => self.evaluate(record).await,
            State::Loading => self.load(record, stop).await,
            State::Registered => self.promote(record, stop).await,
            ended => Ok(ended),
        }
    }

    async fn train(&self, record: &mut Record, stop: &CancellationToken) -> Result<State, Halt> {
        record.fruitless += 1;
        if record.fruitless > FRUITLESS {
            let reason = format!("its training ended {FRUITLESS} times before it had done a step");
            return Err(Halt::Rejected(reason));
        }
        self.save(record).await?;
        let work = self.store.work(&record.archetype);
        let tasks: Vec<Task> = record.tasks.keys().copied().collect();
        let (mut trainer, mut steps) = self.trainer.start(&record.archetype, &tasks, &work).await?;
        fault::point("behind the start of a trainer");
        let (before, began) = (Duration::from_millis(record.trained_ms), Instant::now());
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut stored, mut talks) = (Instant::now(), true);
        let ended = loop {
            // What it said before it ended comes first.
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => Event::Stop,
                _ = look.tick() => Event::Look,
                said = steps.next(), if talks => Event::Said(said?),
                ended = trainer.ended() => Event::Ended(ended?),
            };
            let trained = before + began.elapsed();
            record.trained_ms = trained.as_millis() as u64;
            match event {
                Event::Stop => {
                    drop(trainer);
                    // It was not its own fault.
                    record.fruitless = record.fruitless.saturating_sub(1);
                    self.save(record).await?;
                    return Err(Halt::Stopped);
                }
                Event::Look => {
                    let (limits, work) = (self.limits, work.clone());
                    let checked = blocking(move || Ok(limits.check(trained, &work))).await?;
                    checked.map_err(Halt::Rejected)?;
                }
                Event::Said(Some(progress)) => {
                    let first = record.fruitless > 0;
                    record.note(progress);
                    if first || progress.is_done() || stored.elapsed() >= STORE {
                        self.save(record).await?;
                        stored = Instant::now();
                    } else {
                        self.put(record.clone());
                    }
                    fault::point("behind a step of a trainer");
                }
                Event::Said(None) => talks = false,
                Event::Ended(ended) => break ended,
            }
        };
        while let Some(Ok(Some(progress))) = steps.next().now_or_never() {
            record.note(progress);
        }
        match ended {
            Ended::Done => Ok(State::Evaluating),
            Ended::BadInput(words) | Ended::Failed(words) => Err(Halt::Rejected(words)),
        }
    }

    /// Stores a record, and tells it.
    pub(super) async fn save(&self, record: &Record) -> io::Result<()> {
        let (store, stored) = (self.store.clone(), record.clone());
        blocking(move || store.save(&stored)).await?;
        self.put(record.clone());
        Ok(())
    }

    /// Takes away what an archetype's trainer wrote.
    pub(super) async fn clear(&self, archetype: &str) {
        let (store, name) = (self.store.clone(), archetype.to_owned());
        if let Err(error) = blocking(move || store.clear(&name)).await {
            tracing::warn!(archetype, %error, "what a trainer wrote is still there");
        }
    }
}

/// # Errors
/// The server stops: that the engine has is nobody's fault.
pub(super) fn going_on(stop: &CancellationToken) -> Result<(), Halt> {
    if stop.is_cancelled() { Err(Halt::Stopped) } else { Ok(()) }
}

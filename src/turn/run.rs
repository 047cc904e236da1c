//! The task of one turn.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::events::Item;
use super::generic::{Opened, Source};
use super::guard::{Guard, Passed};
use super::mix;
use super::state::TurnState;
use super::tracks::{self, Became, Question, Tracks};
use super::trimmer::Trimmer;
use super::{Piece, Say, TurnError, TurnEvent, Turns};
use crate::archetype::Task;
use crate::chain::{Routes, reason};
use crate::config::OnOverload;
use crate::engine::{
    Choice, EngineError, Event, FinishReason, Generate, Generation, MAX_STOPS, Mix, Sampling, Schedule, Usage,
};
use crate::history::Recalled;
use crate::npc::{Npc, Place};
use crate::wire::{AdapterUse, DoneReason, RouteReason, TurnStarted};

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
}

impl<'a> Answer<'a> {
    fn new(runner: &'a Runner) -> Self {
        Self { line: Trimmer::default(), guard: Guard::new(runner), tracks: Tracks::new(runner) }
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
        let ending = if let Some(place) = &mut place {
            tokio::select! {
                biased;
                () = self.state.cancelled.cancelled() => Ending::Cancelled,
                () = events.closed() => Ending::Gone,
                () = place.reached() => {
                    self.turns.speaking.begin(&self.state);
                    progress.waited_ms = progress.arrived.elapsed().as_secs_f64() * 1e3;
                    self.answer(&mut progress, &events).await.into()
                }
            }
        } else {
            let error = EngineError::Overloaded { retry_after_ms: 1000 };
            self.overloaded(error, &mut progress, &events).await.into()
        };
        self.conclude(ending, &progress, &events, place.as_mut()).await;
        // Held until the line is remembered and its end was passed on: the NPC's next line builds on it, and comes
        // behind it. Who has gone waits for nothing.
        if let Some(place) = place {
            drop(events.send(Item::End(place)).await);
        }
    }

    /// Generates the line and streams it.
    async fn answer(&self, progress: &mut Progress, events: &mpsc::Sender<Item>) -> Result<Ending, Gone> {
        let lets_in = tokio::select! {
            biased;
            () = self.state.cancelled.cancelled() => return Ok(Ending::Cancelled),
            () = events.closed() => return Err(Gone),
            lets_in = Guard::lets_in(self) => lets_in,
        };
        if !lets_in {
            self.start(progress, &[], Some(RouteReason::Blocked), events).await?;
            return Ok(Ending::Line { reason: DoneReason::Blocked, fallback: false });
        }
        let prompt = match self.prompt().await {
            Ok((prompt, recalled)) => {
                progress.recalled = recalled;
                prompt
            }
            Err(error) => return self.failed(&error, events).await,
        };
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

    /// Takes an event of the engine; returns how the turn ended, if that was the last one.
    async fn take(
        &self,
        event: Option<Event>,
        answer: &mut Answer<'_>,
        progress: &mut Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<Option<Ending>, Gone> {
        match event {
            Some(Event::Started { prompt_tokens, cached_tokens }) => {
                progress.usage.prompt_tokens = prompt_tokens;
                progress.usage.cached_tokens = cached_tokens;
                progress.usage.queue_ms = progress.since_arrival_ms();
                self.start(progress, &self.used, None, events).await?;
                self.tell(&mut answer.tracks, progress, events).await?;
            }
            Some(Event::Text { text, tokens }) => {
                if progress.usage.generated_tokens == 0 {
                    progress.usage.first_token_ms = progress.since_arrival_ms();
                }
                progress.usage.generated_tokens += tokens;
                if let Some(text) = answer.line.push(text, tokens) {
                    let passed = tokio::select! {
                        biased;
                        () = self.state.cancelled.cancelled() => return Ok(Some(Ending::Cancelled)),
                        () = events.closed() => return Err(Gone),
                        passed = answer.guard.push(text) => passed,
                    };
                    if self.pass(passed, answer, progress, events).await? {
                        return Ok(Some(Ending::Line { reason: DoneReason::Blocked, fallback: false }));
                    }
                }
            }
            Some(Event::Finished { reason, usage }) => {
                self.measured(progress.source, &usage);
                // The engine's times begin when it was asked, the turn's when the line arrived.
                progress.usage = Usage {
                    queue_ms: progress.waited_ms + usage.queue_ms,
                    first_token_ms: progress.waited_ms + usage.first_token_ms,
                    ..usage
                };
                let passed = tokio::select! {
                    biased;
                    () = self.state.cancelled.cancelled() => return Ok(Some(Ending::Cancelled)),
                    () = events.closed() => return Err(Gone),
                    passed = answer.guard.finish() => passed,
                };
                let blocked = self.pass(passed, answer, progress, events).await?;
                let reason = match reason {
                    _ if blocked => DoneReason::Blocked,
                    FinishReason::Stop => DoneReason::Stop,
                    FinishReason::Length => DoneReason::Length,
                };
                return Ok(Some(Ending::Line { reason, fallback: false }));
            }
            Some(Event::Failed { error: error @ EngineError::DeadlineExceeded { .. } }) => {
                return self.overloaded(error, progress, events).await.map(Some);
            }
            Some(Event::Failed { error }) => {
                return self.engine_failed(error, progress, events).await.map(Some);
            }
            None => return self.engine_failed(EngineError::Stopped, progress, events).await.map(Some),
        }
        Ok(None)
    }

    /// Sends what the guard has let through; tells whether the line ends there.
    async fn pass(
        &self,
        passed: Passed,
        answer: &mut Answer<'_>,
        progress: &Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<bool, Gone> {
        let Passed { text, blocked } = passed;
        if !text.is_empty() {
            let spoken = text.clone();
            self.delta(text, answer.line.take_tokens(), progress, events).await?;
            answer.tracks.spoken(&spoken);
            self.tell(&mut answer.tracks, progress, events).await?;
        }
        if blocked {
            tracing::info!(npc = self.say.npc, turn = self.say.turn, "an answer was blocked");
        }
        Ok(blocked)
    }

    async fn start(
        &self,
        progress: &mut Progress,
        used: &[AdapterUse],
        instead: Option<RouteReason>,
        events: &mpsc::Sender<Item>,
    ) -> Result<(), Gone> {
        progress.started = Some(Instant::now());
        self.state.begin();
        let reason = instead.unwrap_or_else(|| self.reason());
        self.turns.npcs.chains().reasons().count(reason);
        tracing::debug!(
            npc = self.say.npc,
            turn = self.say.turn,
            archetype = self.npc.pack.name,
            ?reason,
            adapters = ?used.iter().map(|used| (&used.id, &used.version)).collect::<Vec<_>>(),
            "a turn begins"
        );
        let frame = TurnStarted {
            turn: self.say.turn.clone(),
            npc: self.say.npc.clone(),
            player: self.say.player.clone(),
            text: self.say.text.clone(),
            generic: used.is_empty(),
            reason: Some(reason),
            adapters: used.to_vec(),
            prompt_tokens: progress.usage.prompt_tokens,
            cached_tokens: progress.usage.cached_tokens,
        };
        send(events, TurnEvent::Started(Box::new(frame))).await
    }

    /// Why it is answered with the adapters that it is answered with.
    fn reason(&self) -> RouteReason {
        let asked = tracks::tasks(&self.turns.turn.tracks, &self.npc, &self.say);
        let used = self.used.iter().filter_map(|used| used.task.parse().ok());
        reason(&self.routes, Task::SPOKEN.into_iter().chain(asked), used)
    }

    async fn delta(
        &self,
        text: String,
        tokens: u32,
        progress: &Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<(), Gone> {
        // Not when the engine had it: somebody may have looked at it since.
        let now_ms = progress.started.map_or(0, millis);
        let Some((offset, t_ms)) = self.state.add_text(&text, now_ms) else { return Ok(()) };
        send(events, TurnEvent::Delta(Piece { text, offset, t_ms, tokens })).await
    }

    /// The engine cannot answer now: a scripted line of the pack, or the error.
    async fn overloaded(
        &self,
        error: EngineError,
        progress: &mut Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<Ending, Gone> {
        let lines = &self.npc.pack.overload_lines;
        if self.turns.npc.on_overload == OnOverload::Error || lines.is_empty() {
            return self.failed(&error.into(), events).await;
        }
        tracing::warn!(npc = self.say.npc, %error, "answered with a scripted line");
        // Another line for another turn, the same for the same one.
        let pick =
            self.say.turn.bytes().fold(0_usize, |hash, b| hash.wrapping_mul(31).wrapping_add(b.into()));
        if progress.started.is_none() {
            self.start(progress, &[], Some(RouteReason::Fallback), events).await?;
        }
        let line = &lines[pick % lines.len()];
        self.delta(line.clone(), 0, progress, events).await?;
        // Nothing is asked; the mouth moves.
        let mut tracks = Tracks::new(self);
        tracks.spoken(line);
        tracks.finish();
        self.tell(&mut tracks, progress, events).await?;
        Ok(Ending::Line { reason: DoneReason::Stop, fallback: true })
    }

    async fn engine_failed(
        &self,
        error: EngineError,
        progress: &mut Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<Ending, Gone> {
        let own = matches!(
            error,
            EngineError::BadRequest { .. }
                | EngineError::UnknownAdapter(_)
                | EngineError::PromptTooLong { .. }
        );
        // Logged here, where it is handled; what is the client's own fault is only answered.
        if !own {
            tracing::error!(%error, npc = self.say.npc, turn = self.say.turn, "a line could not be generated");
            // A line that has begun cannot become another one.
            if self.state.end().text_offset == 0 {
                return self.overloaded(error, progress, events).await;
            }
        }
        self.failed(&error.into(), events).await
    }

    async fn failed(&self, error: &TurnError, events: &mpsc::Sender<Item>) -> Result<Ending, Gone> {
        let frame = error.payload(&self.say.turn, Some(&self.say.npc));
        send(events, TurnEvent::Error(Box::new(frame))).await?;
        Ok(Ending::Failed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archetype::Packs;
    use crate::chain::Chains;
    use crate::config::Config;
    use crate::engine::Script;
    use crate::history::{History, HotLimits};
    use crate::npc::Npcs;
    use crate::wire::NpcJoin;

    #[tokio::test]
    async fn nothing_is_lost_of_what_the_engine_says_at_once() {
        let words = 5 * BURST + 7;
        let line = (0..words).map(|word| format!("w{word}")).collect::<Vec<_>>().join(" ");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &line).unwrap();
        let sets = [
            "engine.script_tokens_per_second=0".to_owned(),
            format!("engine.script_file={}", file.path().display()),
            "turn.max_tokens=1000".to_owned(),
        ];
        let config = Config::load(None, std::iter::empty(), &sets).unwrap();
        let data = tempfile::tempdir().unwrap();
        let limits = HotLimits { conversations: 10, window_min: 5, window_max: 10 };
        let history = History::open(data.path(), &config.history, limits).unwrap();
        let packs = Packs::load(None).unwrap();
        let npcs =
            Arc::new(Npcs::new(Chains::generic(&packs).unwrap(), config.npc.clone(), Arc::clone(&history)));
        let archetype = Some("vampire".to_owned());
        let join = NpcJoin { npc: "n".into(), archetype, name: None, seed: None, personality: None };
        npcs.join(&join, true).await.unwrap();
        let script = Script::start(&config.engine).unwrap();
        let turns = Turns::new(script, npcs, history, &config).unwrap();
        let mut events = turns
            .say(Say {
                player: "anna".into(),
                npc: "n".into(),
                turn: "t".into(),
                session: None,
                text: "Go on.".into(),
                context: None,
                generation: None,
                mix: None,
                audience: None,
                actions: Vec::new(),
                at_ms: 0,
            })
            .unwrap();
        let (mut text, mut pieces, mut taken) = (String::new(), 0, Vec::new());
        while events.recv_many(&mut taken, 7).await > 0 {
            for event in taken.drain(..) {
                match event {
                    TurnEvent::Started(_) => assert_eq!(pieces, 0),
                    TurnEvent::Emotion(_)
                    | TurnEvent::Face(_)
                    | TurnEvent::Social(_)
                    | TurnEvent::Goal(_) => {}
                    TurnEvent::Delta(piece) => {
                        assert_eq!(piece.offset, text.chars().count() as u64);
                        text.push_str(&piece.text);
                        pieces += 1;
                    }
                    TurnEvent::Done(done) => {
                        assert_eq!((&done.text, done.reason), (&line, DoneReason::Stop));
                        assert!(done.interaction.is_some(), "durable");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!((text, pieces), (line, words));
    }
}

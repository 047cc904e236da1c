//! One player line: from `say` to a timeline of events.

mod act;
mod clock;
mod erase;
mod error;
mod events;
mod faces;
mod generic;
mod guard;
mod keep;
mod mix;
mod outcomes;
#[cfg(test)]
mod privacy;
mod prompt;
mod registry;
mod remember;
mod run;
mod speaking;
mod spent;
mod state;
mod tracks;
mod trimmer;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;
use tracing::field::Empty;
use tracing::{Instrument, error_span};

pub use self::error::TurnError;
pub use self::events::TurnEvents;
pub use self::guard::{Hook, HookError};
pub use self::keep::now_ms;

use self::events::Item;
use self::faces::Faces;
use self::mix::mix;
use self::outcomes::Outcomes;
use self::prompt::Prompt;
pub(crate) use self::prompt::system_message;
use self::registry::{Registry, Start};
use self::run::Runner;
use self::speaking::Speaking;
pub use self::state::Cut;
use self::state::TurnState;
pub use self::tracks::Missed;
use self::tracks::Priors;
pub(crate) use self::tracks::{Question, calibrated, shifts};
use crate::chain::Routes;
use crate::config::{self, BargeIn, Config, Track};
use crate::engine::{Backend, Choice, Choose, EngineError, Mix, Sampling, Schedule, Weighted};
use crate::face::TableError;
use crate::history::{Exchange, History, Recalled};
use crate::metrics::{ModelMetrics, TurnMetrics};
use crate::models::{Models, ModelsError, Told};
use crate::npc::{Mind, Npc, Npcs};
use crate::wire::{
    Action, ActionProposed, AdapterUse, Emotion, ErrorCode, ErrorPayload, FaceInfo, FaceKey,
    GenerationOptions, Goal, Social, TurnCancelled, TurnDone, TurnStarted,
};

/// What a player's next line need not compute any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warm {
    pub tokens: u32,
    /// Milliseconds that it took.
    pub ms: u64,
}

/// A player's line.
#[derive(Debug, Clone, PartialEq)]
pub struct Say {
    pub player: String,
    pub npc: String,
    /// The client's id of the turn.
    pub turn: String,
    /// Id of the session that it came from.
    pub session: Option<String>,
    pub text: String,
    /// What is around.
    pub context: Option<String>,
    pub generation: Option<GenerationOptions>,
    /// Task → weight, over the pack's defaults. A task that does not speak by itself joins the line with the
    /// weight given here.
    pub mix: Option<BTreeMap<String, f32>>,
    pub audience: Option<Vec<String>>,
    /// What the NPC may do.
    pub actions: Vec<Action>,
    /// When it came, in milliseconds since 1970, UTC.
    pub at_ms: u64,
}

/// What a turn streams: `Started`, any number of `Delta` and of the tracks' events, then `Done`; `Cancelled` or `Error`
/// right before `Done` if that is how it ended. An `Error` without `Started` is the only event.
///
/// Nearly all are deltas; the others are boxed so that they do not set the size.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnEvent {
    Started(Box<TurnStarted>),
    Delta(Piece),
    Emotion(Box<Emotion>),
    Face(Box<FaceKey>),
    Action(Box<ActionProposed>),
    Social(Box<Social>),
    Goal(Box<Goal>),
    Cancelled(Box<TurnCancelled>),
    Error(Box<ErrorPayload>),
    Done(Box<TurnDone>),
}

/// More of a turn's line: a `dialogue.delta` without what all of the turn's have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub offset: u64,
    pub t_ms: u64,
    pub tokens: u32,
}

/// Why turns cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Models(#[from] ModelsError),
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Runs turns.
#[derive(Debug)]
pub struct Turns {
    engine: Backend,
    npcs: Arc<Npcs>,
    history: Arc<History>,
    turn: config::Turn,
    npc: config::Npc,
    registry: Registry,
    missed: Missed,
    priors: Priors,
    acting: act::Acting,
    speaking: Speaking,
    hook: Option<Hook>,
    /// Models elsewhere, for lines without adapters; `None`: there are none.
    models: Option<Models>,
    /// Turns that take so long are told of in the log; `None`: none is.
    slow: Option<Duration>,
    faces: Faces,
    /// 0: it runs.
    clock: AtomicU64,
    outcomes: Outcomes,
    /// Every turn's task, so that a shutdown can wait for them.
    tasks: TaskTracker,
    metrics: Arc<TurnMetrics>,
}

impl Turns {
    /// # Errors
    /// [`SetupError`].
    pub fn new(
        engine: impl Into<Backend>,
        npcs: Arc<Npcs>,
        history: Arc<History>,
        config: &Config,
    ) -> Result<Arc<Self>, SetupError> {
        Ok(Arc::new(Self {
            engine: engine.into(),
            faces: Faces::new()?,
            clock: AtomicU64::new(0),
            outcomes: Outcomes::default(),
            npcs,
            history,
            turn: config.turn.clone(),
            npc: config.npc.clone(),
            registry: Registry::default(),
            missed: Missed::default(),
            priors: Priors::default(),
            acting: act::Acting::default(),
            speaking: Speaking::default(),
            hook: Hook::new(&config.moderation)?,
            models: Models::new(&config.models)?,
            slow: Some(config.log.slow_turn_ms).filter(|ms| *ms > 0).map(Duration::from_millis),
            tasks: TaskTracker::new(),
            metrics: Arc::default(),
        }))
    }

    /// What clients are told of the NPCs' faces; `None`: they are not told of faces.
    pub fn face(&self) -> Option<FaceInfo> {
        self.turn.tracks.contains(&Track::Face).then(|| self.faces.info())
    }

    /// What turns have gone on without.
    pub fn missed(&self) -> &Missed {
        &self.missed
    }

    /// The models that may answer lines without adapters; `None`: the engine answers all of them.
    pub fn models(&self) -> Option<Vec<Told>> {
        self.models.as_ref().map(Models::told)
    }

    /// What was asked of each of these models, in the same order.
    pub fn model_metrics(&self) -> impl Iterator<Item = &ModelMetrics> {
        self.models.iter().flat_map(Models::metrics)
    }

    /// What was counted of turns since the start.
    pub fn metrics(&self) -> &TurnMetrics {
        &self.metrics
    }

    /// What answers lines that no model elsewhere does.
    pub fn engine(&self) -> &Backend {
        &self.engine
    }

    /// Who answers.
    pub fn npcs(&self) -> &Npcs {
        &self.npcs
    }

    /// What was said, all of it.
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Waits until every turn has ended; new ones can still start.
    pub async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The stored `Done` of an id that was used lately; `None`: it was not. [`Self::say`] gives the same answer, of
    /// older turns too; asked first, it costs the player nothing.
    ///
    /// # Errors
    /// `duplicate_turn` while the turn runs.
    pub fn repeated(&self, player: &str, npc: &str, turn: &str) -> Result<Option<TurnDone>, TurnError> {
        self.registry.get(player, npc, turn).map(|known| ended(&known)).transpose()
    }

    /// Starts a turn, or queues it behind the NPC's earlier lines. A turn that ended already yields its
    /// stored `Done`. If the receiver is dropped the turn ends as cancelled.
    ///
    /// # Errors
    /// `unknown_npc`, `duplicate_turn` while it runs, with this NPC or another one, `bad_payload`, `text_too_long` if the line does not
    /// fit into the model's context, `overloaded` if the NPC's mailbox is full and no scripted line is wanted,
    /// `storage_failed` while the journal cannot be written.
    pub fn say(self: &Arc<Self>, mut say: Say) -> Result<TurnEvents, TurnError> {
        let npc = self.npcs.get(&say.npc).ok_or_else(|| {
            TurnError::new(ErrorCode::UnknownNpc, format!("there is no npc {:?}", say.npc)).field("npc")
        })?;
        // Others who hear the line may not have seen what became of it.
        let alone = say.audience.iter().flatten().all(|listener| *listener == say.player);
        let (context, outcomes) = if alone {
            self.outcomes.told_in(&say.npc, &say.player, say.context.take())
        } else {
            (say.context.take(), 0)
        };
        say.context = context;
        // Held for the line and all questions about it.
        let routes = npc.routes();
        let (mix, used, sampling, max_tokens) = self.prepare(&npc, &routes, &say)?;
        let rate = npc.pack.speech_rate.unwrap_or(self.turn.speech_rate);
        let face = self.turn.tracks.contains(&Track::Face).then(|| self.faces.neutral_ms());
        let state = Arc::new(
            TurnState::new(&say.npc, &say.player, &say.turn, rate, face).heard_by(say.audience.as_ref()),
        );
        match self.registry.start(&state) {
            Start::New => {}
            Start::Known(known) => return known_turn(&known),
            Start::Elsewhere(other) => {
                let message = format!("turn {:?} is still running with npc {:?}", say.turn, other.npc);
                return Err(TurnError::new(ErrorCode::DuplicateTurn, message).field("turn"));
            }
        }
        // What is stored is told all the same.
        let may_be_stored = self.history.may_hold(&say.player, &say.npc, &say.turn);
        if !may_be_stored && !self.history.journal().is_writable() {
            self.registry.remove(&state);
            return Err(keep::unwritable());
        }
        let runner = Runner {
            turns: Arc::clone(self),
            npc,
            say,
            state,
            routes,
            mix,
            used,
            sampling,
            max_tokens,
            may_be_stored,
            outcomes,
        };
        let place = runner.npc.take_place(self.npc.mailbox);
        let (sender, receiver) = events::channel();
        // There at every level: what is logged of a turn names it.
        let say = &runner.say;
        let span = error_span!("turn", turn = say.turn, npc = say.npc, session = say.session, ended = Empty);
        self.tasks.spawn(runner.run(place, sender).instrument(span));
        Ok(receiver)
    }

    /// A player is about to say a line: with `npc.barge_in = "interrupt"` what the NPC says to them is cut off where its
    /// speech has got to. Returns how, if that line had ended; one that runs tells it by itself. Nothing happens for an id
    /// that may have been used: it would run nothing.
    pub fn barge_in(&self, player: &str, npc: &str, turn: &str) -> Option<Cut> {
        if self.npc.barge_in != BargeIn::Interrupt || self.history.may_hold(player, npc, turn) {
            return None;
        }
        let (state, cut) = self.speaking.interrupt(npc, player)?;
        self.amend(&state);
        Some(cut)
    }

    /// The time, in milliseconds since 1970, UTC.
    pub fn now_ms(&self) -> u64 {
        match self.clock.load(Ordering::Relaxed) {
            0 => now_ms(),
            stopped => stopped,
        }
    }

    /// Stops the clock at a time, for those who play a session again.
    pub fn stop_clock(&self, at_ms: u64) {
        self.clock.store(at_ms, Ordering::Relaxed);
    }

    /// Computes what the player's next line to the NPC will begin with, behind everything that players wait for.
    /// Dropping the future stops it.
    ///
    /// # Errors
    /// `unknown_npc`, `overloaded`, `engine_failed`.
    pub async fn focus(&self, player: &str, npc: &str) -> Result<Warm, TurnError> {
        let arrived = Instant::now();
        let found = self.npcs.get(npc).ok_or_else(|| {
            TurnError::new(ErrorCode::UnknownNpc, format!("there is no npc {npc:?}")).field("npc")
        })?;
        self.hydrate(player, npc).await;
        let prefix = self.prefix(player, &found)?;
        let routes = found.routes();
        let (mix, _) = mix(&found, &routes, None)?;
        let schedule = Schedule { background: true, ..run::schedule(player, npc) };
        let usage = self.engine.warm(prefix, &mix, schedule).await?;
        Ok(Warm { tokens: usage.prompt_tokens, ms: arrived.elapsed().as_millis() as u64 })
    }

    /// What every prompt of the player's next line to the NPC begins with.
    fn prefix(&self, player: &str, npc: &Npc) -> Result<Vec<u32>, TurnError> {
        let Some(tokenizer) = self.engine.tokenizer() else { return Ok(Vec::new()) };
        let window = self.history.hot().window(&npc.info.id, player, &[]);
        let system =
            prompt::system_message(&npc.pack, &npc.info.name, npc.read(Mind::prompt_line).as_deref());
        let limit = self.prompt_limit(self.turn.max_tokens);
        Ok(prompt::prefix(tokenizer, &system, &window, limit, self.turn.window_min)?)
    }

    /// Cancels a turn. While it runs, `Cancelled` and `Done` come through its own channel and `None` is
    /// returned; within 120 s after its end the answer is returned and history keeps only what was heard.
    ///
    /// # Errors
    /// `unknown_turn`.
    pub fn cancel(
        &self,
        player: &str,
        turn: &str,
        heard_offset: Option<u64>,
    ) -> Result<Option<Cut>, TurnError> {
        let state = self.find(player, turn)?;
        let (cut, ended) = state.cut(heard_offset);
        state.cancelled.cancel();
        if !ended {
            return Ok(None);
        }
        self.amend(&state);
        Ok(Some(cut))
    }

    /// The player has gone: ends their turn with an NPC, if it runs, as a cancel would. Others may hear how it ends.
    pub fn hang_up(&self, player: &str, npc: &str, turn: &str) {
        if let Some(state) = self.registry.get(player, npc, turn).filter(|state| !state.has_ended()) {
            state.cut(None);
            state.cancelled.cancel();
        }
    }

    /// The player heard the line up to an offset.
    ///
    /// # Errors
    /// `unknown_turn`.
    pub fn playback(&self, player: &str, turn: &str, heard_offset: u64) -> Result<(), TurnError> {
        let state = self.find(player, turn)?;
        state.hear(heard_offset);
        if state.has_ended() {
            self.amend(&state);
        }
        Ok(())
    }

    fn find(&self, player: &str, turn: &str) -> Result<Arc<TurnState>, TurnError> {
        self.registry.find(player, turn).ok_or_else(|| {
            let message = format!("no turn {turn:?} runs or ended in the last 120 s");
            TurnError::new(ErrorCode::UnknownTurn, message).field("turn")
        })
    }

    /// Checks a line and settles how it is generated.
    #[allow(clippy::type_complexity)] // Taken apart at once by the only caller.
    fn prepare(
        &self,
        npc: &Npc,
        routes: &Routes,
        say: &Say,
    ) -> Result<(Mix, Vec<AdapterUse>, Sampling, u32), TurnError> {
        let options = say.generation.clone().unwrap_or_default();
        let temperature = options.temperature.unwrap_or(self.turn.temperature);
        let sampling = Sampling {
            greedy: options.greedy || temperature == 0.0,
            temperature: if temperature == 0.0 { 1.0 } else { temperature },
            top_p: options.top_p.unwrap_or(self.turn.top_p),
            min_p: options.min_p.unwrap_or(self.turn.min_p),
            repetition_penalty: self.turn.repetition_penalty,
            seed: options.seed,
        };
        sampling.check()?;
        let max_tokens = options.max_tokens.unwrap_or(self.turn.max_tokens).max(1);
        let (mix, mut used) = mix(npc, routes, say.mix.as_ref())?;
        let asked = tracks::tasks(&self.turn.tracks, npc, say)
            .filter_map(|task| mix::of_task(npc, routes, say.mix.as_ref(), task));
        for (_, adapter) in asked {
            // One that the request has let join the line is there.
            if !used.iter().any(|other| other.id == adapter.id) {
                used.push(adapter);
            }
        }
        // The line alone must fit; what of the past fits beside it is settled when its turn comes.
        if self.engine.tokenizer().is_some() {
            self.fit(npc, say, &[], None, max_tokens)?;
        }
        Ok((mix, used, sampling, max_tokens))
    }

    /// Asks the engine a question, in the background, with the adapter of its task. Where there is none, the base model's
    /// preferences are taken out of the answer.
    fn choose(
        self: &Arc<Self>,
        question: &Question,
        adapter: Option<Weighted>,
        schedule: Schedule,
    ) -> impl Future<Output = Result<Choice, EngineError>> + Send + 'static {
        let turns = Arc::clone(self);
        // A script has no preferences.
        let plain = adapter.is_none() && self.engine.tokenizer().is_some();
        let prior = if plain { self.priors.get(question) } else { None };
        let unknown = (plain && prior.is_none()).then(|| question.about_nothing());
        let mix: Mix = adapter.into_iter().collect();
        // Where there is no room for both, a line goes before what goes with one.
        let schedule = Schedule { background: true, ..schedule };
        let ask = |question: &Question| {
            let limit = self.question_limit();
            let prompt =
                self.engine.tokenizer().map_or(Ok(Vec::new()), |tokenizer| question.tokens(tokenizer, limit));
            let options = question.options.clone();
            prompt.map(|prompt| Choose { prompt, mix: mix.clone(), options, schedule })
        };
        let (asked, nothing) = (ask(question), unknown.as_ref().map(ask).transpose());
        let question = question.clone();
        async move {
            let (asked, nothing) = (asked?, nothing?);
            let about_nothing = async {
                match nothing {
                    Some(nothing) => turns.engine.choose(nothing).await.map(Some),
                    None => Ok(None),
                }
            };
            let (choice, nothing) =
                futures_util::future::try_join(turns.engine.choose(asked), about_nothing).await?;
            let prior = match nothing {
                Some(nothing) => Some(turns.priors.put(&question, nothing.probs)),
                None => prior,
            };
            Ok(match prior {
                Some(prior) => Choice { probs: calibrated(&choice.probs, &prior), ..choice },
                None => choice,
            })
        }
    }

    /// Tokens that a question may have; its answers are short.
    fn question_limit(&self) -> usize {
        self.engine.context() / 4 * 3
    }

    /// Tokens that a prompt may have beside an answer.
    fn prompt_limit(&self, max_tokens: u32) -> usize {
        let context = self.engine.context();
        context - (max_tokens as usize).min(context / 4).max(1)
    }

    /// The prompt: at least a quarter of the context, or `max_tokens` if that is less, stays free
    /// for the answer.
    fn fit(
        &self,
        npc: &Npc,
        say: &Say,
        window: &[Exchange],
        recalled: Option<&Recalled>,
        max_tokens: u32,
    ) -> Result<Prompt, TurnError> {
        let tokenizer = self.engine.tokenizer();
        if tokenizer.is_none() && self.models.is_none() {
            return Ok(Prompt { tokens: Vec::new(), messages: Vec::new() });
        }
        let limit = self.prompt_limit(max_tokens);
        let system =
            prompt::system_message(&npc.pack, &npc.info.name, npc.read(Mind::prompt_line).as_deref());
        let message = prompt::player_message(say.context.as_deref(), &say.text);
        let message = prompt::with_recalled(recalled, &message);
        let keep = self.turn.window_min;
        Ok(prompt::fit(tokenizer, &system, window, &message, limit, keep)?)
    }
}

/// The stored `Done` of a turn; `duplicate_turn` while there is none.
fn ended(known: &TurnState) -> Result<TurnDone, TurnError> {
    known.done().ok_or_else(|| still_running(&known.turn))
}

/// The answer to a turn id whose turn runs.
pub fn still_running(turn: &str) -> TurnError {
    TurnError::new(ErrorCode::DuplicateTurn, format!("turn {turn:?} is still running")).field("turn")
}

/// The answer to a turn id that was used before.
fn known_turn(known: &TurnState) -> Result<TurnEvents, TurnError> {
    let done = ended(known)?;
    let (sender, receiver) = events::channel();
    // A fresh channel has room.
    drop(sender.try_send(Item::Event(TurnEvent::Done(Box::new(done)))));
    Ok(receiver)
}

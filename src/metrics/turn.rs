//! Turns, what is asked beside them, moderation, and models elsewhere.

use std::fmt;

use super::bounds;
use super::by::{By, By2};
use super::kinds::{Counter, Gauge, Histogram};
use super::labels::label;
use super::names::ByName;
use super::page::Page;
use crate::wire::{DoneReason, RouteReason};

/// Archetypes that are counted apart.
const ARCHETYPES: usize = 64;

/// What answers a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// The engine: there was no choice.
    Engine,
    /// Its base model, which was chosen.
    Base,
    /// A model elsewhere.
    Remote,
}

label!(Answerer, "by" { Engine = "engine", Base = "base", Remote = "remote" });

/// What is asked beside a line, by the task that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Emotion,
    Action,
    Social,
    Goal,
}

label!(Question, "task" {
    Emotion = "emotional_response",
    Action = "action_policy",
    Social = "social_dynamics",
    Goal = "goal_prioritization",
});

/// Why a turn went on without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The line's end could not wait for it any longer.
    Late,
    Overloaded,
    Failed,
}

label!(Missing, "cause" { Late = "late", Overloaded = "overloaded", Failed = "failed" });

/// What blocks a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    /// The pack's phrases.
    Phrases,
    /// The studio's own service.
    Service,
}

label!(Blocker, "by" { Phrases = "phrases", Service = "service" });

/// Whose words are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The player's.
    Input,
    /// The NPC's.
    Output,
}

label!(Side, "direction" { Input = "input", Output = "output" });

/// What the studio's service says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Blocked,
    /// Nothing in time, or nothing that can be read.
    Failed,
}

label!(Verdict, "result" { Allowed = "allowed", Blocked = "blocked", Failed = "failed" });

/// See the module's documentation.
#[derive(Debug)]
pub struct TurnMetrics {
    /// Lines that were taken up.
    pub started: Counter,
    pub running: Gauge,
    pub done: By<DoneReason>,
    pub routed: By<RouteReason>,
    pub answered: By<Answerer>,
    pub archetypes: ByName,
    pub first_token: Histogram,
    pub inter_token: Histogram,
    /// The journal included.
    pub whole: Histogram,
    /// In the mailbox and in the engine's queue.
    pub queue: Histogram,
    pub prompt_tokens: Counter,
    pub cached_tokens: Counter,
    pub generated_tokens: Counter,
    pub mailbox_waiting: Gauge,
    pub mailbox_full: Counter,
    pub questions: By<Question>,
    pub missed: By2<Question, Missing>,
    pub question: Histogram,
    pub moderation: ModerationMetrics,
}

impl Default for TurnMetrics {
    fn default() -> Self {
        Self {
            started: Counter::default(),
            running: Gauge::default(),
            done: By::default(),
            routed: By::default(),
            answered: By::default(),
            archetypes: ByName::new(ARCHETYPES),
            first_token: Histogram::new(bounds::FIRST_WORD),
            inter_token: Histogram::new(bounds::INTER_TOKEN),
            whole: Histogram::new(bounds::TURN),
            queue: Histogram::new(bounds::WAIT),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            generated_tokens: Counter::default(),
            mailbox_waiting: Gauge::default(),
            mailbox_full: Counter::default(),
            questions: By::default(),
            missed: By2::default(),
            question: Histogram::new(bounds::WAIT),
            moderation: ModerationMetrics::default(),
        }
    }
}

impl TurnMetrics {
    /// Writes all of it.
    ///
    /// # Errors
    /// Of the page's writer.
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter("turns_started", "Lines that were taken up", &self.started)?;
        page.gauge("turns_running", "Lines that wait or are being answered", self.running.get())?;
        page.by("turns_done", "Lines that ended, by the reason of turn.done", &self.done)?;
        page.by("turns_routed", "Lines that began, by the reason of turn.started", &self.routed)?;
        page.by("turns_answered", "Lines that a model has begun to answer", &self.answered)?;
        page.by_name("turns_by_archetype", "Lines that began, by archetype", "archetype", &self.archetypes)?;
        page.histogram(
            "turn_first_token_seconds",
            "Time from a line to the first text of its answer",
            &self.first_token,
        )?;
        page.histogram(
            "turn_inter_token_seconds",
            "Time between two pieces of an answer, by token",
            &self.inter_token,
        )?;
        page.histogram("turn_seconds", "Time from a line to its turn.done", &self.whole)?;
        page.histogram("turn_queue_seconds", "Time of a line in the mailbox and in the queue", &self.queue)?;
        page.counter("turn_prompt_tokens", "Prompt tokens of lines that ended", &self.prompt_tokens)?;
        page.counter("turn_cached_tokens", "Of these, those that were there already", &self.cached_tokens)?;
        page.counter("turn_generated_tokens", "Tokens of their answers", &self.generated_tokens)?;
        let waiting = self.mailbox_waiting.get();
        page.gauge("mailbox_waiting", "Lines that wait for an earlier line of their NPC", waiting)?;
        page.counter("mailbox_full", "Lines that found the mailbox of their NPC full", &self.mailbox_full)?;
        page.by("turn_questions", "Questions asked beside lines", &self.questions)?;
        page.by2("turn_questions_missed", "Of these, the ones that turns went on without", &self.missed)?;
        page.histogram("turn_question_seconds", "Time that an answer to a question took", &self.question)?;
        self.moderation.write(page)
    }
}

/// What was let through and what was not.
#[derive(Debug)]
pub struct ModerationMetrics {
    pub blocked: By2<Blocker, Side>,
    /// Of the studio's service.
    pub requests: By2<Side, Verdict>,
    pub request: Histogram,
}

impl Default for ModerationMetrics {
    fn default() -> Self {
        let request = Histogram::new(bounds::WAIT);
        Self { blocked: By2::default(), requests: By2::default(), request }
    }
}

impl ModerationMetrics {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.by2("moderation_blocked", "Lines and answers that were blocked", &self.blocked)?;
        page.by2("moderation_requests", "What the studio's service answered", &self.requests)?;
        page.histogram("moderation_request_seconds", "Time that its answer took", &self.request)
    }
}

/// One model of those that may answer lines without adapters.
#[derive(Debug)]
pub struct ModelMetrics {
    /// Lines that it has begun to answer.
    pub answers: Counter,
    /// Lines that it was asked to answer in vain.
    pub failures: Counter,
    pub first_word: Histogram,
}

impl Default for ModelMetrics {
    fn default() -> Self {
        Self {
            answers: Counter::default(),
            failures: Counter::default(),
            first_word: Histogram::new(bounds::FIRST_WORD),
        }
    }
}

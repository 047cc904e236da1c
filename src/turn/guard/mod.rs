//! What comes in and what goes out is looked at: by the pack's lists of phrases, and by a studio's own service.

mod hook;

use crate::archetype::{Found, Phrases};
use crate::metrics::{Blocker, Side};

use self::hook::Checked;
pub use self::hook::{Direction, Hook, HookError};
use super::run::Runner;
use super::tracks::Sentences;

/// Text that may be sent, and whether the line ends there because of what came behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub text: String,
    pub blocked: bool,
}

/// Looks at an answer while it streams.
pub(super) struct Guard<'a> {
    runner: &'a Runner,
    phrases: &'a Phrases,
    hook: Option<&'a Hook>,
    /// May be the beginning of a phrase.
    held: String,
    /// A sentence that the service has not seen yet, with what the list has let through of it.
    sentences: Sentences,
    unseen: String,
}

impl<'a> Guard<'a> {
    pub fn new(runner: &'a Runner) -> Self {
        let hook = runner.turns.hook.as_ref().filter(|hook| hook.checks(Direction::Output));
        Self {
            runner,
            phrases: &runner.npc.pack.blocked_output,
            hook,
            held: String::new(),
            sentences: Sentences::default(),
            unseen: String::new(),
        }
    }

    /// Whether a player's line may be answered.
    pub async fn lets_in(runner: &Runner) -> bool {
        let say = &runner.say;
        let metrics = &runner.turns.metrics.moderation;
        if runner.npc.pack.blocked_input.are_in(&say.text) {
            metrics.blocked.of(Blocker::Phrases, Side::Input).inc();
            return false;
        }
        match runner.turns.hook.as_ref().filter(|hook| hook.checks(Direction::Input)) {
            Some(hook) => hook.allows(&checked(runner, Direction::Input, &say.text), metrics).await,
            None => true,
        }
    }

    /// More of the answer.
    pub async fn push(&mut self, text: String) -> Passed {
        if self.phrases.is_empty() && self.hook.is_none() {
            return Passed { text, blocked: false };
        }
        self.held.push_str(&text);
        self.pass(false).await
    }

    /// The answer is over: what is left of it.
    pub async fn finish(&mut self) -> Passed {
        self.pass(true).await
    }

    async fn pass(&mut self, whole: bool) -> Passed {
        let (settled, found) = match self.phrases.find(&self.held, whole) {
            Found::Nothing(settled) => (settled, false),
            Found::Phrase(at) => (at, true),
        };
        // The space before what is held goes with it: a line that ends there ends without it.
        let settled = if settled < self.held.len() { self.held[..settled].trim_end().len() } else { settled };
        let rest = self.held.split_off(settled);
        let listed = std::mem::replace(&mut self.held, rest);
        let seen = self.see(listed, whole || found).await;
        if found {
            self.runner.turns.metrics.moderation.blocked.of(Blocker::Phrases, Side::Output).inc();
        }
        Passed { blocked: seen.blocked || found, ..seen }
    }

    /// Shows the service what the list has let through, sentence by sentence.
    async fn see(&mut self, text: String, whole: bool) -> Passed {
        let Some(hook) = self.hook else { return Passed { text, blocked: false } };
        let before = self.unseen.chars().count() as u64;
        let from = self.sentences.chars() - before;
        let ends = self.sentences.push(&text);
        self.unseen.push_str(&text);
        let end = if whole { Some(u64::MAX) } else { ends.last().map(|sentence| sentence.end - from) };
        let Some(end) = end else { return Passed::default() };
        let at = usize::try_from(end).ok().and_then(|end| self.unseen.char_indices().nth(end));
        let rest = self.unseen.split_off(at.map_or(self.unseen.len(), |(at, _)| at));
        let shown = std::mem::replace(&mut self.unseen, rest);
        let metrics = &self.runner.turns.metrics.moderation;
        if shown.trim().is_empty()
            || hook.allows(&checked(self.runner, Direction::Output, &shown), metrics).await
        {
            Passed { text: shown, blocked: false }
        } else {
            Passed { text: String::new(), blocked: true }
        }
    }
}

fn checked<'a>(runner: &'a Runner, direction: Direction, text: &'a str) -> Checked<'a> {
    let say = &runner.say;
    Checked {
        direction,
        npc: &say.npc,
        archetype: &runner.npc.info.archetype,
        player: &say.player,
        turn: &say.turn,
        text,
    }
}

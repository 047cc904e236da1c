//! What a load comes to in a second.

use std::iter::Sum;
use std::ops::Add;

use super::ArchetypeLoad;

/// Of a server, of an archetype, or of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    pub actions_per_s: f64,
    /// As the reference design counts: one for each task of an action.
    pub inferences_per_s: f64,
    /// Requests that generate a spoken line.
    pub lines_per_s: f64,
    /// Requests that choose; they generate nothing.
    pub choices_per_s: f64,
    /// Tokens of all prompts and of all answers to choose from.
    pub prompt_tokens_per_s: f64,
    /// Those of them that have to be computed.
    pub prefill_tokens_per_s: f64,
    /// Tokens that are generated.
    pub decode_tokens_per_s: f64,
}

impl Rates {
    pub(super) fn of(load: &ArchetypeLoad, factor: f64) -> Self {
        let actions_per_s = load.npcs as f64 * load.actions_per_npc_per_s * factor;
        let lines_per_s = actions_per_s * load.lines_per_action;
        let choices_per_s = actions_per_s * load.choices_per_action;
        let (line, choice) = (load.line, load.choice);
        // The last token of a prompt is computed in any case: what follows it is asked for.
        let cold = |prompt: f64, warm_share: f64| (prompt * (1.0 - warm_share)).max(1.0);
        Self {
            actions_per_s,
            inferences_per_s: actions_per_s * load.tasks_per_action(),
            lines_per_s,
            choices_per_s,
            prompt_tokens_per_s: lines_per_s * line.prompt + choices_per_s * (choice.prompt + choice.options),
            prefill_tokens_per_s: lines_per_s * cold(line.prompt, line.warm_share)
                + choices_per_s * (cold(choice.prompt, choice.warm_share) + choice.options),
            decode_tokens_per_s: lines_per_s * line.answer,
        }
    }

    /// Requests as the gateway makes them.
    pub fn requests_per_s(&self) -> f64 {
        self.lines_per_s + self.choices_per_s
    }
}

impl Add for Rates {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            actions_per_s: self.actions_per_s + other.actions_per_s,
            inferences_per_s: self.inferences_per_s + other.inferences_per_s,
            lines_per_s: self.lines_per_s + other.lines_per_s,
            choices_per_s: self.choices_per_s + other.choices_per_s,
            prompt_tokens_per_s: self.prompt_tokens_per_s + other.prompt_tokens_per_s,
            prefill_tokens_per_s: self.prefill_tokens_per_s + other.prefill_tokens_per_s,
            decode_tokens_per_s: self.decode_tokens_per_s + other.decode_tokens_per_s,
        }
    }
}

impl Sum for Rates {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::default(), Self::add)
    }
}

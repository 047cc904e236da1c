//! What an action asks of the engine's steps.

use super::super::load::{ArchetypeLoad, SPOKEN_TASKS};
use super::super::steps::StepShape;

/// Tokens of a prompt in one step: `engine.prefill_budget`, nearly.
const PIECE: f64 = 128.0;

/// Tokens of an option that are computed, as the simulation has them.
const OPTION_TOKENS: f64 = 2.0;

/// Of one action, on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    pub lines: f64,
    pub choices: f64,
    /// Tokens that are generated.
    pub decode: f64,
    /// Tokens of prompts and of answers to choose from that are computed.
    pub prefill: f64,
    /// Tokens whose logits are wanted.
    pub logits: f64,
    /// Positions that all its tokens look at.
    pub attended: f64,
    /// Positions that are read of the KV cache: those that the tokens of one sequence in a step look at count once.
    pub read: f64,
    /// Adapters of all its tokens.
    pub mixed: f64,
    /// Tokens of one prompt that have to be computed before its answer begins: the most of a line and a choice.
    pub longest_prompt: f64,
}

impl Mix {
    /// `None`: its actions ask for nothing.
    pub fn of(load: &ArchetypeLoad) -> Option<Self> {
        let (lines, choices) = (load.lines_per_action, load.choices_per_action);
        if lines + choices <= 0.0 {
            return None;
        }
        let (line, choice) = (load.line, load.choice);
        // The last token of a prompt is computed in any case, as in the rates.
        let cold = |prompt: f64, warm_share: f64| (prompt * (1.0 - warm_share)).max(1.0);
        let (spoken, asked) = (cold(line.prompt, line.warm_share), cold(choice.prompt, choice.warm_share));
        let decode = lines * line.answer;
        let prefill = lines * spoken + choices * (asked + choice.options);
        // New tokens stand at a prompt's end; each looks at all before it.
        let of_line = line.answer * (line.prompt + line.answer / 2.0) + spoken * (line.prompt - spoken / 2.0);
        let of_choice = asked * (choice.prompt - asked / 2.0) + choice.options * (choice.prompt + 1.0);
        // A prompt in pieces of about so many tokens; options are sequences of some tokens, and each reads the prompt.
        let pieces = |tokens: f64| (tokens / PIECE).ceil();
        let read_of_line = line.answer * (line.prompt + line.answer / 2.0) + pieces(spoken) * line.prompt;
        let read_of_choice =
            pieces(asked) * choice.prompt + choice.options / OPTION_TOKENS * (choice.prompt + OPTION_TOKENS);
        let longest = |count: f64, tokens: f64| if count > 0.0 { tokens } else { 0.0 };
        Some(Self {
            lines,
            choices,
            decode,
            prefill,
            logits: decode + lines + choices * (1.0 + choice.options),
            attended: lines * of_line + choices * of_choice,
            read: lines * read_of_line + choices * read_of_choice,
            mixed: lines * (line.answer + spoken) * SPOKEN_TASKS.len() as f64
                + choices * (asked + choice.options),
            longest_prompt: longest(lines, spoken).max(longest(choices, asked + choice.options)),
        })
    }

    /// Requests of an action.
    pub fn requests(&self) -> f64 {
        self.lines + self.choices
    }

    /// The part of an action that a step does which decodes so many rows on average; of actions without lines: so many
    /// choices.
    pub fn part(&self, items: f64) -> f64 {
        items / if self.decode > 0.0 { self.decode } else { self.choices }
    }

    /// That step. Rounded up.
    pub fn shape(&self, items: f64) -> StepShape {
        let part = self.part(items);
        let whole = |amount: f64| (part * amount).ceil() as usize;
        StepShape {
            tokens: whole(self.decode + self.prefill),
            logits: whole(self.logits),
            attended: whole(self.attended),
            read: whole(self.read),
            mixed: whole(self.mixed),
        }
    }
}

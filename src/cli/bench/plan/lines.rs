//! Lines that were heard, as a load for the simulation.

use super::super::load::Heard;
use crate::planner::load::{ArchetypeLoad, ChoiceTokens, LineTokens};

/// Kinds of lines that are told apart, by what has to be computed of their prompts: first lines of a conversation are
/// cold, others are not.
pub const KINDS: usize = 8;

/// Tokens of a choice's prompt and of its options, assumed: the gateway does not say them. Only what is computed is
/// known.
const CHOICE: ChoiceTokens = ChoiceTokens { prompt: 150.0, options: 20.0, warm_share: 0.0 };

/// What the engine computed while lines were heard.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    pub tokens: u64,
    /// Seconds that its steps took.
    pub busy_s: f64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Lines {
    /// With the least to compute first.
    heard: Vec<Heard>,
    choice: ChoiceTokens,
    /// Of a line.
    choices: f64,
}

/// Tokens of the prompt that were computed.
fn cold(heard: &Heard) -> u32 {
    heard.prompt_tokens.saturating_sub(heard.cached_tokens)
}

impl Lines {
    pub fn new(heard: &[Heard], work: Work) -> anyhow::Result<Self> {
        anyhow::ensure!(!heard.is_empty(), "no line was answered");
        let mut heard = heard.to_vec();
        heard.sort_by_key(cold);
        // The last token of an answer is not computed.
        let own = |line: &Heard| u64::from(cold(line)) + u64::from(line.generated_tokens.saturating_sub(1));
        let lines: u64 = heard.iter().map(own).sum();
        let choices: u64 = heard.iter().map(|line| u64::from(line.choices)).sum();
        // Without choices nothing else was computed; what a difference there is comes of lines at the window's ends.
        let each = if choices == 0 { 0.0 } else { work.tokens.saturating_sub(lines) as f64 / choices as f64 };
        let options = CHOICE.options.min((each - 1.0).max(0.0).floor());
        let prompt = CHOICE.prompt.max(each - options);
        let choice =
            ChoiceTokens { prompt, options, warm_share: 1.0 - ((each - options) / prompt).clamp(0.0, 1.0) };
        let choices = choices as f64 / heard.len() as f64;
        Ok(Self { heard, choice, choices })
    }

    /// The mean of a count over all lines.
    pub fn mean(&self, count: fn(&Heard) -> u32) -> f64 {
        mean(&self.heard, count)
    }

    /// These lines so often a second, each kind said by so many NPCs.
    pub fn at(&self, lines_per_s: f64, npcs: u64) -> Vec<ArchetypeLoad> {
        self.kinds(|share| (npcs, lines_per_s * share / npcs as f64))
    }

    /// These lines of about so many NPCs, of each kind as many as its share of them.
    pub fn spread(&self, npcs: u64) -> Vec<ArchetypeLoad> {
        self.kinds(|share| (((npcs as f64 * share).round() as u64).max(1), 1.0))
    }

    fn kinds(&self, npcs: impl Fn(f64) -> (u64, f64)) -> Vec<ArchetypeLoad> {
        let size = self.heard.len().div_ceil(KINDS).max(1);
        let kind = |(index, lines): (usize, &[Heard])| {
            let share = lines.len() as f64 / self.heard.len() as f64;
            let (npcs, actions_per_npc_per_s) = npcs(share);
            let prompt = mean(lines, |heard| heard.prompt_tokens).max(1.0);
            let warm_share = 1.0 - (mean(lines, cold) / prompt).clamp(0.0, 1.0);
            let answer = mean(lines, |heard| heard.generated_tokens).max(1.0);
            ArchetypeLoad {
                actions_per_npc_per_s,
                choices_per_action: self.choices,
                line: LineTokens { prompt, answer, warm_share },
                choice: self.choice,
                ..ArchetypeLoad::new(format!("kind {index}"), npcs)
            }
        };
        self.heard.chunks(size).enumerate().map(kind).collect()
    }
}

fn mean(lines: &[Heard], count: fn(&Heard) -> u32) -> f64 {
    lines.iter().map(|heard| f64::from(count(heard))).sum::<f64>() / lines.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(prompt_tokens: u32, cached_tokens: u32, choices: u32) -> Heard {
        Heard { prompt_tokens, cached_tokens, generated_tokens: 32, choices, ..Heard::default() }
    }

    #[test]
    fn a_load_has_the_tokens_that_were_heard() {
        let heard: Vec<_> = (0..80).map(|at| line(200 + at, 190, 2)).collect();
        let own: u64 = heard.iter().map(|line| u64::from(line.prompt_tokens - 190) + 31).sum();
        let lines = Lines::new(&heard, Work { tokens: own + 160 * 50, busy_s: 1.0 }).unwrap();
        let kinds = lines.at(4.0, 32);
        let rate: f64 = kinds.iter().map(|kind| kind.npcs as f64 * kind.actions_per_npc_per_s).sum();
        assert!(kinds.len() == KINDS && (rate - 4.0).abs() < 1e-9);
        let computed: f64 =
            kinds.iter().map(|kind| kind.line.prompt * (1.0 - kind.line.warm_share) / 8.0).sum();
        assert!((computed - lines.mean(cold)).abs() < 1e-9);
        let choice = kinds[0].choice;
        assert!(
            (choice.options + choice.prompt * (1.0 - choice.warm_share) - 50.0).abs() < 1e-9,
            "{choice:?}"
        );
        assert_eq!((kinds[0].choices_per_action, kinds[0].line.answer), (2.0, 32.0));
    }

    #[test]
    fn lines_without_choices_and_odd_counts_are_loads_too() {
        assert!(Lines::new(&[], Work { tokens: 0, busy_s: 0.0 }).is_err());
        let lines = Lines::new(&[line(0, 10, 0)], Work { tokens: 0, busy_s: 0.0 }).unwrap();
        let kinds = lines.spread(10);
        assert_eq!((kinds.len(), kinds[0].npcs, kinds[0].choices_per_action), (1, 10, 0.0));
        assert_eq!(kinds[0].line.prompt, 1.0);
    }
}

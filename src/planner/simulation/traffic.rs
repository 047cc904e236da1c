//! Who says something when, and what is asked of the engine then.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::super::load::{ArchetypeLoad, SPOKEN_TASKS};
use super::{Arrivals, InputError, MAX_REQUESTS, Process, too_many};
use crate::engine::{MAX_OPTIONS, Rehearsed};

/// Prompts that one NPC may have: a line's, and those of at most 64 choices.
const SLOTS: u64 = 65;

/// What no prompt of another line or choice has: added to a number of its own.
const FRESH: u32 = 1 << 31;

/// Tokens of an option beyond its first, where the load has so many: two, as in the default load.
const OPTION_TOKENS: usize = 2;

/// All of it.
#[derive(Debug)]
pub struct Traffic {
    pub kinds: Vec<Kind>,
    /// Of each kind: the share of all actions that are its own or of kinds before it.
    shares: Vec<f64>,
    /// Actions a second; 0 in a closed loop.
    rate: f64,
}

/// What NPCs of an archetype do.
#[derive(Debug)]
pub struct Kind {
    /// The first of its NPCs' numbers, and how many there are.
    first_npc: u64,
    npcs: u64,
    lines_per_action: f64,
    choices_per_action: f64,
    line: Shape,
    pub answer: u32,
    choice: Shape,
    /// Tokens of each option.
    pub options: Vec<usize>,
    pub spoken: Vec<Rehearsed>,
    /// One for each choice of an action.
    pub chosen: Vec<Rehearsed>,
}

/// A prompt's tokens, and those that are there from the prompt before.
#[derive(Debug, Clone, Copy)]
struct Shape {
    tokens: usize,
    warm: usize,
}

impl Shape {
    fn new(tokens: f64, warm_share: f64) -> Self {
        let whole = (tokens.round() as usize).max(1);
        // The last one is computed in any case.
        let cold = (tokens * (1.0 - warm_share)).round().max(1.0) as usize;
        Self { tokens: whole, warm: whole.saturating_sub(cold) }
    }
}

impl Traffic {
    pub fn new(arrivals: &Arrivals, context: usize) -> Result<Self, InputError> {
        let mut first_npc = 0;
        let mut kinds = Vec::new();
        for (index, load) in arrivals.archetypes.iter().enumerate() {
            kinds.push(Kind::new(load, index, first_npc, context)?);
            first_npc += load.npcs;
        }
        let closed = matches!(arrivals.process, Process::Closed { .. });
        let weight =
            |load: &ArchetypeLoad| load.npcs as f64 * if closed { 1.0 } else { load.actions_per_npc_per_s };
        let total: f64 = arrivals.archetypes.iter().map(weight).sum();
        if total <= 0.0 {
            let key = "arrivals.archetypes.actions_per_npc_per_s";
            return Err(InputError::bad(key, "0 of every NPC", "above 0 of one of them"));
        }
        let mut sum = 0.0;
        let shares = arrivals.archetypes.iter().map(|load| {
            sum += weight(load) / total;
            sum
        });
        let traffic = Self { shares: shares.collect(), kinds, rate: if closed { 0.0 } else { total } };
        let each =
            |load: &ArchetypeLoad| weight(load) * (load.lines_per_action + load.choices_per_action + 1.0);
        let requests = arrivals.archetypes.iter().map(each).sum::<f64>() * arrivals.end_s();
        if !closed && requests > MAX_REQUESTS {
            return Err(too_many());
        }
        Ok(traffic)
    }

    /// Seconds until the next action of any NPC.
    pub fn gap_s(&self, rng: &mut ChaCha8Rng) -> f64 {
        exponential(1.0 / self.rate, rng)
    }

    /// Whose action it is: the kind, and the NPC's number.
    pub fn actor(&self, rng: &mut ChaCha8Rng) -> (usize, u64) {
        let kind = self.kind_at(rng.random());
        let Kind { first_npc, npcs, .. } = self.kinds[kind];
        (kind, first_npc + rng.random_range(0..npcs.max(1)))
    }

    /// The kind of which each client of a closed loop is; clients are spread as NPCs are.
    pub fn client(&self, client: usize, clients: usize) -> usize {
        self.kind_at((client as f64 + 0.5) / clients as f64)
    }

    fn kind_at(&self, share: f64) -> usize {
        let at = self.shares.partition_point(|below| *below <= share);
        // Sums of floats may end a little below 1; and a kind without NPCs does nothing.
        let last = self.kinds.iter().rposition(|kind| kind.npcs > 0).unwrap_or(0);
        at.min(last)
    }
}

impl Kind {
    fn new(load: &ArchetypeLoad, index: usize, first_npc: u64, context: usize) -> Result<Self, InputError> {
        let line = Shape::new(load.line.prompt, load.line.warm_share);
        let choice = Shape::new(load.choice.prompt, load.choice.warm_share);
        let answer = (load.line.answer.round() as u32).max(1);
        let options = options(load.choice.options.round() as usize);
        let longest = options.iter().copied().max().unwrap_or(1);
        for (field, tokens) in [
            ("line.prompt + line.answer", line.tokens + answer as usize),
            ("choice.prompt + an option", choice.tokens + longest),
        ] {
            if tokens > context {
                let key = format!("arrivals.archetypes[{index}].{field}");
                return Err(InputError::bad(key, tokens, format!("at most {context} (server.context)")));
            }
        }
        // Numbers that no other archetype's adapters have.
        let adapter = |at: usize| ((index as u64) << 8 | at as u64, 1.0);
        let spoken = SPOKEN_TASKS.len();
        let most = load.choices_per_action.ceil() as usize;
        Ok(Self {
            first_npc,
            npcs: load.npcs,
            lines_per_action: load.lines_per_action,
            choices_per_action: load.choices_per_action,
            line,
            answer,
            choice,
            options,
            spoken: (0..spoken).map(adapter).collect(),
            chosen: (spoken..spoken + most).map(adapter).collect(),
        })
    }

    /// Lines and choices of an action: whole numbers that are on average what the load says.
    pub fn action(&self, rng: &mut ChaCha8Rng) -> (u32, u32) {
        let mut draw = |mean: f64| mean.floor() as u32 + u32::from(rng.random::<f64>() < mean.fract());
        (draw(self.lines_per_action), draw(self.choices_per_action))
    }

    /// The prompt of an NPC's line. `fresh`: a number of its own.
    pub fn line_prompt(&self, npc: u64, fresh: u32) -> Vec<u32> {
        prompt(self.line, npc, 0, fresh)
    }

    /// The prompt of a choice of an NPC, by its number.
    pub fn choice_prompt(&self, npc: u64, choice: usize, fresh: u32) -> Vec<u32> {
        prompt(self.choice, npc, choice as u64 + 1, fresh)
    }
}

/// A prompt that begins as the one before of the same NPC and the same slot did. A token at each end of what is warm
/// tells it from all others; the rest need not.
fn prompt(shape: Shape, npc: u64, slot: u64, fresh: u32) -> Vec<u32> {
    let mut tokens = vec![0; shape.tokens];
    if shape.warm > 0 {
        tokens[0] = (npc * SLOTS + slot % SLOTS) as u32 % FRESH;
    }
    tokens[shape.warm] = FRESH | fresh;
    tokens
}

/// Options of which so many tokens are computed: all but each one's last. As many as there may be, with a few tokens each.
fn options(computed: usize) -> Vec<usize> {
    let count = computed.div_ceil(OPTION_TOKENS).clamp(1, MAX_OPTIONS);
    (0..count).map(|at| computed / count + usize::from(at < computed % count) + 1).collect()
}

/// A time that is on average `mean`, whatever has passed of it.
pub fn exponential(mean: f64, rng: &mut ChaCha8Rng) -> f64 {
    -(1.0 - rng.random::<f64>()).ln() * mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_the_tokens_that_the_load_says() {
        for computed in [0, 1, 2, 3, 20, 511, 512, 513, 65_536] {
            let options = options(computed);
            assert_eq!(options.iter().map(|tokens| tokens - 1).sum::<usize>(), computed);
            assert!(options.len() <= MAX_OPTIONS && options.iter().all(|tokens| *tokens > 0));
        }
        assert_eq!(options(20), [3; 10]);
    }

    #[test]
    fn prompts_share_what_is_warm_and_no_more() {
        let shape = Shape::new(240.0, 0.9);
        assert_eq!((shape.tokens, shape.warm), (240, 216));
        let common = |a: &[u32], b: &[u32]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let first = prompt(shape, 7, 0, 1);
        assert_eq!(common(&first, &prompt(shape, 7, 0, 2)), 216);
        assert_eq!(common(&first, &prompt(shape, 8, 0, 2)), 0);
        assert_eq!(common(&first, &prompt(shape, 7, 1, 2)), 0);
        let cold = Shape::new(240.0, 0.0);
        assert_eq!(common(&prompt(cold, 7, 0, 1), &prompt(cold, 7, 0, 2)), 0);
        assert_eq!(Shape::new(10.0, 1.0).warm, 9);
    }
}

//! What the four choices of a turn cost its line: the five tasks together, against the line alone.

use std::fmt::Write;
use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::adapters::{self, ARCHETYPES};
use super::ask;
use super::figures::Seen;
use super::stats::median;
use crate::archetype::Task;
use crate::engine::{Choose, Engine, Schedule};

/// Turns of each kind in one repeat.
const TURNS: u32 = 20;

/// Tokens of a line: more than the choices may take.
const LINE: u32 = 24;

/// What each choice is about, and its options.
const CHOICES: [(Task, &[&str]); 4] = [
    (
        Task::EmotionalResponse,
        &[" joy", " sadness", " anger", " fear", " disgust", " surprise", " contempt", " neutral"],
    ),
    (
        Task::ActionPolicy,
        &[" bow to the stranger", " draw a weapon", " flee", " offer a cup of wine", " follow", " wait"],
    ),
    (Task::SocialDynamics, &[" trust grows", " trust falls", " nothing changes"]),
    (
        Task::GoalPrioritization,
        &[" find the silver key", " guard the crypt", " feed before dawn", " learn the name"],
    ),
];

/// Of cold prompts; medians over the turns.
#[derive(Debug, Serialize)]
pub struct Turn {
    /// Turns of each kind.
    pub turns: usize,
    /// Tokens of each of the five prompts.
    pub prompt_tokens: u32,
    /// The line's time to its first token, without the choices and with them.
    pub alone_first_token_ms: f64,
    pub together_first_token_ms: f64,
    /// Of turns side by side in time.
    pub first_token_ratio: f64,
    /// Tokens of the line that were there when the last of the choices was: in the median, and at most.
    pub last_choice_token: f64,
    pub last_choice_token_most: f64,
    /// The line's time to its last token.
    pub alone_line_ms: f64,
    pub together_line_ms: f64,
}

/// Measures on an engine that has the bench's adapters; nothing else may run on it.
pub async fn measure(engine: &Engine, prompt_tokens: u32, repeats: u32) -> anyhow::Result<Turn> {
    let turns = TURNS * repeats;
    eprintln!("==> {turns} turns of five tasks, and as many lines alone");
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(prompt_tokens));
    let (mut alone, mut together, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns as usize {
        // In turns, each as often before the other as behind it.
        for with_choices in [turn % 2 == 0, turn % 2 == 1] {
            if with_choices {
                let (seen, token) = five(engine, prompt_tokens as usize, turn, &mut rng).await?;
                together.push(seen);
                tokens.push(token as f64);
            } else {
                alone.push(line(engine, prompt_tokens as usize, turn, &mut rng).await?);
            }
        }
    }
    let middle = |all: &[Seen], value: fn(&Seen) -> f64| median(all.iter().map(value).collect());
    let ratios = together.iter().zip(&alone).map(|(t, a)| t.first_token_ms / a.first_token_ms);
    Ok(Turn {
        turns: alone.len(),
        prompt_tokens,
        alone_first_token_ms: middle(&alone, |seen| seen.first_token_ms),
        together_first_token_ms: middle(&together, |seen| seen.first_token_ms),
        first_token_ratio: median(ratios.collect()),
        last_choice_token_most: tokens.iter().copied().fold(0.0, f64::max),
        last_choice_token: median(tokens),
        alone_line_ms: middle(&alone, |seen| seen.times_ms().last().unwrap_or(0.0)),
        together_line_ms: middle(&together, |seen| seen.times_ms().last().unwrap_or(0.0)),
    })
}

/// The line of a turn: the adapters that speak, of the archetype whose turn it is.
async fn line(engine: &Engine, tokens: usize, turn: usize, rng: &mut ChaCha8Rng) -> anyhow::Result<Seen> {
    let mix = Task::SPOKEN.iter().filter_map(|task| adapters::of_task(turn % ARCHETYPES.len(), *task, rng));
    let mix = mix.collect();
    ask::answer(engine, ask::prompt(engine, tokens, rng), mix, LINE, turn).await
}

/// The line and the four choices, and how many tokens of it were there when the last of them was.
async fn five(
    engine: &Engine,
    tokens: usize,
    turn: usize,
    rng: &mut ChaCha8Rng,
) -> anyhow::Result<(Seen, usize)> {
    let [a, b, c, d] = CHOICES.map(|(task, options)| Choose {
        prompt: ask::prompt(engine, tokens, rng),
        mix: adapters::of_task(turn % ARCHETYPES.len(), task, rng).into_iter().collect(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        schedule: Schedule { owner: turn as u64, ..Schedule::default() },
    });
    let start = Instant::now();
    let choose = async |choose| {
        engine.choose(choose).await?;
        anyhow::Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    // The line is submitted first, as a turn does.
    let (seen, a, b, c, d) =
        tokio::try_join!(line(engine, tokens, turn, rng), choose(a), choose(b), choose(c), choose(d))?;
    let last = [a, b, c, d].into_iter().fold(0.0, f64::max);
    let token = seen.times_ms().filter(|ms| *ms <= last).count();
    Ok((seen, token))
}

impl Turn {
    pub fn table(&self) -> String {
        let mut out = String::from(
            "| a turn's line | first token p50 ms | last token p50 ms | choices there at token p50 / most |\n\
             |---|---|---|---|\n",
        );
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| alone | {:.1} | {:.0} | |", self.alone_first_token_ms, self.alone_line_ms);
        let _ = writeln!(
            out,
            "| with four choices | {:.1}, {:.2} times as long | {:.0} | {:.0} / {:.0} |",
            self.together_first_token_ms,
            self.first_token_ratio,
            self.together_line_ms,
            self.last_choice_token,
            self.last_choice_token_most
        );
        out
    }
}

//! Requests straight to the engine, and what came of them.

use std::time::Instant;

use rand_chacha::ChaCha8Rng;

use super::figures::Seen;
use super::words;
use crate::engine::{Engine, Event, Generate, Mix, Sampling, Schedule};

/// A prompt of random words, exactly so many tokens long, that begins like no other.
pub fn prompt(engine: &Engine, tokens: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut text = words::mark(rng);
    loop {
        words::extend(&mut text, tokens.max(8), rng);
        let mut ids = engine.tokenizer().encode_text(&text);
        if ids.len() >= tokens {
            ids.truncate(tokens);
            return ids;
        }
    }
}

/// A greedy answer of exactly so many tokens.
pub async fn answer(
    engine: &Engine,
    prompt: Vec<u32>,
    mix: Mix,
    tokens: u32,
    client: usize,
) -> anyhow::Result<Seen> {
    let sampling = Sampling {
        greedy: true,
        temperature: 1.0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        seed: None,
    };
    let request = Generate {
        prompt,
        mix,
        sampling,
        stop: Vec::new(),
        max_tokens: tokens,
        ignore_end: true,
        schedule: Schedule { owner: client as u64, ..Schedule::default() },
    };
    let mut seen = Seen { adapters: request.mix.len(), ..Seen::default() };
    let mut last = Instant::now();
    let mut generation = engine.generate(request)?;
    while let Some(event) = generation.next().await {
        match event {
            Event::Started { .. } => {}
            Event::Text { text, tokens } => {
                let now = Instant::now();
                seen.piece(&text, tokens, (now - last).as_secs_f64() * 1e3);
                last = now;
            }
            Event::Finished { usage, .. } => {
                seen.tokens = usage.generated_tokens;
                seen.cached = usage.cached_tokens;
                seen.prompt = usage.prompt_tokens;
                return Ok(seen);
            }
            Event::Failed { error } => return Err(error.into()),
        }
    }
    anyhow::bail!("a generation ended without an end")
}

//! What a conversation gains from its past being kept: one of many lines, and first against second lines.

use std::fmt::Write;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::figures::Seen;
use super::stats::median;
use super::talker::{Line, Talker};
use super::{adapters, socket, words};

/// Tokens of a past that is worth keeping: the first prompts of [`Conversation::first_token_ms`] have a few more.
const PAST: u32 = 200;

/// Longest answer of a line.
const ANSWER: u32 = 48;

/// Figures of conversations whose answers end where the model ends them.
#[derive(Debug, Serialize)]
pub struct Conversation {
    /// Lines of the long one.
    pub lines: u32,
    /// Its median share of prompt tokens that were not computed again, the first line included.
    pub cached_share: f64,
    /// Its median time to the first token, and its median prompt.
    pub line_first_token_ms: f64,
    pub line_prompt_tokens: f64,
    /// Of first lines with a prompt of about 220 tokens, of which none was computed before.
    pub first_token_ms: f64,
    pub first_prompt_tokens: f64,
    /// Of the second lines, whose past is that prompt and its answer.
    pub second_first_token_ms: f64,
    pub second_cached_tokens: f64,
}

/// Measures alone on the gateway: one conversation of `lines` lines, and `repeats` of two.
pub async fn measure(url: &str, lines: u32, repeats: u32) -> anyhow::Result<Conversation> {
    eprintln!("==> a conversation of {lines} lines, and {repeats} of two");
    let long_words = socket::words_for(url, PAST + 20).await?;
    let mut rng = ChaCha8Rng::from_os_rng();
    let mut talker = Talker::open(url, "bench").await?;

    let npc = meet(&mut talker, &mut rng).await?;
    let mut said = Vec::new();
    for _ in 0..lines {
        said.push(talker.say(line(&npc, 12, &mut rng)).await?);
    }
    talker.leave(npc).await?;

    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        let npc = meet(&mut talker, &mut rng).await?;
        first.push(talker.say(line(&npc, long_words, &mut rng)).await?);
        second.push(talker.say(line(&npc, 12, &mut rng)).await?);
        talker.leave(npc).await?;
    }
    talker.close().await;
    let middle = |all: &[Seen], value: fn(&Seen) -> f64| median(all.iter().map(value).collect());
    Ok(Conversation {
        lines,
        cached_share: middle(&said, Seen::cached_share),
        line_first_token_ms: middle(&said, |seen| seen.first_token_ms),
        line_prompt_tokens: middle(&said, |seen| f64::from(seen.prompt)),
        first_token_ms: middle(&first, |seen| seen.first_token_ms),
        first_prompt_tokens: middle(&first, |seen| f64::from(seen.prompt)),
        second_first_token_ms: middle(&second, |seen| seen.first_token_ms),
        second_cached_tokens: middle(&second, |seen| f64::from(seen.cached)),
    })
}

async fn meet(talker: &mut Talker, rng: &mut ChaCha8Rng) -> anyhow::Result<String> {
    let npc = words::mark(rng);
    talker.meet(&npc, &words::mark(rng), adapters::ARCHETYPES[0]).await?;
    Ok(npc)
}

fn line(npc: &str, count: usize, rng: &mut ChaCha8Rng) -> Line {
    let mut text = "Tell me of".to_owned();
    words::extend(&mut text, count, rng);
    text.push('?');
    Line { npc: npc.to_owned(), text, tokens: ANSWER, mix: None }
}

impl Conversation {
    pub fn table(&self) -> String {
        let mut out = String::from(
            "| one conversation | prompt tokens p50 | cached p50 | first token p50 ms |\n|---|---|---|---|\n",
        );
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "| of {} lines | {:.0} | {:.0} % | {:.0} |",
            self.lines,
            self.line_prompt_tokens,
            self.cached_share * 100.0,
            self.line_first_token_ms
        );
        let _ = writeln!(
            out,
            "| first line | {:.0} | – | {:.0} |",
            self.first_prompt_tokens, self.first_token_ms
        );
        let cached = self.second_cached_tokens;
        let _ = writeln!(out, "| second line | | {cached:.0} tokens | {:.0} |", self.second_first_token_ms);
        out
    }
}

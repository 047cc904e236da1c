//! One request that has a row: what it computes next, and what its logits mean.

use std::time::Instant;

use tokio::sync::oneshot;

use super::mix::JobMix;
use super::stop::StopMatcher;
use crate::engine::logits::Rows;
use crate::engine::native::log_sum_exp;
use crate::engine::post::Events;
use crate::engine::sampler::Sampler;
use crate::engine::spans::RequestSpans;
use crate::engine::tokenizer::TextStream;
use crate::engine::worker::QueueSlot;
use crate::engine::{Choice, EngineError, Event, FinishReason, Schedule, Usage};
use crate::metrics::Kind;

/// A request as it waits in the queue.
#[derive(Debug)]
pub struct Job {
    pub prompt: Vec<u32>,
    pub mix: JobMix,
    pub submitted: Instant,
    /// The step before which it came.
    pub step: u64,
    /// Its place in the bounded queue, until it has a row.
    pub slot: Option<QueueSlot>,
    pub schedule: Schedule,
    pub work: Work,
    pub spans: RequestSpans,
}

/// What a request wants.
#[derive(Debug)]
pub enum Work {
    Generate(Box<GenerateWork>),
    Choose(ChooseWork),
    /// Nothing but the prompt's keys and values, for whoever comes with a longer one.
    Warm(Option<oneshot::Sender<Result<Usage, EngineError>>>),
}

#[derive(Debug)]
pub struct GenerateWork {
    pub sampler: Sampler,
    pub text: TextStream,
    pub stop: StopMatcher,
    pub max_tokens: u32,
    pub ignore_end: bool,
    pub events: Events,
}

#[derive(Debug)]
pub struct ChooseWork {
    /// The tokens of each option; none is empty.
    pub options: Vec<Vec<u32>>,
    pub reply: Option<oneshot::Sender<Result<Choice, EngineError>>>,
}

impl Job {
    /// The caller is gone: nobody waits for the answer.
    pub fn abandoned(&self) -> bool {
        match &self.work {
            Work::Generate(work) => work.events.is_closed(),
            Work::Choose(work) => work.reply.as_ref().is_none_or(oneshot::Sender::is_closed),
            Work::Warm(reply) => reply.as_ref().is_none_or(oneshot::Sender::is_closed),
        }
    }

    pub fn fail(&mut self, error: EngineError) {
        self.mix.end_lease();
        self.spans.failed(&error);
        match &mut self.work {
            Work::Generate(work) => work.events.send(Event::Failed { error }),
            // They fail only if the caller is gone.
            Work::Choose(work) => {
                if let Some(reply) = work.reply.take() {
                    drop(reply.send(Err(error)));
                }
            }
            Work::Warm(reply) => {
                if let Some(reply) = reply.take() {
                    drop(reply.send(Err(error)));
                }
            }
        }
    }

    /// Tokens that its sequence may come to hold.
    pub fn most_tokens(&self, context: usize) -> usize {
        let answer = match &self.work {
            Work::Generate(work) => work.max_tokens as usize,
            Work::Choose(work) => work.options.iter().map(Vec::len).max().unwrap_or(0),
            Work::Warm(_) => 0,
        };
        (self.prompt.len() + answer).min(context.max(self.prompt.len()))
    }

    /// Tokens to compute for it at most.
    pub fn tokens(&self) -> usize {
        self.prompt.len() + self.work.answer_tokens()
    }

    /// Whether it can give its row back without anybody having seen a part of its answer.
    pub fn can_start_again(&self) -> bool {
        !matches!(self.work, Work::Generate(_))
    }
}

impl Work {
    /// What it wants, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Generate(_) => "generate",
            Self::Choose(_) => "choose",
            Self::Warm(_) => "warm",
        }
    }

    /// As what it is counted.
    pub fn counted(&self) -> Kind {
        match self {
            Self::Generate(_) => Kind::Generate,
            Self::Choose(_) => Kind::Choose,
            Self::Warm(_) => Kind::Warm,
        }
    }

    /// Tokens to compute after the prompt at most.
    pub fn answer_tokens(&self) -> usize {
        match self {
            Self::Generate(work) => work.max_tokens as usize,
            Self::Choose(work) => work.options.iter().map(|option| option.len() - 1).sum(),
            Self::Warm(_) => 0,
        }
    }
}

/// What a row wants to compute.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// The prompt, of which `computed` tokens are done.
    Prompt,
    /// The token drawn last.
    Token(u32),
    /// The tokens of the options of a choice, all but each one's last, after the prompt.
    Options,
}

/// A request in its row.
#[derive(Debug)]
pub struct Row {
    pub job: Job,
    phase: Phase,
    /// Tokens of the sequence that the decoder holds.
    computed: usize,
    generated: u32,
    /// The generated tokens that the decoder holds, and the last one drawn.
    answer: Vec<u32>,
    /// Tokens since the last piece of text.
    unreported: u32,
    /// ln of each option's probability so far (the unnormalized one).
    scores: Vec<f64>,
    /// Options that are not scored yet, the next one last.
    pending: Vec<usize>,
    /// The option that the next step computes in the row's own sequence.
    own: Option<usize>,
    usage: Usage,
}

/// What became of a row after its logits came.
#[derive(Debug, PartialEq, Eq)]
pub enum After {
    Continues,
    Finished,
}

impl Row {
    /// `cached` tokens of the prompt are already there.
    pub fn new(mut job: Job, cached: usize, now: Instant) -> Self {
        job.slot = None;
        job.spans.prefill(cached);
        let usage = Usage {
            prompt_tokens: job.prompt.len() as u32,
            cached_tokens: cached as u32,
            queue_ms: millis(job.submitted, now),
            ..Usage::default()
        };
        if let Work::Generate(work) = &job.work {
            let (prompt_tokens, cached_tokens) = (usage.prompt_tokens, usage.cached_tokens);
            let started = Event::Started { prompt_tokens, cached_tokens };
            work.events.send(started);
        }
        Self {
            job,
            phase: Phase::Prompt,
            computed: cached,
            generated: 0,
            answer: Vec::new(),
            unreported: 0,
            scores: Vec::new(),
            pending: Vec::new(),
            own: None,
            usage,
        }
    }

    /// The request again, as it was before it had a row.
    pub fn into_job(mut self) -> Job {
        self.job.spans.queued();
        self.job
    }

    /// The prompt is not computed to its end.
    pub fn in_prompt(&self) -> bool {
        self.phase == Phase::Prompt
    }

    /// Tokens that may still be computed for it.
    pub fn tokens_to_come(&self) -> usize {
        let answer = self.job.work.answer_tokens().saturating_sub(self.generated as usize);
        self.prompt_to_come() + answer
    }

    /// Tokens that were computed for it.
    pub fn tokens_computed(&self) -> usize {
        self.computed.saturating_sub(self.usage.cached_tokens as usize)
    }

    /// Takes the next option that is to be scored, and how many tokens are computed for it.
    pub fn next_option(&mut self) -> Option<(usize, usize)> {
        let option = self.pending.pop()?;
        let Work::Choose(work) = &self.job.work else { return None };
        Some((option, work.options[option].len() - 1))
    }

    /// Gives back what [`Self::next_option`] took.
    pub fn put_back(&mut self, option: usize) {
        self.pending.push(option);
    }

    /// Puts the next option into the row's own sequence, where it is computed after the prompt. `false`: there is
    /// none, or one is there already.
    pub fn take_own_option(&mut self) -> bool {
        if self.phase != Phase::Options || self.own.is_some() {
            return false;
        }
        self.own = self.pending.pop();
        self.own.is_some()
    }

    /// The tokens of an option that are computed after the prompt, with their positions.
    pub fn option_tokens(&self, option: usize, mut push: impl FnMut(usize, u32, bool)) {
        let Work::Choose(work) = &self.job.work else { return };
        let tokens = &work.options[option];
        for (i, token) in tokens[..tokens.len() - 1].iter().enumerate() {
            push(self.job.prompt.len() + i, *token, true);
        }
    }

    /// A single token: decoding, which goes before any prefill.
    pub fn decodes(&self) -> bool {
        matches!(self.phase, Phase::Token(_))
    }

    /// Prompt tokens that are not computed yet.
    pub fn prompt_to_come(&self) -> usize {
        self.job.prompt.len().saturating_sub(self.computed)
    }

    /// Pages that it may still take.
    pub fn pages_to_come(&self, page: usize, context: usize) -> usize {
        self.job.most_tokens(context).div_ceil(page) - self.computed / page
    }

    /// How many of the tokens that the decoder holds for it are those of `prompt`.
    pub fn common(&self, prompt: &[u32]) -> usize {
        let own = self.job.prompt.iter().chain(&self.answer).take(self.computed);
        own.zip(prompt).take_while(|(a, b)| a == b).count()
    }

    /// How many tokens the decoder holds for it.
    pub fn held_count(&self) -> usize {
        self.computed
    }

    /// The tokens that the decoder holds for it, options of a choice left out.
    pub fn held(&self) -> Vec<u32> {
        self.job.prompt.iter().chain(&self.answer).take(self.computed).copied().collect()
    }

    /// The next tokens, at most `budget`, with their position and whether their logits are wanted.
    pub fn next_tokens(&self, budget: usize, mut push: impl FnMut(usize, u32, bool)) {
        match self.phase {
            Phase::Prompt => {
                let end = self.job.prompt.len().min(self.computed + budget);
                for position in self.computed..end {
                    let last = position + 1 == self.job.prompt.len();
                    push(
                        position,
                        self.job.prompt[position],
                        last && !matches!(self.job.work, Work::Warm(_)),
                    );
                }
            }
            Phase::Token(token) => push(self.computed, token, true),
            Phase::Options => {
                // An option is scored whole, whatever the budget: it is a few tokens.
                if let Some(option) = self.own {
                    self.option_tokens(option, push);
                }
            }
        }
    }

    /// Takes what came of the tokens of [`Self::next_tokens`]: how many they were, and the logits of those
    /// that wanted them.
    pub fn advance(
        &mut self,
        count: usize,
        logits: Rows<'_>,
        context: usize,
        is_end: &dyn Fn(u32) -> bool,
        (now, step): (Instant, u64),
    ) -> After {
        self.usage.steps = step.saturating_sub(self.job.step) as u32;
        match self.phase {
            Phase::Prompt => {
                self.computed += count;
                if self.computed < self.job.prompt.len() {
                    return After::Continues;
                }
                match &self.job.work {
                    Work::Generate(_) => self.draw(logits, context, is_end, now),
                    Work::Choose(_) => self.score_first(logits, now),
                    Work::Warm(_) => After::Finished,
                }
            }
            Phase::Token(_) => {
                self.computed += count;
                self.draw(logits, context, is_end, now)
            }
            Phase::Options => {
                if let Some(option) = self.own.take() {
                    self.score(option, logits);
                }
                After::Continues
            }
        }
    }

    /// Takes the logits of an option's tokens.
    pub fn score(&mut self, option: usize, logits: Rows<'_>) {
        if let Work::Choose(work) = &self.job.work {
            for (row, token) in logits.zip(&work.options[option][1..]) {
                self.scores[option] += f64::from(row.values[*token as usize]) - log_sum_exp(row.values);
            }
        }
    }

    /// A choice of which every option is scored.
    pub fn is_decided(&self) -> bool {
        self.phase == Phase::Options && self.pending.is_empty() && self.own.is_none()
    }

    /// Answers a choice that is decided, or a prompt that is warm.
    pub fn answer(&mut self, step: u64) {
        self.usage.steps = step.saturating_sub(self.job.step) as u32;
        self.job.mix.end_lease();
        match &mut self.job.work {
            // They fail only if the caller is gone.
            Work::Choose(work) => {
                if let Some(reply) = work.reply.take() {
                    let choice = Choice { probs: softmax(&self.scores), usage: self.usage };
                    drop(reply.send(Ok(choice)));
                }
            }
            Work::Warm(reply) => {
                if let Some(reply) = reply.take() {
                    drop(reply.send(Ok(self.usage)));
                }
            }
            Work::Generate(_) => {}
        }
    }

    /// Draws the next token and sends its text.
    fn draw(
        &mut self,
        mut logits: Rows<'_>,
        context: usize,
        is_end: &dyn Fn(u32) -> bool,
        now: Instant,
    ) -> After {
        let Work::Generate(work) = &mut self.job.work else { return After::Finished };
        // The last token of a prompt, and every token after it, wants its logits.
        let Some(row) = logits.next() else { return After::Continues };
        let token = work.sampler.sample(row);
        if self.generated == 0 {
            self.usage.first_token_ms = millis(self.job.submitted, now);
            self.usage.first_token_steps = self.usage.steps;
            self.job.spans.decode();
        }
        if is_end(token) && !work.ignore_end {
            return self.finish(FinishReason::Stop);
        }
        self.generated += 1;
        self.unreported += 1;
        self.answer.push(token);
        if let Some(text) = work.text.push(token) {
            let (text, stopped) = work.stop.push(&text);
            self.send_text(text);
            if stopped {
                // What the stream still holds comes after the stop text.
                return self.close(FinishReason::Stop);
            }
        }
        let Work::Generate(work) = &self.job.work else { return After::Finished };
        if self.generated >= work.max_tokens || self.computed + 1 >= context {
            return self.finish(FinishReason::Length);
        }
        self.phase = Phase::Token(token);
        After::Continues
    }

    fn send_text(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        if let Work::Generate(work) = &self.job.work {
            work.events.send(Event::Text { text, tokens: self.unreported });
            self.unreported = 0;
        }
    }

    /// Sends what was held back, then ends.
    fn finish(&mut self, reason: FinishReason) -> After {
        let mut reason = reason;
        if let Work::Generate(work) = &mut self.job.work {
            let rest = work.text.flush();
            let (mut text, stopped) = work.stop.push(&rest);
            if stopped {
                reason = FinishReason::Stop;
            } else {
                text += &work.stop.flush();
            }
            self.send_text(text);
        }
        self.close(reason)
    }

    fn close(&mut self, reason: FinishReason) -> After {
        self.usage.generated_tokens = self.generated;
        self.job.spans.finished(self.generated);
        // Before the caller knows: its next request may want the memory.
        self.job.mix.end_lease();
        if let Work::Generate(work) = &self.job.work {
            work.events.send(Event::Finished { reason, usage: self.usage });
        }
        After::Finished
    }

    /// The first token of every option comes from the prompt's last position.
    fn score_first(&mut self, mut logits: Rows<'_>, now: Instant) -> After {
        self.usage.first_token_ms = millis(self.job.submitted, now);
        self.usage.first_token_steps = self.usage.steps;
        self.job.spans.options();
        let Work::Choose(work) = &self.job.work else { return After::Finished };
        let Some(row) = logits.next() else { return After::Continues };
        let normalizer = log_sum_exp(row.values);
        let score = |option: &Vec<u32>| f64::from(row.values[option[0] as usize]) - normalizer;
        self.scores = work.options.iter().map(score).collect();
        self.pending = (0..work.options.len()).rev().filter(|o| work.options[*o].len() > 1).collect();
        self.phase = Phase::Options;
        After::Continues
    }
}

fn millis(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

/// Probabilities from logarithms; equal ones if none is a number.
fn softmax(scores: &[f64]) -> Vec<f32> {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !highest.is_finite() {
        return vec![1.0 / scores.len() as f32; scores.len()];
    }
    // One that is no number is as unlikely as can be: it must not make all others none.
    let weight = |score: &f64| if score.is_nan() { 0.0 } else { (score - highest).exp() };
    let weights: Vec<f64> = scores.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| (w / total) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::softmax;

    #[test]
    fn scores_that_are_no_numbers_spoil_no_others() {
        assert_eq!(softmax(&[f64::NAN, 0.0, f64::NEG_INFINITY, 0.0]), [0.0, 0.5, 0.0, 0.5]);
        assert_eq!(softmax(&[f64::NAN, f64::NEG_INFINITY]), [0.5, 0.5]);
        assert_eq!(softmax(&[-1e9]), [1.0]);
    }
}

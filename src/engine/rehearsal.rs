//! The engine without a model, on a clock that is told: the real queue, the real scheduler and the real guard against
//! overload, over a decoder that computes nothing. The planner simulates servers with it.
//!
//! Whoever drives it says what time it is: [`Rehearsal::begin`] plans a step and says what it would compute,
//! [`Rehearsal::end`] ends it at the time at which it would have ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::adapter::Adapter;
use super::decoder::{Decoder, Step, StepToken, StepWork};
use super::logits::Logits;
use super::pace::{Pace, Patience};
use super::post::Events;
use super::sampler::Sampler;
use super::scheduler::{
    Changes, ChooseWork, GenerateWork, Job, JobMix, Limits, Scheduler, StopMatcher, Work,
};
use super::spans::RequestSpans;
use super::tokenizer::TextStream;
use super::worker::Shared;
use super::{Choice, EngineError, Generation, Sampling, Schedule};

/// Tokens that there are. An answer is always the first; options are made of it too.
const VOCAB: usize = 2;

/// Tokens of a page, as in the native decoder.
const PAGE: usize = 16;

/// What bounds a rehearsed engine, as the settings of the same names do a real one.
#[derive(Debug, Clone, Copy)]
pub struct RehearsalOptions {
    pub rows: usize,
    pub kept_conversations: usize,
    /// Sequences of its decoder: rows, kept conversations, and what options of choices have beside them.
    pub sequences: usize,
    pub context: usize,
    pub prefill_budget: usize,
    pub queue: usize,
    pub overload_after: Duration,
    pub overload_wait: Duration,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Rehearsal {
    scheduler: Scheduler,
    decoder: Hollow,
    pace: Pace,
    patience: Patience,
    context: usize,
    /// Stands for every adapter.
    adapter: Arc<Adapter>,
    silence: TextStream,
    /// The step that is being computed.
    tokens: Vec<StepToken>,
    full: bool,
    began: Option<Instant>,
    /// A request has ended since somebody asked.
    ended: bool,
    logits: Logits,
}

/// An adapter's number and its weight in a mix.
pub type Rehearsed = (u64, f32);

impl Rehearsal {
    pub fn new(options: RehearsalOptions) -> Self {
        let sequences = options.sequences.max(1);
        let limits = Limits {
            rows: options.rows.min(sequences),
            kept: options.kept_conversations,
            context: options.context,
            prefill_budget: options.prefill_budget,
            vocab_size: VOCAB,
        };
        Self {
            scheduler: Scheduler::new(limits, sequences),
            decoder: Hollow { sequences, context: options.context },
            pace: Pace::new(Arc::new(Shared::default()), options.overload_after),
            patience: Patience {
                queue: options.queue,
                overload_wait_ms: options.overload_wait.as_millis() as u64,
            },
            context: options.context,
            adapter: Arc::new(Adapter::hollow()),
            silence: TextStream::silent(),
            tokens: Vec::new(),
            full: false,
            began: None,
            ended: false,
            logits: Logits::default(),
        }
    }

    /// Asks for a line of exactly so many tokens, fewer where the context ends. Nothing of its text comes, only
    /// [`Event::Started`](super::Event::Started) and its end. Ids of a prompt may be any numbers: prompts that begin
    /// alike under one mix share what is computed.
    ///
    /// # Errors
    /// As [`Engine::generate`](super::Engine::generate), of queue, deadline, and the prompt's length.
    pub fn generate(
        &mut self,
        prompt: Vec<u32>,
        mix: &[Rehearsed],
        tokens: u32,
        schedule: Schedule,
        now: Instant,
    ) -> Result<Generation, EngineError> {
        let sampling = Sampling {
            greedy: true,
            temperature: 1.0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: Some(0),
        };
        // What it sends: that it has started, and its end.
        let (sender, events) = tokio::sync::mpsc::channel(4);
        let work = GenerateWork {
            sampler: Sampler::new(sampling),
            text: self.silence.clone(),
            stop: StopMatcher::new(Vec::new()),
            max_tokens: tokens.max(1),
            ignore_end: true,
            events: Events::direct(sender),
        };
        self.submit(prompt, mix, schedule, Work::Generate(Box::new(work)), now)?;
        Ok(events.into())
    }

    /// Asks for a choice among options that have so many tokens each, all at least 1.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn choose(
        &mut self,
        prompt: Vec<u32>,
        mix: &[Rehearsed],
        options: &[usize],
        schedule: Schedule,
        now: Instant,
    ) -> Result<oneshot::Receiver<Result<Choice, EngineError>>, EngineError> {
        let (reply, answer) = oneshot::channel();
        let options = options.iter().map(|tokens| vec![0; (*tokens).max(1)]).collect();
        let work = Work::Choose(ChooseWork { options, reply: Some(reply) });
        self.submit(prompt, mix, schedule, work, now)?;
        Ok(answer)
    }

    fn submit(
        &mut self,
        prompt: Vec<u32>,
        mix: &[Rehearsed],
        schedule: Schedule,
        work: Work,
        now: Instant,
    ) -> Result<(), EngineError> {
        let limit = self.context.saturating_sub(1);
        if prompt.is_empty() || prompt.len() > limit {
            return Err(EngineError::PromptTooLong { tokens: prompt.len(), limit });
        }
        let tokens = prompt.len() + work.answer_tokens();
        let Some(slot) = self.patience.admit(&self.pace.shared, tokens, schedule, now) else {
            return Err(EngineError::Overloaded { retry_after_ms: self.pace.shared.load.drain_ms() });
        };
        let mut mix = JobMix::new(mix, None);
        // All adapters are in memory.
        let adapter = &self.adapter;
        let _ = mix.resolve(&|_| Some(Arc::clone(adapter)));
        let spans = RequestSpans::default();
        let slot = Some(slot);
        self.scheduler.submit(Job { prompt, mix, submitted: now, step: 0, slot, schedule, work, spans });
        Ok(())
    }

    /// Whether nobody waits and nothing is computed.
    pub fn is_idle(&self) -> bool {
        self.scheduler.is_idle()
    }

    /// Gives out rows and plans a step. Returns what it computes; `None`: nothing.
    pub fn begin(&mut self, now: Instant) -> Option<StepWork> {
        self.scheduler.set_retry_after(self.pace.shared.load.drain_ms());
        let changes = self.scheduler.admit(&mut self.decoder, now);
        self.ended |= changes.late > 0;
        self.pace.admitted(&self.scheduler, &changes, now);
        self.scheduler.plan(&mut self.tokens);
        if self.tokens.is_empty() {
            self.pace.idle();
            return None;
        }
        self.full = self.scheduler.is_full();
        self.began = Some(self.pace.begins(now));
        Some(Step { tokens: &self.tokens, mixes: self.scheduler.mixes() }.work())
    }

    /// Whether a request has ended since this was asked last, by its answer or by its deadline.
    pub fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    /// Ends the step that [`Self::begin`] planned.
    pub fn end(&mut self, now: Instant) {
        let Some(start) = self.began.take() else { return };
        let wanted = self.tokens.iter().filter(|token| token.wants_logits).count();
        self.logits.zeros(wanted * VOCAB);
        let changes: Changes = self.scheduler.complete(&self.tokens, &mut self.logits, &|_| false, now);
        let step = (self.tokens.len(), self.full);
        self.pace.stepped(&self.scheduler, &changes, step, (start, now));
        self.ended |= !changes.finished.is_empty();
    }
}

/// A decoder that holds nothing: sequences share what they like, and pages are never short.
#[derive(Debug)]
struct Hollow {
    sequences: usize,
    context: usize,
}

impl Decoder for Hollow {
    fn sequences(&self) -> usize {
        self.sequences
    }

    fn page_tokens(&self) -> usize {
        PAGE
    }

    fn free_pages(&self) -> usize {
        // More than all sequences can take, and far from where a sum would overflow.
        usize::MAX / 4
    }

    fn context(&self) -> usize {
        self.context
    }

    fn vocab_size(&self) -> usize {
        VOCAB
    }

    fn set_adapters(&mut self, _: &[Arc<Adapter>]) -> Result<(), EngineError> {
        Ok(())
    }

    fn release(&mut self, _: usize) {}

    fn share(&mut self, _: usize, _: usize, tokens: usize) -> usize {
        tokens
    }

    fn step(&mut self, _: Step<'_>, _: &mut Logits) -> Result<(), EngineError> {
        Ok(())
    }
}

#[cfg(test)]
mod overload;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Event;

    fn options() -> RehearsalOptions {
        RehearsalOptions {
            rows: 4,
            kept_conversations: 8,
            sequences: 16,
            context: 128,
            prefill_budget: 16,
            queue: 4,
            overload_after: Duration::from_secs(1),
            overload_wait: Duration::from_millis(100),
        }
    }

    /// Steps of 10 ms until nothing is to do; returns them.
    fn run(rehearsal: &mut Rehearsal, now: &mut Instant) -> Vec<StepWork> {
        let mut steps = Vec::new();
        while let Some(work) = rehearsal.begin(*now) {
            *now += Duration::from_millis(10);
            rehearsal.end(*now);
            steps.push(work);
        }
        steps
    }

    fn finished(mut generation: Generation) -> crate::engine::Usage {
        while let Some(event) = generation.ready() {
            if let Event::Finished { usage, .. } = event {
                return usage;
            }
        }
        panic!("no end");
    }

    #[test]
    fn a_line_takes_the_steps_of_a_line() {
        let (mut rehearsal, mut now) = (Rehearsal::new(options()), Instant::now());
        let prompt: Vec<u32> = (1_000_000..1_000_040).collect();
        let mix = [(1, 1.0), (2, 0.5), (3, 0.5)];
        let line = rehearsal.generate(prompt.clone(), &mix, 5, Schedule::default(), now).unwrap();
        let steps = run(&mut rehearsal, &mut now);
        let tokens: Vec<_> = steps.iter().map(|work| (work.tokens, work.logits)).collect();
        assert_eq!(tokens, [(16, 0), (16, 0), (8, 1), (1, 1), (1, 1), (1, 1), (1, 1)]);
        assert_eq!((steps[0].attended, steps[0].mixed), (16 * 17 / 2, 48));
        assert_eq!((steps[3].attended, steps[3].mixed), (41, 3));
        let usage = finished(line);
        assert_eq!((usage.generated_tokens, usage.cached_tokens), (5, 0));
        assert!((usage.first_token_ms - 30.0).abs() < 1e-6);
        // The next one begins like it.
        let longer = [&prompt[..], &[7; 10]].concat();
        let line = rehearsal.generate(longer, &mix, 1, Schedule::default(), now).unwrap();
        assert_eq!(run(&mut rehearsal, &mut now)[0].tokens, 10);
        assert_eq!(finished(line).cached_tokens, 40);
        assert!(rehearsal.is_idle());
    }

    #[test]
    fn a_choice_scores_all_of_its_options() {
        let (mut rehearsal, mut now) = (Rehearsal::new(options()), Instant::now());
        let schedule = Schedule { background: true, ..Schedule::default() };
        let mut choice = rehearsal.choose(vec![9; 8], &[(4, 1.0)], &[1, 3, 3], schedule, now).unwrap();
        let steps = run(&mut rehearsal, &mut now);
        assert_eq!(steps.iter().map(|work| work.tokens).sum::<usize>(), 8 + 4);
        assert_eq!(steps.iter().map(|work| work.mixed).sum::<usize>(), 8 + 4);
        assert_eq!(choice.try_recv().unwrap().unwrap().probs.len(), 3);
    }

    #[test]
    fn the_queue_has_its_bound_and_its_deadline() {
        let (mut rehearsal, now) = (Rehearsal::new(options()), Instant::now());
        let deadline = Some(now + Duration::from_secs(1));
        let schedule = Schedule { deadline, ..Schedule::default() };
        let mut lines = Vec::new();
        for first in 0..9 {
            lines.push(rehearsal.generate(vec![first; 8], &[], 50, schedule, now));
        }
        assert_eq!(lines.iter().filter(|line| line.is_ok()).count(), 4);
        assert!(matches!(lines[8], Err(EngineError::Overloaded { .. })));
        // All four have a row, so as many more may wait; at their deadline they have none.
        assert!(rehearsal.begin(now).is_some());
        let mut late = rehearsal.generate(vec![20; 8], &[], 50, schedule, now).unwrap();
        rehearsal.end(now);
        assert!(rehearsal.begin(now + Duration::from_secs(2)).is_some());
        assert!(matches!(late.ready(), Some(Event::Failed { error: EngineError::DeadlineExceeded { .. } })));
        let long = rehearsal.generate(vec![1; 128], &[], 1, Schedule::default(), now);
        assert!(matches!(long, Err(EngineError::PromptTooLong { tokens: 128, limit: 127 })));
    }
}

//! The scheduler on a decoder that counts.

mod answers;
mod choices;
mod conversations;
mod order;
mod properties;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::engine::decoder::Step;
use crate::engine::logits::Logits;
use crate::engine::post::Events;
use crate::engine::sampler::Sampler;
use crate::engine::spans::RequestSpans;
use crate::engine::{Choice, Event, FinishReason, Sampling, Schedule, TextStream, Usage};

const VOCAB: usize = 256;
const END: u32 = 0;

fn limits(rows: usize) -> Limits {
    Limits { rows, kept: 64, context: 32, prefill_budget: 4, vocab_size: VOCAB }
}

/// A decoder whose next token is the last one plus 1, and which checks that it is fed as the contract says.
struct Counter {
    sequences: Vec<Vec<u32>>,
    /// The pages of each sequence, of [`PAGE`] tokens; one number in two sequences is a shared page.
    tables: Vec<Vec<usize>>,
    pages: usize,
    next_page: usize,
    /// Tokens computed.
    computed: usize,
}

const PAGE: usize = 4;

impl Counter {
    fn new(sequences: usize) -> Self {
        Self::with_pages(sequences, sequences * 8)
    }

    fn with_pages(sequences: usize, pages: usize) -> Self {
        let (sequences, tables) = (vec![Vec::new(); sequences], vec![Vec::new(); sequences]);
        Self { sequences, tables, pages, next_page: 0, computed: 0 }
    }

    fn write(&mut self, sequence: usize, position: usize) {
        let index = position / PAGE;
        let shared = |table: &[usize], page| table.contains(&page);
        while self.tables[sequence].len() <= index {
            self.tables[sequence].push(self.next_page);
            self.next_page += 1;
        }
        let page = self.tables[sequence][index];
        if (0..self.tables.len()).any(|s| s != sequence && shared(&self.tables[s], page)) {
            self.tables[sequence][index] = self.next_page;
            self.next_page += 1;
        }
        self.free_pages();
    }
}

impl Decoder for Counter {
    fn sequences(&self) -> usize {
        self.sequences.len()
    }

    fn page_tokens(&self) -> usize {
        PAGE
    }

    fn free_pages(&self) -> usize {
        let used: std::collections::BTreeSet<_> = self.tables.iter().flatten().collect();
        self.pages.checked_sub(used.len()).expect("more pages than there are")
    }

    fn context(&self) -> usize {
        32
    }

    fn vocab_size(&self) -> usize {
        VOCAB
    }

    fn set_adapters(&mut self, _: &[Arc<Adapter>]) -> Result<(), EngineError> {
        Ok(())
    }

    fn release(&mut self, sequence: usize) {
        self.sequences[sequence].clear();
        self.tables[sequence].clear();
    }

    fn share(&mut self, from: usize, to: usize, tokens: usize) -> usize {
        if from != to {
            assert!(self.sequences[to].is_empty(), "not released before");
            self.tables[to] = self.tables[from][..tokens.div_ceil(PAGE)].to_vec();
        }
        self.sequences[to] = self.sequences[from][..tokens].to_vec();
        tokens
    }

    fn step(&mut self, step: Step<'_>, logits: &mut Logits) -> Result<(), EngineError> {
        let mut rows = Vec::new();
        for chunk in step.tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            let sequence = chunk[0].sequence;
            assert!(chunk[0].position <= self.sequences[sequence].len(), "a gap before {:?}", chunk[0]);
            self.sequences[sequence].truncate(chunk[0].position);
            for token in chunk {
                assert_eq!(token.position, self.sequences[sequence].len());
                self.write(sequence, token.position);
                self.sequences[sequence].push(token.token);
                self.computed += 1;
                if token.wants_logits {
                    let mut row = vec![0.0; VOCAB];
                    // For some, all that came before counts too, so that a wrong prefix shows.
                    let held = &self.sequences[sequence];
                    let next = if held[0] == 140 { held.iter().sum() } else { token.token + 1 };
                    row[next as usize % VOCAB] = 10.0;
                    rows.extend(row);
                }
            }
        }
        logits.zeros(rows.len()).copy_from_slice(&rows);
        Ok(())
    }
}

fn generate(prompt: &[u32], max_tokens: u32, stop: &[&str]) -> (Job, mpsc::Receiver<Event>) {
    let (events, receiver) = mpsc::channel(max_tokens as usize + 3);
    let sampling = Sampling {
        greedy: true,
        temperature: 1.0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        seed: None,
    };
    let work = GenerateWork {
        sampler: Sampler::new(sampling),
        text: TextStream::of_bytes(),
        stop: StopMatcher::new(stop.iter().map(|s| (*s).to_owned()).collect()),
        max_tokens,
        ignore_end: false,
        events: Events::direct(events),
    };
    let job = Job {
        prompt: prompt.to_vec(),
        mix: JobMix::default(),
        submitted: Instant::now(),
        step: 0,
        slot: None,
        schedule: Schedule::default(),
        work: Work::Generate(Box::new(work)),
        spans: RequestSpans::default(),
    };
    (job, receiver)
}

/// One step; returns its tokens.
fn step(scheduler: &mut Scheduler, decoder: &mut Counter) -> Vec<StepToken> {
    scheduler.admit(decoder, Instant::now());
    let mut tokens = Vec::new();
    scheduler.plan(&mut tokens);
    let mut logits = Logits::default();
    decoder.step(Step { tokens: &tokens, mixes: scheduler.mixes() }, &mut logits).unwrap();
    scheduler.complete(&tokens, &mut logits, &|id| id == END, Instant::now());
    tokens
}

fn run_all(scheduler: &mut Scheduler, decoder: &mut Counter) {
    for _ in 0..10_000 {
        if scheduler.is_idle() {
            return;
        }
        step(scheduler, decoder);
    }
    panic!("the scheduler does not come to an end");
}

/// The text, and how it ended.
fn drain(events: &mut mpsc::Receiver<Event>) -> (String, Option<FinishReason>) {
    let mut whole = String::new();
    while let Ok(event) = events.try_recv() {
        match event {
            Event::Started { .. } => assert!(whole.is_empty()),
            Event::Text { text, .. } => whole += &text,
            Event::Finished { reason, .. } => return (whole, Some(reason)),
            Event::Failed { error } => panic!("{error}"),
        }
    }
    (whole, None)
}

fn choose(prompt: &[u32], options: Vec<Vec<u32>>) -> (Job, oneshot::Receiver<Result<Choice, EngineError>>) {
    let (reply, answer) = oneshot::channel();
    let (mut job, _) = generate(prompt, 1, &[]);
    job.work = Work::Choose(ChooseWork { options, reply: Some(reply) });
    (job, answer)
}

fn warm(prompt: &str) -> (Job, oneshot::Receiver<Result<Usage, EngineError>>) {
    let (reply, answer) = oneshot::channel();
    let (mut job, _) = generate(&bytes(prompt), 1, &[]);
    job.work = Work::Warm(Some(reply));
    (job, answer)
}

/// What a request reports of its prompt: its tokens, and those that were already there.
fn started(events: &mut mpsc::Receiver<Event>) -> (u32, u32) {
    match events.try_recv() {
        Ok(Event::Started { prompt_tokens, cached_tokens }) => (prompt_tokens, cached_tokens),
        other => panic!("{other:?}"),
    }
}

fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::engine::decoder::Step;
use crate::engine::sampler::Sampler;
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

    fn step(&mut self, step: Step<'_>, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        logits.clear();
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
                    logits.extend(row);
                }
            }
        }
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
        events,
    };
    let job = Job {
        prompt: prompt.to_vec(),
        mix: JobMix::default(),
        submitted: Instant::now(),
        step: 0,
        slot: None,
        schedule: Schedule::default(),
        work: Work::Generate(Box::new(work)),
    };
    (job, receiver)
}

/// One step; returns its tokens.
fn step(scheduler: &mut Scheduler, decoder: &mut Counter) -> Vec<StepToken> {
    scheduler.admit(decoder, Instant::now());
    let mut tokens = Vec::new();
    scheduler.plan(&mut tokens);
    let mut logits = Vec::new();
    decoder.step(Step { tokens: &tokens, mixes: scheduler.mixes() }, &mut logits).unwrap();
    scheduler.complete(&tokens, &logits, &|id| id == END, Instant::now());
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

#[test]
fn ends_by_length_stop_text_end_token_and_context() {
    let cases = [
        ("a", 4, vec![], "bcde", FinishReason::Length),
        ("a", 9, vec!["de"], "bc", FinishReason::Stop),
        ("\u{7f}", 9, vec![], "", FinishReason::Length),
        ("a", 200, vec![], "bcdefghijklmnopqrstuvwxyz{|}~\u{7f}", FinishReason::Length),
    ];
    for (prompt, max_tokens, stop, text, reason) in cases {
        let prompt: Vec<u32> = prompt.bytes().map(u32::from).collect();
        let (job, mut events) = generate(&prompt, max_tokens, &stop);
        let (mut scheduler, mut decoder) = (Scheduler::new(limits(1), 1), Counter::new(1));
        scheduler.submit(job);
        run_all(&mut scheduler, &mut decoder);
        let (got, ended) = drain(&mut events);
        if !text.is_empty() {
            assert!(got.starts_with(text), "{got:?} {text:?}");
        }
        assert_eq!(ended, Some(reason));
    }
    // 255 → 0, the end token; 254 is no UTF-8 and comes out as a replacement character.
    let (job, mut events) = generate(&[253], 9, &[]);
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1), 1), Counter::new(1));
    scheduler.submit(job);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(drain(&mut events), ("\u{fffd}\u{fffd}".into(), Some(FinishReason::Stop)));
}

#[test]
fn prompts_share_a_budget_and_decoding_goes_first() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(3), 3), Counter::new(3));
    let (first, _first_events) = generate(&[b'a'.into()], 20, &[]);
    scheduler.submit(first);
    step(&mut scheduler, &mut decoder);
    let (second, _second_events) = generate(&[b'c'.into(); 6], 20, &[]);
    let (third, _third_events) = generate(&[b'e'.into(); 6], 20, &[]);
    scheduler.submit(second);
    scheduler.submit(third);
    let shape = |tokens: &[StepToken]| -> Vec<(usize, usize)> {
        tokens.iter().map(|t| (t.sequence, t.position)).collect()
    };
    let tokens = step(&mut scheduler, &mut decoder);
    assert_eq!(shape(&tokens), [(0, 1), (1, 0), (1, 1), (1, 2), (1, 3)]);
    let tokens = step(&mut scheduler, &mut decoder);
    assert_eq!(shape(&tokens), [(0, 2), (1, 4), (1, 5), (2, 0), (2, 1)]);
    // Only the last token of a prompt wants logits.
    let wanted: Vec<_> = tokens.iter().map(|t| t.wants_logits).collect();
    assert_eq!(wanted, [true, false, true, false, false]);
    let tokens = step(&mut scheduler, &mut decoder);
    assert_eq!(shape(&tokens), [(0, 3), (1, 6), (2, 2), (2, 3), (2, 4), (2, 5)]);
}

#[test]
fn a_dropped_stream_frees_its_row_at_the_next_step() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1), 1), Counter::new(1));
    let (first, events) = generate(&[b'a'.into()], 30, &[]);
    let (second, mut second_events) = generate(&[b'k'.into()], 2, &[]);
    scheduler.submit(first);
    scheduler.submit(second);
    step(&mut scheduler, &mut decoder);
    assert_eq!((scheduler.live(), scheduler.waiting()), (1, 1));
    drop(events);
    let tokens = step(&mut scheduler, &mut decoder);
    assert_eq!(tokens.len(), 1);
    assert_eq!((tokens[0].token, tokens[0].position), (u32::from(b'k'), 0));
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(drain(&mut second_events), ("lm".into(), Some(FinishReason::Length)));
}

#[test]
fn a_waiting_request_whose_caller_left_never_gets_a_row() {
    let mut scheduler = Scheduler::new(limits(1), 1);
    let (job, events) = generate(&[1], 3, &[]);
    scheduler.submit(job);
    drop(events);
    let changes = scheduler.admit(&mut Counter::new(1), Instant::now());
    assert_eq!((changes.abandoned, scheduler.live()), (1, 0));
    assert!(scheduler.is_idle());
}

#[test]
fn a_failed_step_ends_its_requests_and_frees_the_rows() {
    let mut scheduler = Scheduler::new(limits(2), 2);
    let (job, mut events) = generate(&[1, 2], 3, &[]);
    scheduler.submit(job);
    let mut decoder = Counter::new(2);
    scheduler.admit(&mut decoder, Instant::now());
    let mut tokens = Vec::new();
    scheduler.plan(&mut tokens);
    let error = EngineError::Runtime("broken".into());
    scheduler.fail(&tokens, &error, &mut decoder);
    assert!(scheduler.is_idle());
    assert!(matches!(events.try_recv(), Ok(Event::Started { .. })));
    assert_eq!(events.try_recv(), Ok(Event::Failed { error }));
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

#[test]
fn a_choice_multiplies_the_probabilities_of_an_options_tokens() {
    let (job, mut answer) = choose(&[4, 5], vec![vec![6], vec![6, 7], vec![6, 9], vec![3]]);
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1), 1), Counter::new(1));
    scheduler.submit(job);
    run_all(&mut scheduler, &mut decoder);
    let Choice { probs, .. } = answer.try_recv().unwrap().unwrap();
    // After 5 and after 6 the next token has e¹⁰ against 255 others.
    let likely = 10.0_f64.exp() / (10.0_f64.exp() + 255.0);
    let unlikely = 1.0 / (10.0_f64.exp() + 255.0);
    let raw = [likely, likely * likely, likely * unlikely, unlikely];
    let total: f64 = raw.iter().sum();
    for (p, raw) in probs.iter().zip(raw) {
        assert!((f64::from(*p) - raw / total).abs() < 1e-6, "{probs:?}");
    }
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

#[test]
fn the_next_line_of_a_conversation_computes_only_what_is_new() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(2), 4), Counter::new(4));
    let (first, mut events) = generate(&bytes("persona a"), 4, &[]);
    scheduler.submit(first);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(started(&mut events), (9, 0));
    assert_eq!(drain(&mut events).0, "bcde");
    // The last token that was drawn was never computed.
    let before = decoder.computed;
    let (second, mut events) = generate(&bytes("persona abcde. b"), 1, &[]);
    scheduler.submit(second);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(started(&mut events), (16, 12));
    assert_eq!(decoder.computed - before, 4);
    // The same prompt again: all but the token whose logits are wanted.
    let (again, mut events) = generate(&bytes("persona abcde. b"), 1, &[]);
    scheduler.submit(again);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(started(&mut events), (16, 15));
}

#[test]
fn somebody_elses_line_shares_the_beginning_and_leaves_the_conversation_as_it_is() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(2), 4), Counter::new(4));
    let (first, _events) = generate(&bytes("persona: a long line"), 1, &[]);
    scheduler.submit(first);
    run_all(&mut scheduler, &mut decoder);
    for (line, cached) in [("persona: other", 9), ("persona: a long line, and more", 20)] {
        let (job, mut events) = generate(&bytes(line), 1, &[]);
        scheduler.submit(job);
        run_all(&mut scheduler, &mut decoder);
        assert_eq!(started(&mut events).1, cached, "{line}");
    }
    // And one that still runs is shared as far as it has come.
    let (running, _running_events) = generate(&bytes("another persona"), 9, &[]);
    scheduler.submit(running);
    (0..5).for_each(|_| drop(step(&mut scheduler, &mut decoder)));
    let (job, mut events) = generate(&bytes("another persona"), 1, &[]);
    scheduler.submit(job);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(started(&mut events).1, 14);
}

#[test]
fn a_warm_prompt_is_there_when_the_line_comes() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1), 2), Counter::new(2));
    let (mut warm, mut answer) = warm("persona");
    warm.schedule.background = true;
    scheduler.submit(warm);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(answer.try_recv().unwrap().unwrap().prompt_tokens, 7);
    let (job, mut events) = generate(&bytes("persona a"), 1, &[]);
    scheduler.submit(job);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(started(&mut events), (9, 7));
}

#[test]
fn a_kept_beginning_that_takes_too_many_pages_is_let_go() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1), 1), Counter::new(1));
    for length in [8, 3] {
        let (job, mut events) = generate(&(196..196 + length).collect::<Vec<_>>(), 10, &[]);
        scheduler.submit(job);
        run_all(&mut scheduler, &mut decoder);
        assert_eq!(started(&mut events), (length, 0));
    }
}

#[test]
fn a_failed_sequence_is_not_kept() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1), 2), Counter::new(2));
    let (job, _events) = generate(&bytes("persona"), 9, &[]);
    scheduler.submit(job);
    (0..3).for_each(|_| drop(step(&mut scheduler, &mut decoder)));
    let mut tokens = Vec::new();
    scheduler.plan(&mut tokens);
    scheduler.fail(&tokens, &EngineError::Stopped, &mut decoder);
    let (job, mut events) = generate(&bytes("persona"), 1, &[]);
    scheduler.submit(job);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(started(&mut events).1, 0);
}

#[test]
fn the_player_with_fewer_rows_comes_first_and_background_last() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(2), 2), Counter::new(2));
    let mut streams = Vec::new();
    for (owner, background) in [(1, false), (9, true), (1, false), (1, false), (2, false)] {
        let (mut job, events) = generate(&[65 + owner as u32], 3, &[]);
        job.schedule = Schedule { owner, background, ..Schedule::default() };
        scheduler.submit(job);
        streams.push(events);
    }
    let has_row = |events: &mut mpsc::Receiver<Event>| matches!(events.try_recv(), Ok(Event::Started { .. }));
    step(&mut scheduler, &mut decoder);
    let live: Vec<_> = streams.iter_mut().map(has_row).collect();
    assert_eq!(live, [true, false, false, false, true]);
    (0..3).for_each(|_| drop(step(&mut scheduler, &mut decoder)));
    assert_eq!((has_row(&mut streams[1]), has_row(&mut streams[2])), (false, true));
    run_all(&mut scheduler, &mut decoder);
    assert!(has_row(&mut streams[1]));
}

#[test]
fn short_prompts_go_first_but_a_long_one_does_not_wait_for_ever() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(3), 3), Counter::new(3));
    let (long, mut long_events) = generate(&(100..128).collect::<Vec<_>>(), 1, &[]);
    scheduler.submit(long);
    let mut short_ones = Vec::new();
    for i in 0..20_u32 {
        let (job, events) = generate(&[i * 3 + 1, i * 3 + 1, i * 3 + 1, i * 3 + 1], 1, &[]);
        scheduler.submit(job);
        short_ones.push(events);
    }
    for _ in 0..12 {
        step(&mut scheduler, &mut decoder);
    }
    assert_eq!(drain(&mut long_events).1, Some(FinishReason::Length));
    run_all(&mut scheduler, &mut decoder);
}

/// Tokens that many steps computed, until the scheduler is idle.
fn run_steps(scheduler: &mut Scheduler, decoder: &mut Counter) -> Vec<usize> {
    let mut steps = Vec::new();
    while !scheduler.is_idle() {
        steps.push(step(scheduler, decoder).len());
        assert!(steps.len() < 10_000, "the scheduler does not come to an end");
    }
    steps
}

#[test]
fn the_options_of_a_choice_go_in_one_step_where_there_are_sequences() {
    let options: Vec<Vec<u32>> = (0..8_u32).map(|i| vec![50 + i, 60 + i, 70 + i]).collect();
    let probs = |sequences, kept| {
        let limits = Limits { prefill_budget: 64, kept, ..limits(1) };
        let (mut scheduler, mut decoder) = (Scheduler::new(limits, sequences), Counter::new(sequences));
        let (job, mut answer) = choose(&bytes("a prompt"), options.clone());
        scheduler.submit(job);
        let steps = run_steps(&mut scheduler, &mut decoder);
        let choice = answer.try_recv().unwrap().unwrap();
        assert_eq!(choice.usage.steps as usize, steps.len());
        (steps, choice.probs)
    };
    let (alone, expected) = probs(1, 0);
    assert_eq!(alone, [8, 2, 2, 2, 2, 2, 2, 2, 2]);
    let (some, probs_of_some) = probs(4, 0);
    assert_eq!(some, [8, 8, 8]);
    let (all, probs_of_all) = probs(9, 0);
    assert_eq!(all, [8, 16]);
    assert_eq!((&probs_of_some, &probs_of_all), (&expected, &expected));
}

#[test]
fn choices_do_not_push_conversations_out_nor_leave_sequences_behind() {
    let limits = Limits { kept: 2, ..limits(1) };
    let (mut scheduler, mut decoder) = (Scheduler::new(limits, 6), Counter::new(6));
    for line in ["first line", "second", "third one"] {
        let (job, _events) = generate(&bytes(line), 2, &[]);
        scheduler.submit(job);
        run_all(&mut scheduler, &mut decoder);
    }
    let (job, mut answer) = choose(&bytes("third one?"), (0..7).map(|i| vec![i, i, i]).collect());
    scheduler.submit(job);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(answer.try_recv().unwrap().unwrap().usage.cached_tokens, 9);
    scheduler.admit(&mut decoder, Instant::now());
    let held = decoder.sequences.iter().filter(|tokens| !tokens.is_empty()).count();
    assert_eq!(held, 2);
    let (job, mut events) = generate(&bytes("second!"), 1, &[]);
    scheduler.submit(job);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(started(&mut events).1, 6);
}

#[test]
fn five_tasks_of_a_turn_compute_what_they_share_once() {
    let limits = Limits { context: 256, prefill_budget: 48, ..limits(8) };
    let (mut scheduler, mut decoder) = (Scheduler::new(limits, 64), Counter::with_pages(64, 4096));
    let shared: Vec<u32> = (0..120).collect();
    let task = |own: u32| shared.iter().copied().chain([200 + own; 6]).collect::<Vec<u32>>();
    let (line, mut events) = generate(&task(0), 12, &[]);
    scheduler.submit(line);
    let mut choices = Vec::new();
    for own in 1..=4 {
        let (job, answer) = choose(&task(own), (0..4 + own).map(|i| vec![10 + i, 20 + i, 30 + i]).collect());
        scheduler.submit(job);
        choices.push(answer);
    }
    run_all(&mut scheduler, &mut decoder);
    let mut usage = None;
    while let Ok(event) = events.try_recv() {
        if let Event::Finished { usage: u, .. } = event {
            usage = Some(u);
        }
    }
    let line = usage.unwrap();
    // Alone: 126 tokens, 48 a step.
    assert_eq!((line.first_token_steps, line.steps), (3, 14));
    for mut answer in choices {
        let usage = answer.try_recv().unwrap().unwrap().usage;
        assert_eq!(usage.cached_tokens, 120);
        assert!(usage.steps < line.first_token_steps + 4, "{usage:?}");
    }
    // The prompt, four times what differs, the answer but for its last token, and the options.
    assert_eq!(decoder.computed, 126 + 4 * 6 + 11 + 2 * (5 + 6 + 7 + 8));
}

#[test]
fn choices_leave_a_lines_first_word_nearly_as_soon_as_alone() {
    let limits = Limits { context: 256, prefill_budget: 48, ..limits(16) };
    let (mut scheduler, mut decoder) = (Scheduler::new(limits, 64), Counter::with_pages(64, 4096));
    let mut answers = Vec::new();
    for own in 1..=4_u32 {
        let (job, answer) = choose(&[own * 40; 20], (0..5).map(|i| vec![10 + i, 20 + i]).collect());
        scheduler.submit(job);
        answers.push(answer);
    }
    let (line, _events) = generate(&[3; 12], 20, &[]);
    scheduler.submit(line);
    let steps: Vec<usize> = (0..4).map(|_| step(&mut scheduler, &mut decoder).len()).collect();
    // The line and half as much; then a token of it beside as many as the budget allows.
    assert_eq!(steps[..2], [12 + 6, 1 + 48]);
    for mut answer in answers {
        assert!(answer.try_recv().unwrap().unwrap().usage.steps <= 4);
    }
    // Lines that never end do not keep a choice waiting for ever.
    let (job, mut answer) = choose(&[200; 20], vec![vec![1], vec![2]]);
    scheduler.submit(job);
    let mut lines = Vec::new();
    for i in 0..14 {
        let (line, events) = generate(&[i + 5; 48], 1, &[]);
        scheduler.submit(line);
        lines.push(events);
        step(&mut scheduler, &mut decoder);
    }
    assert!(answer.try_recv().is_ok());
}

#[test]
fn a_request_whose_deadline_passes_in_the_queue_is_told_so() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1), 1), Counter::new(1));
    let now = Instant::now();
    let (running, mut running_events) = generate(&[1], 9, &[]);
    let (mut late, mut late_events) = generate(&[2], 1, &[]);
    let (mut in_time, mut in_time_events) = generate(&[3], 1, &[]);
    late.submitted = now;
    late.schedule.deadline = Some(now + Duration::from_millis(30));
    in_time.schedule.deadline = Some(now + Duration::from_millis(90));
    for job in [running, late, in_time] {
        scheduler.submit(job);
    }
    scheduler.set_retry_after(70);
    assert_eq!(scheduler.admit(&mut decoder, now + Duration::from_millis(29)).late, 0);
    let changes = scheduler.admit(&mut decoder, now + Duration::from_millis(31));
    assert_eq!((changes.late, scheduler.waiting()), (1, 1));
    let error = EngineError::DeadlineExceeded { waited_ms: 31, retry_after_ms: 70 };
    assert_eq!(late_events.try_recv(), Ok(Event::Failed { error }));
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(drain(&mut running_events).1, Some(FinishReason::Length));
    // A deadline is for a row, not for the answer.
    assert_eq!(drain(&mut in_time_events).1, Some(FinishReason::Length));
}

#[test]
fn of_one_players_requests_the_npc_with_fewer_rows_comes_first() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(3), 3), Counter::new(3));
    let mut streams = Vec::new();
    for npc in [7, 7, 7, 8, 9] {
        let (mut job, events) = generate(&[65], 2, &[]);
        job.schedule = Schedule { owner: 1, npc, ..Schedule::default() };
        scheduler.submit(job);
        streams.push(events);
    }
    step(&mut scheduler, &mut decoder);
    let live: Vec<_> = streams.iter_mut().map(|events| events.try_recv().is_ok()).collect();
    assert_eq!(live, [true, false, false, true, true]);
    run_all(&mut scheduler, &mut decoder);
}

#[test]
fn background_work_gives_its_row_to_a_player_and_loses_nothing() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1), 3), Counter::new(3));
    let (mut background, mut answer) = choose(&bytes("background work"), vec![vec![1, 2], vec![3, 4]]);
    background.schedule.background = true;
    scheduler.submit(background);
    (0..3).for_each(|_| drop(step(&mut scheduler, &mut decoder)));
    let (player, mut events) = generate(&bytes("hi"), 1, &[]);
    scheduler.submit(player);
    step(&mut scheduler, &mut decoder);
    assert_eq!(drain(&mut events), ("j".into(), Some(FinishReason::Length)));
    assert!(answer.try_recv().is_err());
    run_all(&mut scheduler, &mut decoder);
    let choice = answer.try_recv().unwrap().unwrap();
    assert_eq!(choice.usage.cached_tokens, 12);
    assert_eq!(choice.probs, [0.5, 0.5]);
}

#[test]
fn a_player_takes_over_the_background_work_that_is_their_own_prompt() {
    let limits = Limits { context: 256, ..limits(2) };
    let (mut scheduler, mut decoder) = (Scheduler::new(limits, 4), Counter::with_pages(4, 256));
    let prompt = "a persona that is so long that it takes a while";
    let (mut focus, mut warmed) = warm(prompt);
    focus.schedule.background = true;
    scheduler.submit(focus);
    step(&mut scheduler, &mut decoder);
    let (line, mut events) = generate(&bytes(&format!("{prompt}: hello")), 1, &[]);
    scheduler.submit(line);
    run_all(&mut scheduler, &mut decoder);
    assert!(warmed.try_recv().unwrap().is_ok());
    // It did not wait for the last few tokens.
    let (tokens, cached) = started(&mut events);
    assert_eq!((tokens, cached), (54, 32));
    assert_eq!(decoder.computed, 54 + 15);
}

#[test]
fn who_waits_for_an_adapter_is_overtaken_and_ends_when_it_does_not_come() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1), 1), Counter::new(1));
    let (mut parked, mut parked_events) = generate(&[1], 1, &[]);
    parked.mix = JobMix::new(&[(77, 1.0)], None);
    scheduler.submit(parked);
    assert!(scheduler.is_parked() && !scheduler.is_idle());
    let (other, mut other_events) = generate(&[2], 1, &[]);
    scheduler.submit(other);
    assert!(!scheduler.is_parked());
    (0..3).for_each(|_| drop(step(&mut scheduler, &mut decoder)));
    assert_eq!(drain(&mut other_events).1, Some(FinishReason::Length));
    assert!(parked_events.try_recv().is_err());
    scheduler.adapter_failed(78, &EngineError::Stopped);
    assert_eq!(scheduler.waiting(), 1);
    scheduler.adapter_failed(77, &EngineError::Stopped);
    assert_eq!(parked_events.try_recv(), Ok(Event::Failed { error: EngineError::Stopped }));
    assert!(scheduler.is_idle());
}

#[test]
fn keys_and_values_belong_to_versions_and_weights() {
    let mix = |adapters: &[(u64, f32)]| {
        let key = JobMix::new(adapters, None);
        Arc::clone(key.key())
    };
    assert_eq!(mix(&[(1, 0.5), (2, 1.0)]), mix(&[(1, 0.5), (2, 1.0)]));
    for other in [&[(1, 0.5)][..], &[(1, 0.5), (3, 1.0)], &[(1, 0.5), (2, 1.5)], &[(2, 1.0), (1, 0.5)], &[]] {
        assert_ne!(mix(&[(1, 0.5), (2, 1.0)]), mix(other));
    }
}

/// A request as callers see it: what they wait for.
enum Caller {
    Line(mpsc::Receiver<Event>),
    Choice(oneshot::Receiver<Result<Choice, EngineError>>),
    Warm(oneshot::Receiver<Result<Usage, EngineError>>),
}

proptest! {
    /// With few pages and with many, whoever waits gets its answer, and no more pages are used than there are.
    #[test]
    fn pages_suffice_for_everybody(
        requests in proptest::collection::vec((0_usize..3, 1_usize..14, 1_u32..9, 0_usize..6, any::<bool>()), 1..40),
        rows in 1_usize..5,
        kept in 0_usize..5,
        pages in 8_usize..40,
    ) {
        let sequences = rows + kept;
        let mut scheduler = Scheduler::new(limits(rows), sequences);
        let mut decoder = Counter::with_pages(sequences, pages);
        let mut streams = Vec::new();
        for (family, length, max_tokens, delay, leaves) in requests {
            for _ in 0..delay {
                step(&mut scheduler, &mut decoder);
            }
            let prompt: Vec<u32> = (0..length as u32).map(|i| 40 + family as u32 * 50 + i).collect();
            let (job, events) = generate(&prompt, max_tokens, &[]);
            scheduler.submit(job);
            if leaves {
                step(&mut scheduler, &mut decoder);
            } else {
                streams.push((prompt, max_tokens, events));
            }
        }
        run_all(&mut scheduler, &mut decoder);
        for (prompt, max_tokens, mut events) in streams {
            let mut alone = Scheduler::new(limits(1), 1);
            let (job, mut expected) = generate(&prompt, max_tokens, &[]);
            alone.submit(job);
            run_all(&mut alone, &mut Counter::new(1));
            prop_assert_eq!(drain(&mut events), drain(&mut expected));
        }
    }

    /// Lines, choices and prompts, of players and in the background, with deadlines, failed steps, adapters that do not
    /// come and callers who leave: each request that somebody waits for has exactly one end.
    #[test]
    fn no_request_is_lost(
        requests in proptest::collection::vec(
            (0_usize..3, 0_usize..3, 1_usize..14, 1_u32..6, 0_usize..5, any::<bool>(), 0_usize..8),
            1..40,
        ),
        rows in 1_usize..5,
        kept in 0_usize..4,
        pages in 8_usize..60,
        broken in proptest::collection::vec(0_usize..80, 0..3),
    ) {
        let sequences = rows + kept + 3;
        let mut scheduler = Scheduler::new(Limits { kept, ..limits(rows) }, sequences);
        let mut decoder = Counter::with_pages(sequences, pages);
        let mut now = Instant::now();
        let mut steps = 0;
        let mut take_step = |scheduler: &mut Scheduler, decoder: &mut Counter| {
            now += Duration::from_millis(10);
            steps += 1;
            scheduler.admit(decoder, now);
            let mut tokens = Vec::new();
            scheduler.plan(&mut tokens);
            if broken.contains(&steps) {
                scheduler.fail(&tokens, &EngineError::Stopped, decoder);
                return;
            }
            let mut logits = Vec::new();
            decoder.step(Step { tokens: &tokens, mixes: scheduler.mixes() }, &mut logits).unwrap();
            scheduler.complete(&tokens, &logits, &|id| id == END, now);
        };
        let mut callers = Vec::new();
        for (kind, family, length, answer, delay, background, fate) in requests {
            for _ in 0..delay {
                take_step(&mut scheduler, &mut decoder);
            }
            let prompt: Vec<u32> = (0..length as u32).map(|i| 40 + family as u32 * 50 + i).collect();
            let (mut job, caller) = match kind {
                0 => {
                    let (job, events) = generate(&prompt, answer, &[]);
                    (job, Caller::Line(events))
                }
                1 => {
                    let options = (0..=answer).map(|i| (0..=i).map(|j| 3 + i * 9 + j).collect()).collect();
                    let (job, answer) = choose(&prompt, options);
                    (job, Caller::Choice(answer))
                }
                _ => {
                    let (reply, warmed) = oneshot::channel();
                    let (mut job, _) = generate(&prompt, 1, &[]);
                    job.work = Work::Warm(Some(reply));
                    (job, Caller::Warm(warmed))
                }
            };
            job.schedule = Schedule { owner: family as u64, npc: length as u64, background, deadline: None };
            job.submitted = Instant::now();
            if fate == 0 {
                job.schedule.deadline = Some(job.submitted + Duration::from_millis(200));
            }
            if fate == 1 {
                job.mix = JobMix::new(&[(99, 1.0)], None);
            }
            scheduler.submit(job);
            // Who leaves gets nothing.
            if fate != 2 {
                callers.push(caller);
            }
        }
        for _ in 0..3000 {
            take_step(&mut scheduler, &mut decoder);
            if scheduler.is_parked() {
                break;
            }
        }
        scheduler.adapter_failed(99, &EngineError::Stopped);
        prop_assert!(scheduler.is_idle());
        for caller in callers {
            match caller {
                Caller::Line(mut events) => {
                    let mut all = Vec::new();
                    while let Ok(event) = events.try_recv() {
                        all.push(event);
                    }
                    let ends = |event: &&Event| matches!(event, Event::Finished { .. } | Event::Failed { .. });
                    prop_assert_eq!(all.iter().filter(ends).count(), 1);
                    prop_assert!(all.last().is_some_and(|event| ends(&event)));
                }
                Caller::Choice(mut answer) => {
                    let sum: Option<f32> = answer.try_recv().unwrap().ok().map(|c| c.probs.iter().sum());
                    prop_assert!(sum.is_none_or(|sum| (sum - 1.0).abs() < 1e-4));
                }
                Caller::Warm(mut warmed) => prop_assert!(warmed.try_recv().is_ok()),
            }
        }
        // Nothing is left behind but what is kept.
        scheduler.admit(&mut decoder, now);
        prop_assert!(decoder.sequences.iter().filter(|tokens| !tokens.is_empty()).count() <= kept);
    }

    /// Choices get the same probabilities with few pages and sequences as with many, alone and beside others.
    #[test]
    fn neighbours_do_not_change_a_choice(
        requests in proptest::collection::vec((0_usize..3, 1_usize..12, 1_u32..6, 0_usize..5), 1..16),
        rows in 1_usize..5,
        more in 0_usize..9,
        pages in 8_usize..40,
    ) {
        let sequences = rows + more;
        let mut scheduler = Scheduler::new(Limits { kept: more / 2, ..limits(rows) }, sequences);
        let mut decoder = Counter::with_pages(sequences, pages);
        let options = |count: u32| -> Vec<Vec<u32>> {
            (0..=count).map(|i| (0..=i % 3).map(|j| 50 + i * 3 + j * 2).collect()).collect()
        };
        let mut answers = Vec::new();
        for (family, length, count, delay) in requests {
            for _ in 0..delay {
                step(&mut scheduler, &mut decoder);
            }
            let prompt: Vec<u32> = (0..length as u32).map(|i| 40 + family as u32 * 50 + i).collect();
            let (job, answer) = choose(&prompt, options(count));
            scheduler.submit(job);
            answers.push((prompt, count, answer));
        }
        run_all(&mut scheduler, &mut decoder);
        for (prompt, count, mut answer) in answers {
            let mut alone = Scheduler::new(limits(1), 1);
            let (job, mut expected) = choose(&prompt, options(count));
            alone.submit(job);
            run_all(&mut alone, &mut Counter::new(1));
            let (got, expected) = (answer.try_recv().unwrap().unwrap(), expected.try_recv().unwrap().unwrap());
            prop_assert_eq!(got.probs, expected.probs);
        }
    }

    /// Whatever comes at once, everybody gets the answer that they would get alone.
    #[test]
    fn neighbours_do_not_change_an_answer(
        requests in proptest::collection::vec((1_u32..200, 1_usize..12, 1_u32..12, 0_usize..20), 1..24),
        rows in 1_usize..6,
    ) {
        let (mut scheduler, mut decoder) = (Scheduler::new(limits(rows), rows), Counter::new(rows));
        let mut streams = Vec::new();
        for (first, length, max_tokens, delay) in requests {
            for _ in 0..delay {
                step(&mut scheduler, &mut decoder);
            }
            let prompt: Vec<u32> = (0..length as u32).map(|i| first + i).collect();
            let (job, events) = generate(&prompt, max_tokens, &[]);
            scheduler.submit(job);
            streams.push((prompt, max_tokens, events));
        }
        run_all(&mut scheduler, &mut decoder);
        for (prompt, max_tokens, mut events) in streams {
            let mut alone = Scheduler::new(limits(1), 1);
            let (job, mut expected) = generate(&prompt, max_tokens, &[]);
            alone.submit(job);
            run_all(&mut alone, &mut Counter::new(1));
            prop_assert_eq!(drain(&mut events), drain(&mut expected));
        }
    }
}

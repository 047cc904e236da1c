use proptest::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::engine::decoder::Step;
use crate::engine::sampler::Sampler;
use crate::engine::{Choice, Event, FinishReason, Sampling, TextStream};

const VOCAB: usize = 256;
const END: u32 = 0;

fn limits(rows: usize) -> Limits {
    Limits { rows, context: 32, prefill_budget: 4, vocab_size: VOCAB }
}

/// A decoder whose next token is the last one plus 1, and which checks that it is fed as the contract says.
struct Counter {
    sequences: Vec<Vec<u32>>,
}

impl Counter {
    fn new(rows: usize) -> Self {
        Self { sequences: vec![Vec::new(); rows] }
    }

    fn step(&mut self, step: Step<'_>) -> Vec<f32> {
        let mut logits = Vec::new();
        for chunk in step.tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            let held = &mut self.sequences[chunk[0].sequence];
            assert!(chunk[0].position <= held.len(), "a gap before {:?}", chunk[0]);
            held.truncate(chunk[0].position);
            for token in chunk {
                assert_eq!(token.position, held.len());
                held.push(token.token);
                if token.wants_logits {
                    let mut row = vec![0.0; VOCAB];
                    row[(token.token as usize + 1) % VOCAB] = 10.0;
                    logits.extend(row);
                }
            }
        }
        logits
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
        events,
    };
    let job = Job {
        prompt: prompt.to_vec(),
        mix: Arc::default(),
        submitted: Instant::now(),
        slot: None,
        work: Work::Generate(Box::new(work)),
    };
    (job, receiver)
}

/// One step; returns its tokens.
fn step(scheduler: &mut Scheduler, decoder: &mut Counter) -> Vec<StepToken> {
    for sequence in scheduler.admit(Instant::now()).released {
        decoder.sequences[sequence].clear();
    }
    let mut tokens = Vec::new();
    scheduler.plan(&mut tokens);
    let logits = decoder.step(Step { tokens: &tokens, mixes: scheduler.mixes() });
    let changes = scheduler.complete(&tokens, &logits, &|id| id == END, Instant::now());
    for sequence in changes.released {
        decoder.sequences[sequence].clear();
    }
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
        let (mut scheduler, mut decoder) = (Scheduler::new(limits(1)), Counter::new(1));
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
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1)), Counter::new(1));
    scheduler.submit(job);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(drain(&mut events), ("\u{fffd}\u{fffd}".into(), Some(FinishReason::Stop)));
}

#[test]
fn prompts_share_a_budget_and_decoding_goes_first() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(3)), Counter::new(3));
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
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1)), Counter::new(1));
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
    let mut scheduler = Scheduler::new(limits(1));
    let (job, events) = generate(&[1], 3, &[]);
    scheduler.submit(job);
    drop(events);
    let changes = scheduler.admit(Instant::now());
    assert_eq!((changes.abandoned, scheduler.live()), (1, 0));
    assert!(scheduler.is_idle());
}

#[test]
fn a_failed_step_ends_its_requests_and_frees_the_rows() {
    let mut scheduler = Scheduler::new(limits(2));
    let (job, mut events) = generate(&[1, 2], 3, &[]);
    scheduler.submit(job);
    scheduler.admit(Instant::now());
    let mut tokens = Vec::new();
    scheduler.plan(&mut tokens);
    let error = EngineError::Runtime("broken".into());
    let changes = scheduler.fail(&tokens, &error, Instant::now());
    assert_eq!(changes.released, [0]);
    assert!(scheduler.is_idle());
    assert!(matches!(events.try_recv(), Ok(Event::Started { .. })));
    assert_eq!(events.try_recv(), Ok(Event::Failed { error }));
}

#[test]
fn a_choice_multiplies_the_probabilities_of_an_options_tokens() {
    let (reply, mut answer) = oneshot::channel();
    let options: Vec<Vec<u32>> = vec![vec![6], vec![6, 7], vec![6, 9], vec![3]];
    let job = Job {
        prompt: vec![4, 5],
        mix: Arc::default(),
        submitted: Instant::now(),
        slot: None,
        work: Work::Choose(ChooseWork { options, reply: Some(reply) }),
    };
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(1)), Counter::new(1));
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

proptest! {
    /// Whatever comes at once, everybody gets the answer that they would get alone.
    #[test]
    fn neighbours_do_not_change_an_answer(
        requests in proptest::collection::vec((1_u32..200, 1_usize..12, 1_u32..12, 0_usize..20), 1..24),
        rows in 1_usize..6,
    ) {
        let (mut scheduler, mut decoder) = (Scheduler::new(limits(rows)), Counter::new(rows));
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
            let mut alone = Scheduler::new(limits(1));
            let (job, mut expected) = generate(&prompt, max_tokens, &[]);
            alone.submit(job);
            run_all(&mut alone, &mut Counter::new(1));
            prop_assert_eq!(drain(&mut events), drain(&mut expected));
        }
    }
}

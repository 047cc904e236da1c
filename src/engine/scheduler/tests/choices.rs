//! Closed lists, alone and beside lines.

use super::*;

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

//! What is kept of a request, and who may go on from it.

use super::*;

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

#[test]
fn what_is_forgotten_is_computed_again() {
    let (mut scheduler, mut decoder) = (Scheduler::new(limits(2), 4), Counter::new(4));
    let (kept, _events) = generate(&bytes("persona a"), 1, &[]);
    scheduler.submit(kept);
    run_all(&mut scheduler, &mut decoder);
    // One that nobody waits for any more, and one that runs.
    let (abandoned, events) = generate(&bytes("secret b"), 9, &[]);
    let (running, mut running_events) = generate(&bytes("other c"), 3, &[]);
    scheduler.submit(abandoned);
    scheduler.submit(running);
    (0..2).for_each(|_| drop(step(&mut scheduler, &mut decoder)));
    drop(events);
    let changes = scheduler.forget_all(&mut decoder);
    assert_eq!(changes.abandoned, 1);
    run_all(&mut scheduler, &mut decoder);
    assert_eq!(drain(&mut running_events).0.len(), 3, "who waits is answered");
    for prompt in ["persona a", "secret b"] {
        let (again, mut events) = generate(&bytes(prompt), 1, &[]);
        scheduler.submit(again);
        run_all(&mut scheduler, &mut decoder);
        assert_eq!(started(&mut events).1, 0, "{prompt}");
    }
}

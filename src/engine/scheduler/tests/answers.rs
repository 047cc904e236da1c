//! One request: how it begins, and every way that it ends.

use super::*;

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

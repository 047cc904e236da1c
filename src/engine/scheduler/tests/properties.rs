//! Whatever comes in whatever order.

use proptest::prelude::*;

use super::*;

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
            let mut logits = Logits::default();
            decoder.step(Step { tokens: &tokens, mixes: scheduler.mixes() }, &mut logits).unwrap();
            scheduler.complete(&tokens, &mut logits, &|id| id == END, now);
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

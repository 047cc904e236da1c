//! Who gets a row, and whose tokens come first.

use super::*;

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

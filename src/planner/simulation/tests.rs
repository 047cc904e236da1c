use proptest::prelude::*;

use super::*;
use crate::planner::load::{ChoiceTokens, Curve, LineTokens, Load};
use crate::planner::steps::{StepPoint, StepShape};

/// About what two cores do with a model of 135 million weights.
fn steps() -> StepTimes {
    StepTimes {
        points: [(1, 0.008), (8, 0.013), (32, 0.030), (128, 0.090), (256, 0.170)]
            .map(|(tokens, seconds)| StepPoint { tokens, seconds })
            .to_vec(),
        logits_s: 2e-4,
        attended_s: 1e-7,
        read_s: 2e-8,
        mixed_s: 2e-5,
        step_overhead_s: 1e-4,
    }
}

fn server() -> Server {
    Server {
        steps: steps(),
        rows: 16,
        kept: 256,
        sequences: 16 + 256 + 64,
        context: 1024,
        prefill_budget: 128,
        queue: 64,
        turn_overhead_s: 0.002,
        admission: Admission::default(),
    }
}

fn npcs(count: u64) -> Arrivals {
    Arrivals {
        archetypes: vec![ArchetypeLoad::new("vampire", count)],
        seconds: 120.0,
        warm_up_s: 30.0,
        seed: 1,
        process: Process::Open,
    }
}

/// Lines without choices, whose prompts share nothing.
fn plain(count: u64) -> Arrivals {
    let mut arrivals = npcs(count);
    arrivals.archetypes[0].choices_per_action = 0.0;
    arrivals.archetypes[0].line.warm_share = 0.0;
    arrivals
}

fn near(value: f64, wanted: f64, share: f64) {
    assert!((value - wanted).abs() <= wanted.abs() * share, "{value} instead of {wanted}");
}

fn balanced(seen: &Simulated) {
    let Lines { came, answered, overloaded, running } = seen.all;
    assert_eq!(came, answered + overloaded + running, "{seen:?}");
}

#[test]
fn a_line_alone_takes_its_steps() {
    // So rare that no line meets another.
    let mut arrivals = plain(1);
    arrivals.archetypes[0].actions_per_npc_per_s = 0.01;
    (arrivals.seconds, arrivals.warm_up_s) = (20_000.0, 0.0);
    let seen = simulate(&server(), &arrivals).unwrap();
    // 240 tokens of prompt: a step of 128, and one of 112 with logits.
    let first = StepShape { tokens: 128, logits: 0, attended: 128 * 129 / 2, read: 128, mixed: 3 * 128 };
    let second =
        StepShape { tokens: 112, logits: 1, attended: 112 * 128 + 112 * 113 / 2, read: 240, mixed: 3 * 112 };
    let wanted = (steps().seconds(first) + steps().seconds(second) + 0.002) * 1e3;
    near(seen.first_token_ms.p50, wanted, 1e-4);
    near(seen.lines_per_s, 0.01, 0.2);
    near(seen.decode_tokens_per_s, 48.0 * seen.lines_per_s, 1e-9);
    balanced(&seen);
}

#[test]
fn at_a_low_load_the_busy_time_is_that_of_the_work() {
    let mut arrivals = plain(1);
    arrivals.archetypes[0].actions_per_npc_per_s = 0.1;
    (arrivals.seconds, arrivals.warm_up_s) = (20_000.0, 0.0);
    let seen = simulate(&server(), &arrivals).unwrap();
    let step = |tokens: usize, logits: usize, attended: usize, read: usize| {
        steps().seconds(StepShape { tokens, logits, attended, read, mixed: 3 * tokens })
    };
    let prompt = step(128, 0, 128 * 129 / 2, 128) + step(112, 1, 112 * 128 + 112 * 113 / 2, 240);
    // The first of 48 tokens comes from the prompt's last position.
    let answer: f64 = (1..48).map(|at| step(1, 1, 240 + at, 240 + at)).sum();
    near(seen.busy, seen.lines_per_s * (prompt + answer), 0.02);
    near(seen.step_tokens_per_s, seen.lines_per_s * (240.0 + 47.0), 0.02);
}

#[test]
fn tokens_are_computed_as_the_rates_say_once_conversations_are_warm() {
    let mut arrivals = npcs(20);
    (arrivals.seconds, arrivals.warm_up_s) = (600.0, 120.0);
    let server = Server { kept: 4096, sequences: 4096 + 80, ..server() };
    let seen = simulate(&server, &arrivals).unwrap();
    let load = Load { archetypes: arrivals.archetypes, curve: Curve::default() };
    let rates = load.mean();
    let lines = seen.lines_per_s / rates.lines_per_s;
    near(lines, 1.0, 0.15);
    near(seen.choices_per_s, 4.0 * seen.lines_per_s, 0.02);
    // One token of each answer is not computed.
    let computed = rates.prefill_tokens_per_s + rates.decode_tokens_per_s - rates.lines_per_s;
    near(seen.step_tokens_per_s / lines, computed, 0.04);
}

#[test]
fn more_conversations_than_are_kept_are_colder() {
    let arrivals = npcs(10);
    let few = Server { kept: 8, sequences: 88, ..server() };
    let (few, many) = (simulate(&few, &arrivals).unwrap(), simulate(&server(), &arrivals).unwrap());
    let each = |seen: &Simulated| seen.step_tokens_per_s / seen.lines_per_s;
    assert!(each(&few) > 1.5 * each(&many), "{few:?} {many:?}");
}

#[test]
fn the_same_seed_gives_the_same_and_another_one_does_not() {
    let arrivals = npcs(40);
    let first = simulate(&server(), &arrivals).unwrap();
    assert_eq!(first, simulate(&server(), &arrivals).unwrap());
    assert_ne!(first, simulate(&server(), &Arrivals { seed: 2, ..arrivals }).unwrap());
}

#[test]
fn the_first_token_comes_later_the_more_npcs_there_are() {
    let longer = |count| Arrivals { seconds: 900.0, ..npcs(count) };
    let seen: Vec<_> = [2, 8, 20].map(|count| simulate(&server(), &longer(count)).unwrap()).to_vec();
    for pair in seen.windows(2) {
        assert!(pair[1].first_token_ms.p95 > pair[0].first_token_ms.p95, "{seen:?}");
        assert!(pair[1].busy > pair[0].busy, "{seen:?}");
    }
    for seen in &seen {
        let Percentiles { p50, p95, p99 } = seen.first_token_ms;
        assert!(p50 <= p95 && p95 <= p99 && p50 > 0.0);
        balanced(seen);
    }
}

#[test]
fn too_many_lines_are_turned_away_and_the_rest_is_answered() {
    let seen = simulate(&server(), &npcs(2000)).unwrap();
    assert!(seen.overloaded > seen.lines && seen.lines > 0, "{seen:?}");
    assert!(seen.busy > 0.95 && seen.choices_missed > 0, "{seen:?}");
    // Nobody waits longer than the deadline for a row, and a prompt is computed in some steps then.
    assert!(seen.first_token_ms.p99 < 7000.0, "{seen:?}");
    balanced(&seen);
    // Without any patience nearly nothing waits.
    let admission = Admission { queue_timeout_s: 0.0, ..Admission::default() };
    let seen = simulate(&Server { admission, ..server() }, &plain(2000)).unwrap();
    assert!(seen.first_token_ms.p99 < 3000.0, "{seen:?}");
    balanced(&seen);
}

#[test]
fn a_closed_loop_has_as_many_lines_as_clients() {
    let admission = Admission { queue_timeout_s: 60.0, overload_after_s: 600.0, ..Admission::default() };
    let server = Server { admission, ..server() };
    let closed = |clients| {
        let process = Process::Closed { clients, think_s: 0.0 };
        simulate(&server, &Arrivals { process, ..plain(1) }).unwrap()
    };
    let (one, full, more) = (closed(1), closed(16), closed(48));
    assert!(one.all.running <= 1 && one.overloaded == 0);
    assert!(full.lines_per_s > 1.5 * one.lines_per_s, "{one:?} {full:?}");
    // Rows are all that there is: more clients wait longer, and are answered no faster.
    assert!(more.lines_per_s < 1.1 * full.lines_per_s, "{full:?} {more:?}");
    assert!(more.first_token_ms.p50 > full.first_token_ms.p50);
    for seen in [one, full, more] {
        balanced(&seen);
    }
}

#[test]
fn an_npc_answers_one_line_at_a_time() {
    let mut arrivals = plain(1);
    arrivals.archetypes[0].actions_per_npc_per_s = 10.0;
    let seen = simulate(&server(), &arrivals).unwrap();
    let alone =
        simulate(&server(), &Arrivals { process: Process::Closed { clients: 1, think_s: 0.0 }, ..plain(1) });
    near(seen.lines_per_s, alone.unwrap().lines_per_s, 0.02);
    // Its mailbox is full.
    assert!(seen.overloaded > 0 && seen.all.running == 16, "{seen:?}");
    balanced(&seen);
}

#[test]
fn what_does_not_fit_is_named() {
    let said = |server: &Server, arrivals: &Arrivals| simulate(server, arrivals).unwrap_err().to_string();
    let small = Server { context: 200, ..server() };
    assert_eq!(
        said(&small, &npcs(1)),
        "arrivals.archetypes[0].line.prompt + line.answer is 288, but must be at most 200 (server.context)"
    );
    assert!(said(&Server { rows: 0, ..server() }, &npcs(1)).starts_with("server.rows is 0"));
    assert!(said(&server(), &npcs(0)).contains("npcs (of all) is 0"));
    let mut silent = npcs(1);
    silent.archetypes[0].actions_per_npc_per_s = 0.0;
    assert!(said(&server(), &silent).contains("actions_per_npc_per_s is 0 of every NPC"));
    let long = Arrivals { seconds: 80_000.0, ..npcs(10_000) };
    assert!(said(&server(), &long).starts_with("arrivals.seconds is too long"));
}

#[test]
fn a_fleet_is_its_servers() {
    let arrivals = Arrivals { archetypes: Load::reference(103).archetypes, ..npcs(0) };
    let all = fleet(&server(), &arrivals, 4, 4).unwrap();
    near(all.lines_per_s, 103.0 * 0.125, 0.1);
    let some = fleet(&server(), &arrivals, 4, 2).unwrap();
    near(some.lines_per_s, all.lines_per_s, 0.15);
    let one = simulate(&server(), &Arrivals { archetypes: Load::reference(26).archetypes, ..npcs(0) });
    near(all.busy, one.unwrap().busy, 0.1);
    // More servers than NPCs.
    let empty = fleet(&server(), &npcs(2), 8, 8).unwrap();
    near(empty.lines_per_s, 0.25, 0.6);
    assert!(fleet(&server(), &arrivals, 0, 1).is_err() && fleet(&server(), &arrivals, 1, 0).is_err());
}

/// `cargo test --lib --release planner::simulation::tests::ten_thousand -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: prints how long it takes"]
fn ten_thousand_npcs_take_seconds() {
    let archetypes = Load::reference(10_000).archetypes;
    let arrivals = Arrivals { archetypes, seconds: 60.0, ..npcs(0) };
    let started = std::time::Instant::now();
    // 20 NPCs each.
    let seen = fleet(&server(), &arrivals, 500, 500).unwrap();
    println!("{:.1} s for 500 servers of 20 NPCs, 90 s each: {seen:#?}", started.elapsed().as_secs_f64());
    assert!(seen.lines > 60_000, "{seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the server and the load: no panic, and every line is somewhere.
    #[test]
    fn nothing_is_lost(
        (rows, kept, more, context, budget, queue) in (1..20_usize, 0..40_usize, 0..20_usize, 2..400_usize, 1..200_usize, 1..40_usize),
        (count, rate, lines, choices) in (0..30_u64, 0.0..2.0_f64, 0.0..3.0_f64, 0.0..6.0_f64),
        (prompt, answer, warm, options) in (1.0..300.0_f64, 1.0..60.0_f64, 0.0..=1.0_f64, 0.0..60.0_f64),
        (timeout, mailbox, closed, think, seed) in (0.0..3.0_f64, 1..20_usize, 0..20_usize, 0.0..2.0_f64, any::<u64>()),
    ) {
        let admission = Admission { queue_timeout_s: timeout, mailbox, ..Admission::default() };
        let sequences = rows + more;
        let server = Server { rows, kept, sequences, context, prefill_budget: budget, queue, admission, ..server() };
        let mut load = ArchetypeLoad::new("any", count);
        load.actions_per_npc_per_s = rate;
        (load.lines_per_action, load.choices_per_action) = (lines, choices);
        load.line = LineTokens { prompt, answer, warm_share: warm };
        load.choice = ChoiceTokens { prompt: prompt / 2.0 + 1.0, options, warm_share: warm };
        let process = if closed == 0 { Process::Open } else { Process::Closed { clients: closed, think_s: think } };
        let other = ArchetypeLoad::new("other", count / 2);
        let arrivals = Arrivals { archetypes: vec![load, other], seconds: 10.0, warm_up_s: 1.0, seed, process };
        if let Ok(seen) = simulate(&server, &arrivals) {
            balanced(&seen);
            prop_assert!((0.0..=1.0 + 1e-9).contains(&seen.busy), "{seen:?}");
        }
        let _ = fleet(&server, &arrivals, 3, 2);
    }

    #[test]
    fn odd_numbers_are_refused_not_simulated(value: f64, at in 0..4_usize) {
        let (mut server, mut arrivals) = (server(), npcs(1));
        arrivals.seconds = 1.0;
        match at {
            0 => server.turn_overhead_s = value,
            1 => server.admission.queue_timeout_s = value,
            2 => arrivals.warm_up_s = value.min(100.0),
            _ => arrivals.archetypes[0].lines_per_action = value,
        }
        let _ = simulate(&server, &arrivals);
    }
}

//! What is done about players who would wait too long.

use std::cell::Cell;

use super::{Data, on, seen};
use crate::planner::fleet::expected::seen_of;
use crate::planner::fleet::{Fleet, Inputs, Request, Server, Simulated, plan};
use crate::planner::simulation::{Arrivals, Percentiles};

/// A plan on one type whose first plans so many have 600 ms, and how many plans were looked at.
fn late(times: u32, headroom: f64) -> (Fleet, u32) {
    let (data, count) = (Data::new(), Cell::new(0));
    let see = |_: &Server, _: &Arrivals| {
        count.set(count.get() + 1);
        let p95 = if count.get() <= times { 600.0 } else { 100.0 };
        Ok(Simulated { lines: 1000, ..seen(Percentiles { p50: 10.0, p95, p99: p95 }, 5.0) })
    };
    let only = vec!["c7i.8xlarge".to_owned()];
    let request = Request { headroom, only, ..on("smollm2-135m", 1000) };
    let fleet = plan(&request, &Inputs { simulate: Some(&see), ..data.inputs() }).unwrap();
    (fleet, count.get())
}

#[test]
fn more_is_left_free_until_the_target_is_met() {
    let (fleet, plans) = late(2, 0.2);
    assert_eq!((plans, fleet.warnings().count()), (3, 0));
    assert!(
        fleet.groups[0].expected.unwrap().within_target && fleet.groups[0].peak_utilisation <= 0.6 + 1e-6
    );
    let said = fleet.notes.iter().find(|note| note.contains("instead of")).unwrap();
    assert!(said.starts_with("40 % of throughput are left free instead of 20 %"), "{said}");
    assert!(said.contains("600 ms, 100 ms over its target of 500 ms"), "{said}");
    let (fleet, plans) = late(0, 0.2);
    assert_eq!(plans, 1);
    assert!(!fleet.notes.iter().any(|note| note.contains("instead of")));
}

#[test]
fn a_target_that_is_missed_to_the_end_is_a_warning() {
    for (headroom, tries, end) in [(0.2, 6, "70 %"), (0.65, 2, "70 %"), (0.8, 1, "80 %")] {
        let (fleet, plans) = late(u32::MAX, headroom);
        assert_eq!(plans, tries);
        let warnings: Vec<&str> = fleet.warnings().collect();
        let [warning] = warnings[..] else { panic!("{warnings:?}") };
        assert!(warning.contains(&format!("with {end} of throughput left free")), "{warning}");
        assert!(
            warning.contains("c7i.8xlarge") && warning.contains("600 ms, 100 ms over its target of 500 ms")
        );
    }
}

#[test]
fn refused_lines_and_missed_choices_are_outside_the_target() {
    let fine = Simulated {
        lines: 1000,
        choices_per_s: 400.0,
        ..seen(Percentiles { p50: 1.0, p95: 100.0, p99: 200.0 }, 100.0)
    };
    let look = |seen: &Simulated| seen_of(seen, 10.0, 500.0);
    assert!(look(&fine).unwrap().within_target);
    // 41 of 4,041 and 40 of 4,040.
    assert!(!look(&Simulated { choices_missed: 41, ..fine }).unwrap().within_target);
    let some = look(&Simulated { choices_missed: 40, ..fine }).unwrap();
    assert!(some.within_target && (some.missed_choices_share - 40.0 / 4040.0).abs() < 1e-12);
    assert!(!look(&Simulated { overloaded: 11, ..fine }).unwrap().within_target);
    assert!(look(&Simulated { lines: 0, ..fine }).is_none());
    // None was answered, but some came.
    assert!(!look(&Simulated { lines: 0, overloaded: 5, ..fine }).unwrap().within_target);
}

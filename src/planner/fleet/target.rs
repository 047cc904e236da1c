//! A plan whose players would wait too long is made again with more headroom.

use std::time::{Duration, Instant};

use super::expected::REFUSED;
use super::output::{Fleet, WARNING};
use super::{Inputs, PlanError, Request, once};

/// Headroom is raised by so much, and no further than that.
const STEP: f64 = 0.1;
const MOST: f64 = 0.7;

/// For the packing of all plans together. Each takes half of what is left.
const PACKING: Duration = Duration::from_secs(15);

/// A plan within the targets, or the one with most headroom, which says by how much it misses them.
pub(super) fn within(request: &Request, inputs: &Inputs<'_>) -> Result<Fleet, PlanError> {
    let end = Instant::now() + PACKING;
    let half = || end.saturating_duration_since(Instant::now()) / 2;
    let mut fleet = once(request, inputs, half())?;
    let (first, mut headroom) = (misses(&fleet, request), request.headroom);
    let mut left = first.clone();
    while !left.is_empty() && headroom < MOST - 1e-9 {
        let more = (headroom + STEP).min(MOST);
        // Where there is no plan with more, the one that there is stays.
        let Ok(again) = once(&Request { headroom: more, ..request.clone() }, inputs, half()) else { break };
        (fleet, headroom) = (again, more);
        left = misses(&fleet, request);
    }
    if headroom > request.headroom {
        fleet.notes.push(format!(
            "{:.0} % of throughput are left free instead of {:.0} %, with which {}.",
            headroom * 100.0,
            request.headroom * 100.0,
            first.join("; ")
        ));
    }
    let at = fleet.warnings().count();
    let warnings = left
        .into_iter()
        .map(|miss| format!("{WARNING}with {:.0} % of throughput left free {miss}.", headroom * 100.0));
    fleet.notes.splice(at..at, warnings);
    Ok(fleet)
}

/// What the simulation says of types that are outside the targets.
fn misses(fleet: &Fleet, request: &Request) -> Vec<String> {
    let target_ms = request.targets.first_token_ms;
    let of = |group: &super::Group| {
        let seen = group.expected.filter(|seen| !seen.within_target)?;
        let mut what = Vec::new();
        if seen.first_token_p95_ms > target_ms {
            what.push(format!(
                "the 95th percentile of the first token is {:.0} ms, {:.0} ms over its target of {target_ms} ms",
                seen.first_token_p95_ms,
                seen.first_token_p95_ms - target_ms
            ));
        }
        let shares = [
            (seen.refused_share, "of lines are refused"),
            (seen.missed_choices_share, "of choices are missed"),
        ];
        for (share, name) in shares.into_iter().filter(|(share, _)| *share > REFUSED) {
            let (share, most) = (share * 100.0, REFUSED * 100.0);
            what.push(format!("{share:.1} % {name}, {:.1} % over the most, {most:.0} %", share - most));
        }
        Some(format!("the simulation of {} misses its target: {}", group.instance, what.join(", ")))
    };
    fleet.groups.iter().filter_map(of).collect()
}

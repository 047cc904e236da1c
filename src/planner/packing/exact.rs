//! The cheapest packing of a few things, by an integer program over sets that fit one server.
//!
//! Every set of these things that fits some type is a column, priced at the cheapest type that holds it (and once for
//! each zone, where it has things that are spread over zones). Each thing is in exactly one chosen column. The solver is
//! microlp through `good_lp`; what it answers is checked before it is used.

use std::collections::HashMap;
use std::time::Instant;

use good_lp::solvers::{ResolutionError, SolutionStatus};
use good_lp::{
    Expression, ProblemVariables, Solution, SolverModel, WithTimeLimit, constraint, microlp, variable,
};

use super::Limits;
use super::problem::{MICRO, Problem};
use super::server::{Server, Zones};

/// Sets are kept as bits.
pub(super) const MOST_ITEMS: usize = 32;
/// One group may take this part of the time that is left.
const PART_OF_TIME: f64 = 0.2;

#[derive(Debug)]
pub(super) enum Outcome {
    /// A packing under the price that was asked for: the cheapest unless cut short.
    Cheaper { servers: Vec<Server>, cut_short: bool },
    /// There is none under that price.
    NoneCheaper,
    /// More columns than `Limits::exact_patterns`.
    TooLarge,
    /// Time was up before there was an answer.
    OutOfTime,
    /// The solver gave no answer that holds.
    Failed,
}

/// A set of things on the cheapest type that holds it.
struct Column {
    server: Server,
    /// Whether `server.zone` matters.
    zoned: bool,
}

/// Packs these things (ascending) beside what `zones` counts, for at most this price (millionths of a dollar per hour).
pub(super) fn solve(
    problem: &Problem,
    things: &[usize],
    zones: &Zones,
    at_most: u64,
    limits: &Limits,
    end: Option<Instant>,
) -> Outcome {
    let Some(columns) = columns(problem, things, zones, limits.exact_patterns) else {
        return Outcome::TooLarge;
    };
    let mut variables = ProblemVariables::new();
    let chosen = variables.add_vector(variable().binary(), columns.len());
    let cost: Expression =
        chosen.iter().zip(&columns).map(|(&v, column)| v * problem.kinds[column.server.kind].usd()).sum();
    let mut model = variables.minimise(cost.clone()).using(microlp);
    // Half a millionth is less than any difference of prices.
    model.add_constraint(constraint!(cost <= (at_most as f64 + 0.5) / MICRO));
    if let Some(end) = end {
        let left = end.saturating_duration_since(Instant::now()).as_secs_f64();
        model = model.with_time_limit(left * PART_OF_TIME);
    }
    for &thing in things {
        let holding =
            columns.iter().zip(&chosen).filter(|(column, _)| column.server.things().any(|t| t == thing));
        let times: Expression = holding.map(|(_, &v)| v).sum();
        model.add_constraint(constraint!(times == 1));
    }
    for ((group, zone), members) in zone_limits(problem, &columns) {
        let replicas: Expression =
            members.into_iter().map(|(column, count)| chosen[column] * count as f64).sum();
        model.add_constraint(constraint!(replicas <= f64::from(zones.left(problem, group, zone))));
    }
    let solution = match model.solve() {
        Ok(solution) => solution,
        Err(ResolutionError::Infeasible) => return Outcome::NoneCheaper,
        // What good_lp says when time was up before anything was found.
        Err(ResolutionError::Other(_)) => return Outcome::OutOfTime,
        Err(_) => return Outcome::Failed,
    };
    let cut_short = !matches!(solution.status(), SolutionStatus::Optimal);
    let picked = columns.into_iter().zip(&chosen).filter(|&(_, &v)| solution.value(v) > 0.5);
    checked(problem, things, zones, picked.map(|(column, _)| column).collect())
        .map_or(Outcome::Failed, |servers| Outcome::Cheaper { servers, cut_short })
}

/// By group and zone: the columns in that zone with replicas of that group, and how many.
type ZoneLimits = std::collections::BTreeMap<(usize, usize), Vec<(usize, usize)>>;

fn zone_limits(problem: &Problem, columns: &[Column]) -> ZoneLimits {
    let mut limits = ZoneLimits::new();
    for (index, column) in columns.iter().enumerate().filter(|(_, column)| column.zoned) {
        let mut counts = HashMap::new();
        for thing in column.server.things().filter(|&thing| is_zoned(problem, thing)) {
            *counts.entry(problem.things[thing].group).or_insert(0) += 1;
        }
        for (group, count) in counts {
            limits.entry((group, column.server.zone)).or_default().push((index, count));
        }
    }
    limits
}

fn is_zoned(problem: &Problem, thing: usize) -> bool {
    problem.groups[problem.things[thing].group].per_zone != u32::MAX
}

/// All sets that may be of use. `None`: more than `most`.
fn columns(problem: &Problem, things: &[usize], zones: &Zones, most: usize) -> Option<Vec<Column>> {
    if things.len() > MOST_ITEMS {
        return None;
    }
    let mut kinds: Vec<usize> = (0..problem.kinds.len()).collect();
    kinds.sort_by_key(|&kind| (problem.kinds[kind].price, kind));
    // Sets of one size are made from those one smaller. A type that does not hold a set holds none that is larger, so
    // the search for a type begins at that of the smaller set.
    let mut costs: HashMap<u32, u64> = HashMap::new();
    let mut columns = Vec::new();
    let mut sets: Vec<(u32, usize)> = vec![(0, 0)];
    let mut seen = 0;
    while !sets.is_empty() {
        let mut larger = Vec::new();
        for &(set, from) in &sets {
            let next = (u32::BITS - set.leading_zeros()) as usize;
            for bit in next..things.len() {
                let set = set | 1 << bit;
                let members: Vec<usize> =
                    (0..things.len()).filter(|i| set >> i & 1 == 1).map(|i| things[i]).collect();
                let held = (from..kinds.len())
                    .find_map(|at| Some((at, Server::holding(problem, kinds[at], 0, &members)?)));
                let Some((at, server)) = held else { continue };
                // Sets that are of no use are counted too: they take time to find.
                seen += 1;
                if seen.max(columns.len()) > most {
                    return None;
                }
                let cost = server.price(problem);
                costs.insert(set, cost);
                larger.push((set, at));
                if !splits(&costs, set, cost) {
                    add_columns(problem, zones, server, &mut columns);
                }
            }
        }
        sets = larger;
    }
    Some(columns)
}

/// Whether one thing of a set on a server of its own leaves the whole no dearer: then the set is of no use.
fn splits(costs: &HashMap<u32, u64>, set: u32, cost: u64) -> bool {
    set.count_ones() > 1
        && (0..u32::BITS).filter(|i| set >> i & 1 == 1).any(|i| {
            let (one, rest) = (costs.get(&(1 << i)), costs.get(&(set & !(1 << i))));
            one.zip(rest).is_some_and(|(one, rest)| one + rest <= cost)
        })
}

fn add_columns(problem: &Problem, zones: &Zones, server: Server, columns: &mut Vec<Column>) {
    if server.things().any(|thing| is_zoned(problem, thing)) {
        let open = |&zone: &usize| server.things().all(|thing| zones.allow(problem, thing, zone));
        let open: Vec<usize> = (0..problem.zones).filter(open).collect();
        columns.extend(
            open.into_iter().map(|zone| Column { server: Server { zone, ..server.clone() }, zoned: true }),
        );
    } else {
        columns.push(Column { server, zoned: false });
    }
}

/// The servers of the chosen columns, if each thing is there once and no zone has too many replicas. Those that may be
/// anywhere go where the fewest servers are.
fn checked(
    problem: &Problem,
    things: &[usize],
    zones: &Zones,
    mut columns: Vec<Column>,
) -> Option<Vec<Server>> {
    let mut held: Vec<usize> = columns.iter().flat_map(|column| column.server.things()).collect();
    held.sort_unstable();
    if held != things {
        return None;
    }
    columns.sort_by_key(|column| !column.zoned);
    let (mut zones, mut servers) = (zones.clone(), Vec::with_capacity(columns.len()));
    for mut column in columns {
        if !column.zoned {
            column.server.zone = zones.by_servers().first().copied()?;
        }
        let zone = column.server.zone;
        if !column.server.things().all(|thing| zones.allow(problem, thing, zone)) {
            return None;
        }
        zones.add(problem, &column.server);
        servers.push(column.server);
    }
    Some(servers)
}

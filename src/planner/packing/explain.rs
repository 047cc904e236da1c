//! Why a server is in the plan and which limit binds, in words.

use super::error::Dimension;
use super::plan::binding;
use super::problem::{Kind, MICRO, Problem, ratio, shortfall};
use super::server::Server;
use super::{BinType, Item};

/// Names of chains that are listed before the rest is only counted.
const LISTED: usize = 8;

/// Three or four sentences: what it holds and why together, which limit binds, why not a cheaper type.
pub(super) fn why(problem: &Problem, server: &Server, items: &[Item], types: &[BinType]) -> String {
    let things = sorted(server);
    let kind = &problem.kinds[server.kind];
    let name = &types[kind.given].name;
    let mut text = format!("Holds {}.", holds(problem, &things, items));
    if things.len() > 1 {
        text += &together(problem, &things, kind);
    }
    text += &limits(problem, server);
    text += &cheaper(problem, server, &things, types).unwrap_or_else(|| {
        format!(
            " No type that holds these chains within the targets is cheaper than {name} at ${:.3} an hour.",
            kind.usd()
        )
    });
    text
}

fn sorted(server: &Server) -> Vec<usize> {
    let mut things: Vec<usize> = server.things().collect();
    things.sort_unstable();
    things
}

fn holds(problem: &Problem, things: &[usize], items: &[Item]) -> String {
    let name = |&thing: &usize| {
        let (item, group) = (&items[thing], &problem.groups[problem.things[thing].group]);
        match group.replicas {
            1 => item.chain.clone(),
            replicas => format!("{} (replica {} of {replicas})", item.chain, item.replica + 1),
        }
    };
    let mut names: Vec<String> = things.iter().take(LISTED).map(name).collect();
    if things.len() > LISTED {
        names.push(format!("{} more", things.len() - LISTED));
    }
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// What sharing saves.
fn together(problem: &Problem, things: &[usize], kind: &Kind) -> String {
    let cheapest = |&thing: &usize| {
        let holds = |&at: &usize| Server::holding(problem, at, 0, &[thing]).is_some();
        (0..problem.kinds.len()).filter(holds).map(|at| problem.kinds[at].price).min().unwrap_or(0)
    };
    let apart: u64 = things.iter().map(cheapest).sum();
    if apart <= kind.price {
        return String::new();
    }
    format!(
        " Each on a server of its own would cost ${:.3} an hour, this ${:.3}.",
        apart as f64 / MICRO,
        kind.usd()
    )
}

/// Which limit binds, and how the others stand.
fn limits(problem: &Problem, server: &Server) -> String {
    let kind = &problem.kinds[server.kind];
    let fullest = |of: fn(&super::server::Slot) -> u64| server.slots.iter().map(of).max().unwrap_or(0);
    let used = [
        (Dimension::GpuMemory, fullest(|slot| slot.gpu), kind.gpu, 1.0),
        (Dimension::Ram, server.ram, kind.ram, 1.0),
        (Dimension::Work, fullest(|slot| slot.work), kind.work, MICRO),
    ];
    let binding = binding(problem, server);
    let on = if kind.places > 1 { " on the fullest GPU" } else { "" };
    let (mut first, mut rest) = (String::new(), Vec::new());
    for (dimension, takes, limit, unit) in used {
        let share = 100.0 * ratio(takes, limit);
        if dimension == binding.dimension {
            let amount = |value: u64| dimension.amount(value as f64 / unit);
            let on = if dimension == Dimension::Ram { "" } else { on };
            first = format!(" {dimension} binds: {} of {}{on} ({share:.0} %)", amount(takes), amount(limit));
        } else if dimension != Dimension::GpuMemory || kind.gpu > 0 {
            rest.push(format!("{dimension} {share:.0} %"));
        }
    }
    format!("{first}; {}.", rest.join(", "))
}

/// Why the dearest of the cheaper types will not do. `None`: none is cheaper.
fn cheaper(problem: &Problem, server: &Server, things: &[usize], types: &[BinType]) -> Option<String> {
    let this = &problem.kinds[server.kind];
    let kind = problem.kinds.iter().filter(|kind| kind.price < this.price).max_by_key(|kind| kind.price)?;
    let other = &types[kind.given].name;
    let intro = format!(" The next cheaper type, {other} at ${:.3} an hour, will not do: ", kind.usd());
    if things.iter().any(|&thing| problem.alone(&problem.things[thing], kind).is_none()) {
        return Some(intro + "it has no GPU.");
    }
    // What all things need at least there, over all places: bases once.
    let (mut sums, mut bases) = ([0; 3], Vec::new());
    for thing in things.iter().map(|&thing| &problem.things[thing]) {
        let need = thing.needs[kind.host].unwrap_or_default();
        sums = [sums[0] + need.gpu, sums[1] + need.ram, sums[2] + thing.work];
        if let Some(base) = thing.base.filter(|base| !bases.contains(base)) {
            bases.push(base);
            let need = problem.bases[base][kind.host].unwrap_or_default();
            sums = [sums[0] + need.gpu, sums[1] + need.ram, sums[2]];
        }
    }
    let places = kind.places as u64;
    let limits = [kind.gpu * places, kind.ram, kind.work * places];
    let furthest = (0..3).max_by(|&a, &b| ratio(sums[a], limits[a]).total_cmp(&ratio(sums[b], limits[b])))?;
    Some(if ratio(sums[furthest], limits[furthest]) > 1.0 {
        format!("{intro}{}.", shortfall(other, furthest, sums[furthest], limits[furthest]))
    } else {
        format!(
            "{intro}its {places} GPUs have room together, but no way to divide the chains among them was found."
        )
    })
}

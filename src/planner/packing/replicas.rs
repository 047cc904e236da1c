//! Splits loads that no server can take alone, and plans for chains.

use super::problem::{Kind, Problem, micro_work, ratio};
use super::{BinType, Chain, Item, PackError, Plan, Settings, pack};

/// Replicas of one chain and of all, at most.
const MOST_REPLICAS: u64 = 10_000;
const MOST_IN_ALL: u64 = 20_000;

/// How the number of replicas is chosen among those that some type of server asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The least price for the parts of servers that they take: right when others fill the rest.
    Shares,
    /// The least price for a server each: right when nothing else is there.
    Servers,
    /// As few as can be: least memory.
    Fewest,
}

/// Replicas for each chain, whole in memory, each with the same part of the load.
///
/// A type of server asks for as many as it takes to bring the load under its limit, and at least `min_replicas`. Of these
/// numbers the one is taken that costs least, by the shares of servers that the replicas take. `plan_chains` tries others.
///
/// # Errors
/// As `pack`; also a load that takes more than 10,000 replicas, and chains that take more than 20,000 together.
pub fn split(chains: &[Chain], types: &[BinType], settings: &Settings) -> Result<Vec<Item>, PackError> {
    split_by(Choice::Shares, chains, types, settings)
}

/// Splits and packs: the cheapest of a few ways to choose the replicas.
///
/// # Errors
/// As `split`.
pub fn plan_chains(
    chains: &[Chain],
    types: &[BinType],
    settings: &Settings,
) -> Result<(Vec<Item>, Plan), PackError> {
    let items = split(chains, types, settings)?;
    let plan = pack(&items, types, settings)?;
    let mut tried = vec![items];
    let mut best = (0, plan);
    for choice in [Choice::Servers, Choice::Fewest] {
        // The same chains with other numbers of replicas: those may be too many.
        let Ok(items) = split_by(choice, chains, types, settings) else { continue };
        if tried.contains(&items) {
            continue;
        }
        let plan = pack(&items, types, settings)?;
        tried.push(items);
        if plan.usd_per_hour < best.1.usd_per_hour {
            best = (tried.len() - 1, plan);
        }
    }
    Ok((tried.swap_remove(best.0), best.1))
}

fn split_by(
    choice: Choice,
    chains: &[Chain],
    types: &[BinType],
    settings: &Settings,
) -> Result<Vec<Item>, PackError> {
    let mut counts = Vec::with_capacity(chains.len());
    for (index, chain) in chains.iter().enumerate() {
        if chains[..index].iter().any(|other| other.name == chain.name) {
            return Err(PackError::Twice { kind: "chain", name: chain.name.clone() });
        }
        counts.push(replicas(choice, chain, types, settings)?);
    }
    let all = counts.iter().sum();
    if all > MOST_IN_ALL {
        return Err(PackError::TooManyInAll { replicas: all, limit: MOST_IN_ALL });
    }
    let of = |(chain, &replicas)| (0..replicas).map(move |replica| item(chain, replica as u32, replicas));
    Ok(chains.iter().zip(&counts).flat_map(of).collect())
}

fn item(chain: &Chain, replica: u32, replicas: u64) -> Item {
    Item {
        chain: chain.name.clone(),
        replica,
        base: chain.base.clone(),
        memory: chain.memory,
        work_per_s: chain.work_per_s / replicas as f64,
        spread: chain.spread,
    }
}

fn replicas(choice: Choice, chain: &Chain, types: &[BinType], settings: &Settings) -> Result<u64, PackError> {
    // Without its load it must fit somewhere, and its load must be a number: the check says why not.
    let whole = item(chain, 0, 1);
    Problem::new(&[Item { work_per_s: chain.work_per_s.min(0.0), ..whole.clone() }], types, settings)?;
    let weightless = Item { work_per_s: 0.0, ..whole.clone() };
    let problem = Problem::new(&[weightless], types, settings)?;
    let least = u64::from(chain.min_replicas.max(1));
    let mut best: Option<(f64, u64)> = None;
    for kind in &problem.kinds {
        let Some(takes) = problem.alone(&problem.things[0], kind) else { continue };
        if takes[0] > kind.gpu || takes[1] > kind.ram {
            continue;
        }
        let Some(replicas) = needed(chain.work_per_s, kind, least) else { continue };
        let work = micro_work(chain.work_per_s / replicas as f64);
        let price = match choice {
            Choice::Shares => kind.usd() * share([takes[0], takes[1], work], kind),
            Choice::Servers => kind.usd(),
            Choice::Fewest => 1.0,
        };
        let found = (price * replicas as f64, replicas);
        if best.is_none_or(|best| found.0.total_cmp(&best.0).then(found.1.cmp(&best.1)).is_lt()) {
            best = Some(found);
        }
    }
    match best {
        Some((_, replicas)) if replicas <= MOST_REPLICAS => Ok(replicas),
        Some((_, replicas)) => Err(PackError::TooManyReplicas {
            chain: chain.name.clone(),
            work_per_s: chain.work_per_s,
            replicas,
            limit: MOST_REPLICAS,
        }),
        // It fits in memory, and only where no work can be done.
        None => Problem::new(&[whole], types, settings).map(|_| least),
    }
}

/// How many replicas bring a load under the limit of this type's places. `None`: no number does.
fn needed(work_per_s: f64, kind: &Kind, least: u64) -> Option<u64> {
    let work = micro_work(work_per_s);
    if work == 0 {
        return Some(least);
    }
    let replicas = work.div_ceil(Some(kind.work).filter(|&limit| limit > 0)?).max(least);
    // Rounding may leave each a little over.
    (replicas..=replicas + 1).find(|&replicas| micro_work(work_per_s / replicas as f64) <= kind.work)
}

/// The largest share of a server.
fn share(takes: [u64; 3], kind: &Kind) -> f64 {
    let (limits, places) = (kind.limits(), kind.places as f64);
    [(0, places), (1, 1.0), (2, places)]
        .into_iter()
        .map(|(d, places)| ratio(takes[d], limits[d]) / places)
        .fold(0.0, f64::max)
}

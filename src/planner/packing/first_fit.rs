//! First-fit decreasing in several dimensions over several types of server.
//!
//! Things are sorted by size. While some are left, the largest opens a server: every type that takes it is filled, first
//! fit in this order, with what is left, and the type with the lowest price for what it then holds is opened. (With one
//! type this is plain first-fit decreasing, one bin after another.) The size of a thing is what it costs at least: the
//! least over all types of price times the largest share of a server that it takes.

use super::problem::Problem;
use super::server::{Server, Zones};

/// More things than this try only the emptiest zone that takes the largest of them.
const TRY_ALL_ZONES: usize = 48;

/// All things, the largest first.
pub(super) fn decreasing(problem: &Problem) -> Vec<usize> {
    let mut order: Vec<usize> = (0..problem.things.len()).collect();
    order.sort_by(|&a, &b| problem.things[b].value.total_cmp(&problem.things[a].value).then(a.cmp(&b)));
    order
}

/// Servers for these things, in this order. `zones` says what there is beside them, and gets the new servers too.
pub(super) fn fill(problem: &Problem, order: &[usize], zones: &mut Zones) -> Vec<Server> {
    let (mut left, mut servers) = (order.to_vec(), Vec::new());
    while let Some(server) = open(problem, &left, zones) {
        let mut held: Vec<usize> = server.things().collect();
        held.sort_unstable();
        left.retain(|thing| held.binary_search(thing).is_err());
        zones.add(problem, &server);
        servers.push(server);
    }
    servers
}

/// The server to open for the first of these things, filled with what else it takes of them.
fn open(problem: &Problem, left: &[usize], zones: &Zones) -> Option<Server> {
    let &first = left.first()?;
    let mut places = zones.by_servers();
    places.retain(|&zone| zones.allow(problem, first, zone));
    if !problem.zoned || left.len() > TRY_ALL_ZONES {
        places.truncate(1);
    }
    let least = least_needs(problem, left);
    let mut best: Option<(f64, Server)> = None;
    for zone in places {
        for kind in 0..problem.kinds.len() {
            let mut server = Server::new(problem, kind, zone);
            if !server.add(problem, first) {
                continue;
            }
            for &thing in &left[1..] {
                if zones.allow(problem, thing, zone)
                    && server.add(problem, thing)
                    && is_full(problem, &server, least)
                {
                    break;
                }
            }
            let cost = 1.0 / server.use_of_price(problem);
            let better = best.as_ref().is_none_or(|(least, other)| {
                cost.total_cmp(least).then(server.price(problem).cmp(&other.price(problem))).is_lt()
            });
            if better {
                best = Some((cost, server));
            }
        }
    }
    best.map(|(_, server)| server)
}

/// The least of GPU memory, RAM on either host and work that any of these things takes.
fn least_needs(problem: &Problem, things: &[usize]) -> [(u64, u64, u64); 2] {
    [0, 1].map(|host| {
        let mut least = (u64::MAX, u64::MAX, u64::MAX);
        for thing in things.iter().map(|&thing| &problem.things[thing]) {
            if let Some(need) = thing.needs[host] {
                least = (least.0.min(need.gpu), least.1.min(need.ram), least.2.min(thing.work));
            }
        }
        least
    })
}

/// Whether no place of a server takes even the least of everything.
fn is_full(problem: &Problem, server: &Server, least: [(u64, u64, u64); 2]) -> bool {
    let kind = &problem.kinds[server.kind];
    let (gpu, ram, work) = least[kind.host];
    kind.ram - server.ram < ram
        || server.slots.iter().all(|slot| kind.gpu - slot.gpu < gpu || kind.work - slot.work < work)
}

#[cfg(test)]
mod tests {
    use super::super::tests::cases::{a_chain, a_type, item};
    use super::super::{Settings, pack};
    use super::*;

    #[test]
    fn one_type_is_plain_first_fit_decreasing() {
        let items: Vec<_> =
            [5, 7, 5, 2, 4, 2, 5, 1, 6].iter().enumerate().map(|(i, &gb)| item(i, gb, 0.0)).collect();
        let types = [a_type("only", 10, 100.0, 1.0)];
        let problem = Problem::new(&items, &types, &Settings::default()).unwrap();
        let servers = fill(&problem, &decreasing(&problem), &mut Zones::new(&problem));
        let held: Vec<Vec<usize>> = servers.iter().map(|server| server.things().collect()).collect();
        assert_eq!(held, [vec![1, 3, 7], vec![8, 4], vec![0, 2], vec![6, 5]]);
    }

    #[test]
    fn it_opens_the_type_that_is_cheapest_for_what_it_then_holds() {
        let types = [a_type("small", 4, 100.0, 1.0), a_type("large", 16, 100.0, 3.0)];
        let four: Vec<_> = (0..4).map(|i| item(i, 4, 0.0)).collect();
        let plan = pack(&four, &types, &Settings::default()).unwrap();
        assert_eq!((plan.bins.len(), plan.bins[0].bin_type.as_str()), (1, "large"));
        let plan = pack(&four[..1], &types, &Settings::default()).unwrap();
        assert_eq!((plan.bins.len(), plan.bins[0].bin_type.as_str()), (1, "small"));
    }

    #[test]
    fn chains_with_one_base_share_it_on_a_gpu() {
        let mut items: Vec<_> = (0..5).map(|i| item(i, 1, 0.0)).collect();
        let types = [a_type("only", 10, 100.0, 1.0)];
        for item in &mut items {
            item.base = a_chain("any", 0, 0.0).base;
        }
        assert_eq!(pack(&items, &types, &Settings::default()).unwrap().bins.len(), 1, "5 + 5·1 GB");
        for (i, item) in items.iter_mut().enumerate() {
            item.base.as_mut().unwrap().name = i.to_string();
        }
        assert_eq!(pack(&items, &types, &Settings::default()).unwrap().bins.len(), 5, "5·(5 + 1) GB");
    }
}

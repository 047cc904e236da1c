//! Makes a plan cheaper, never dearer: types that are cheaper for the same things, servers that others can take over,
//! groups of servers packed anew, and small groups packed by the solver.
//!
//! Choices at random come from a generator with a fixed seed.

use std::collections::HashSet;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Limits;
use super::exact::{self, Outcome};
use super::first_fit::fill;
use super::problem::{MICRO, Problem};
use super::server::{Server, Zones, price};

/// Servers that one repacking takes apart, at most.
const REPACKED: usize = 5;
/// Repacking ends after so many tries in a row, and one for each server, that made nothing cheaper.
const IN_VAIN: usize = 150;

/// A plan while it is being improved.
#[derive(Debug)]
struct Search<'a> {
    problem: &'a Problem,
    limits: &'a Limits,
    end: Option<Instant>,
    servers: Vec<Server>,
    zones: Zones,
    chance: ChaCha8Rng,
    /// Whether time ran out before the search was over.
    cut_short: bool,
}

/// The plan made cheaper, and whether time ran out.
pub(super) fn improve(problem: &Problem, servers: Vec<Server>, limits: &Limits) -> (Vec<Server>, bool) {
    let mut search = Search {
        problem,
        limits,
        end: Instant::now().checked_add(limits.time),
        zones: Zones::of(problem, &servers),
        servers,
        chance: ChaCha8Rng::seed_from_u64(0),
        cut_short: false,
    };
    search.cheaper_types();
    search.empty();
    // What the solver takes whole needs no other step.
    if problem.things.len() > limits.exact_items || !search.solve(1) {
        search.repack();
        search.solve(limits.exact_groups);
        search.cheaper_types();
    }
    (search.servers, search.cut_short)
}

impl Search<'_> {
    fn out_of_time(&mut self) -> bool {
        self.cut_short |= self.end.is_some_and(|end| Instant::now() >= end);
        self.cut_short
    }

    /// Each server becomes the cheapest type that holds what it has.
    fn cheaper_types(&mut self) {
        for server in &mut self.servers {
            downsize(self.problem, server);
        }
    }

    /// Servers that are used worst first: if the others have room for all that one has, it goes.
    fn empty(&mut self) {
        let mut order = self.by_use();
        while let Some(index) = (!order.is_empty()).then(|| order.remove(0)) {
            if self.out_of_time() {
                return;
            }
            if self.hand_over(index) {
                self.servers.remove(index);
                for other in &mut order {
                    *other -= usize::from(*other > index);
                }
            }
        }
    }

    /// Moves all that a server has to the others, the best used first. False: they have no room, and nothing has changed.
    fn hand_over(&mut self, index: usize) -> bool {
        let mut zones = self.zones.clone();
        zones.remove(self.problem, &self.servers[index]);
        let mut changed: Vec<(usize, Server)> = Vec::new();
        let hosts: Vec<usize> = self.by_use().into_iter().rev().filter(|&host| host != index).collect();
        for thing in self.servers[index].things() {
            let taken = hosts.iter().any(|&host| {
                if !zones.allow(self.problem, thing, self.servers[host].zone) {
                    return false;
                }
                if let Some((_, server)) = changed.iter_mut().find(|(at, _)| *at == host) {
                    return server.add(self.problem, thing);
                }
                let taken = self.servers[host].takes(self.problem, thing);
                if taken {
                    let mut server = self.servers[host].clone();
                    server.add(self.problem, thing);
                    changed.push((host, server));
                }
                taken
            });
            if !taken {
                return false;
            }
        }
        // One server has at most one replica of a group that is spread over zones, so that none of its moves changes what
        // a zone allows to the next.
        for (host, server) in changed {
            zones.remove(self.problem, &self.servers[host]);
            zones.add(self.problem, &server);
            self.servers[host] = server;
        }
        self.zones = zones;
        true
    }

    /// A few servers at a time are taken apart and packed anew, the largest things first but for a little chance.
    fn repack(&mut self) {
        let mut in_vain = 0;
        for _ in 0..self.limits.repacks {
            if self.servers.is_empty() || in_vain > IN_VAIN + self.servers.len() || self.out_of_time() {
                return;
            }
            in_vain += 1;
            let count = self.chance.random_range(1..=REPACKED.min(self.servers.len()));
            let chosen = self.choose(count);
            let (zones, mut things) = self.without(&chosen);
            let blur: f64 = self.chance.random_range(0.0..0.8);
            things.sort_unstable();
            let mut sized: Vec<(f64, usize)> = Vec::with_capacity(things.len());
            for thing in things {
                let size = self.problem.things[thing].value * (1.0 + self.chance.random_range(-blur..=blur));
                sized.push((size, thing));
            }
            sized.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let order: Vec<usize> = sized.into_iter().map(|(_, thing)| thing).collect();
            let mut servers = fill(self.problem, &order, &mut zones.clone());
            for server in &mut servers {
                downsize(self.problem, server);
            }
            // As cheap is taken too: it may lead on to something cheaper.
            if self.replace(&chosen, servers, true) {
                in_vain = 0;
            }
        }
    }

    /// Small groups of servers are packed by the solver: first everything, or as much as it can take of the worst used.
    /// Returns whether the whole is as cheap as can be.
    fn solve(&mut self, groups: usize) -> bool {
        let mut done = HashSet::new();
        for group in 0..groups.min(self.limits.exact_groups) {
            let order = if group == 0 { self.by_use() } else { self.choose(self.servers.len()) };
            let (mut chosen, mut count) = (Vec::new(), 0);
            for server in order {
                let more = self.servers[server].things().count();
                if count + more <= self.limits.exact_items.min(exact::MOST_ITEMS) {
                    count += more;
                    chosen.push(server);
                }
            }
            let (zones, mut things) = self.without(&chosen);
            things.sort_unstable();
            if things.is_empty() || !done.insert(things.clone()) {
                continue;
            }
            if self.out_of_time() {
                return false;
            }
            let whole = chosen.len() == self.servers.len();
            let old: u64 = chosen.iter().map(|&server| self.servers[server].price(self.problem)).sum();
            // To be worth it, a packing must be cheaper by what prices can differ by.
            let at_most = old.saturating_sub(self.problem.price_step());
            let cheapest = self.problem.least_cost(&things) * MICRO > at_most as f64 + 0.5;
            let best = cheapest
                || match exact::solve(self.problem, &things, &zones, at_most, self.limits, self.end) {
                    Outcome::Cheaper { servers, cut_short } => {
                        self.cut_short |= cut_short;
                        self.replace(&chosen, servers, false);
                        !cut_short
                    }
                    Outcome::NoneCheaper => true,
                    Outcome::OutOfTime => {
                        self.cut_short = true;
                        false
                    }
                    Outcome::TooLarge | Outcome::Failed => false,
                };
            if best && whole {
                return true;
            }
        }
        false
    }

    /// Takes new servers for those that were chosen, if they are cheaper (or as cheap). Returns whether they are cheaper.
    fn replace(&mut self, chosen: &[usize], new: Vec<Server>, as_cheap: bool) -> bool {
        let old: u64 = chosen.iter().map(|&server| self.servers[server].price(self.problem)).sum();
        let cost = price(self.problem, &new);
        if cost > old || (cost == old && !as_cheap) {
            return false;
        }
        let chosen: HashSet<usize> = chosen.iter().copied().collect();
        let mut index = 0;
        self.servers.retain(|_| {
            index += 1;
            !chosen.contains(&(index - 1))
        });
        self.servers.extend(new);
        self.zones = Zones::of(self.problem, &self.servers);
        cost < old
    }

    /// The zones and the things of the chosen servers, as if those servers were gone.
    fn without(&self, chosen: &[usize]) -> (Zones, Vec<usize>) {
        let (mut zones, mut things) = (self.zones.clone(), Vec::new());
        for &server in chosen {
            zones.remove(self.problem, &self.servers[server]);
            things.extend(self.servers[server].things());
        }
        (zones, things)
    }

    /// Servers from the worst used on.
    fn by_use(&self) -> Vec<usize> {
        let uses: Vec<f64> = self.servers.iter().map(|server| server.use_of_price(self.problem)).collect();
        let mut order: Vec<usize> = (0..uses.len()).collect();
        order.sort_by(|&a, &b| uses[a].total_cmp(&uses[b]).then(a.cmp(&b)));
        order
    }

    /// So many different servers, the worse used the likelier.
    fn choose(&mut self, count: usize) -> Vec<usize> {
        let mut keyed: Vec<(f64, usize)> = Vec::with_capacity(self.servers.len());
        for (index, server) in self.servers.iter().enumerate() {
            let chance: f64 = self.chance.random_range(0.0..1.0);
            keyed.push((server.use_of_price(self.problem) + chance, index));
        }
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        keyed.into_iter().take(count).map(|(_, index)| index).collect()
    }
}

/// Makes a server the cheapest type that holds its things.
fn downsize(problem: &Problem, server: &mut Server) {
    let things: Vec<usize> = server.things().collect();
    let mut kinds: Vec<usize> = (0..problem.kinds.len()).collect();
    kinds.retain(|&kind| problem.kinds[kind].price < server.price(problem));
    kinds.sort_by_key(|&kind| (problem.kinds[kind].price, kind));
    let cheaper = kinds.into_iter().find_map(|kind| Server::holding(problem, kind, server.zone, &things));
    if let Some(cheaper) = cheaper {
        *server = cheaper;
    }
}

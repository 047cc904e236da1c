//! Servers while they are being filled, and how many replicas each zone has.

use super::Spread;
use super::problem::{Need, Problem};

/// One place of a server: a GPU, or the CPU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// Bytes of its GPU.
    pub gpu: u64,
    /// Millionths.
    pub work: u64,
    pub things: Vec<usize>,
    /// Bases that it holds, and for how many of its things.
    bases: Vec<(usize, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub kind: usize,
    pub zone: usize,
    /// Bytes.
    pub ram: u64,
    pub slots: Vec<Slot>,
}

/// Tries that the search for places within one server may take before it gives up.
const PLACING_STEPS: usize = 500;

impl Server {
    pub fn new(problem: &Problem, kind: usize, zone: usize) -> Self {
        Self { kind, zone, ram: 0, slots: vec![Slot::default(); problem.kinds[kind].places] }
    }

    /// A server of this kind with these things and no others, if it can hold them.
    pub fn holding(problem: &Problem, kind: usize, zone: usize, things: &[usize]) -> Option<Self> {
        let mut server = Self::new(problem, kind, zone);
        if server.slots.len() == 1 {
            let all = things.iter().all(|&thing| server.add(problem, thing));
            return all.then_some(server);
        }
        let mut sorted = things.to_vec();
        sorted.sort_by(|&a, &b| problem.things[b].value.total_cmp(&problem.things[a].value).then(a.cmp(&b)));
        let mut steps = PLACING_STEPS;
        server.search(problem, &sorted, &mut steps).then_some(server)
    }

    /// Depth first: the first thing in each place that takes it, then the rest.
    fn search(&mut self, problem: &Problem, things: &[usize], steps: &mut usize) -> bool {
        let Some((&thing, rest)) = things.split_first() else { return true };
        let mut from = 0;
        while let Some(slot) = self.place_from(problem, thing, from) {
            if *steps == 0 {
                return false;
            }
            *steps -= 1;
            // Empty places are alike: the first stands for all.
            let was_empty = self.slots[slot].things.is_empty();
            self.put(problem, thing, slot);
            if self.search(problem, rest, steps) {
                return true;
            }
            self.take(problem, thing, slot);
            if was_empty {
                return false;
            }
            from = slot + 1;
        }
        false
    }

    /// Puts it in the first place that takes it. False: none does.
    pub fn add(&mut self, problem: &Problem, thing: usize) -> bool {
        let slot = self.place_from(problem, thing, 0);
        if let Some(slot) = slot {
            self.put(problem, thing, slot);
        }
        slot.is_some()
    }

    /// Whether any place takes it.
    pub fn takes(&self, problem: &Problem, thing: usize) -> bool {
        self.place_from(problem, thing, 0).is_some()
    }

    /// The first place, from this one on, that takes it.
    fn place_from(&self, problem: &Problem, thing: usize, from: usize) -> Option<usize> {
        let (kind, new) = (&problem.kinds[self.kind], &problem.things[thing]);
        let group = &problem.groups[new.group];
        let kin = |&other: &usize| problem.things[other].group == new.group;
        if group.replicas > 1 && group.spread != Spread::Gpus && self.things().any(|other| kin(&other)) {
            return None;
        }
        let fits = |slot: &Slot| {
            let Some(need) = self.adds(problem, thing, slot) else { return false };
            slot.work + new.work <= kind.work
                && slot.gpu + need.gpu <= kind.gpu
                && self.ram + need.ram <= kind.ram
                && (group.replicas == 1 || !slot.things.iter().any(kin))
        };
        for (index, slot) in self.slots.iter().enumerate().skip(from) {
            if fits(slot) {
                return Some(index);
            }
            if slot.things.is_empty() {
                return None;
            }
        }
        None
    }

    /// What a thing takes here: its own need, and its base if that is not there yet.
    fn adds(&self, problem: &Problem, thing: usize, slot: &Slot) -> Option<Need> {
        let (host, thing) = (problem.kinds[self.kind].host, &problem.things[thing]);
        let own = thing.needs[host]?;
        match thing.base {
            Some(base) if !slot.bases.iter().any(|&(there, _)| there == base) => {
                let more = problem.bases[base][host]?;
                Some(Need { gpu: own.gpu + more.gpu, ram: own.ram + more.ram })
            }
            _ => Some(own),
        }
    }

    fn put(&mut self, problem: &Problem, thing: usize, slot: usize) {
        let Some(need) = self.adds(problem, thing, &self.slots[slot]) else { return };
        self.ram += need.ram;
        let slot = &mut self.slots[slot];
        slot.gpu += need.gpu;
        slot.work += problem.things[thing].work;
        slot.things.push(thing);
        if let Some(base) = problem.things[thing].base {
            match slot.bases.iter_mut().find(|(there, _)| *there == base) {
                Some((_, users)) => *users += 1,
                None => slot.bases.push((base, 1)),
            }
        }
    }

    /// Undoes `put`.
    fn take(&mut self, problem: &Problem, thing: usize, slot: usize) {
        let taken = &mut self.slots[slot];
        taken.things.retain(|&other| other != thing);
        taken.work -= problem.things[thing].work;
        if let Some(base) = problem.things[thing].base {
            for (there, users) in &mut taken.bases {
                *users -= u32::from(*there == base);
            }
            taken.bases.retain(|&(_, users)| users > 0);
        }
        let Some(need) = self.adds(problem, thing, &self.slots[slot]) else { return };
        self.ram -= need.ram;
        self.slots[slot].gpu -= need.gpu;
    }

    pub fn things(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().flat_map(|slot| slot.things.iter().copied())
    }

    pub fn price(&self, problem: &Problem) -> u64 {
        problem.kinds[self.kind].price
    }

    /// What its things are worth over what it costs: the higher, the better it is used.
    pub fn use_of_price(&self, problem: &Problem) -> f64 {
        let value: f64 = self.things().map(|thing| problem.things[thing].value).sum();
        value / problem.kinds[self.kind].usd()
    }
}

pub(super) fn price(problem: &Problem, servers: &[Server]) -> u64 {
    servers.iter().map(|server| server.price(problem)).sum()
}

/// How many servers each zone has, and how many replicas of each group that is spread over zones.
#[derive(Debug, Clone)]
pub(super) struct Zones {
    servers: Vec<usize>,
    /// By group and zone; empty when no group is spread over zones.
    replicas: Vec<u32>,
}

impl Zones {
    pub fn new(problem: &Problem) -> Self {
        let replicas = if problem.zoned { problem.groups.len() * problem.zones } else { 0 };
        Self { servers: vec![0; problem.zones], replicas: vec![0; replicas] }
    }

    pub fn of(problem: &Problem, servers: &[Server]) -> Self {
        let mut zones = Self::new(problem);
        for server in servers {
            zones.add(problem, server);
        }
        zones
    }

    pub fn add(&mut self, problem: &Problem, server: &Server) {
        self.servers[server.zone] += 1;
        if problem.zoned {
            for thing in server.things() {
                self.replicas[problem.things[thing].group * problem.zones + server.zone] += 1;
            }
        }
    }

    pub fn remove(&mut self, problem: &Problem, server: &Server) {
        self.servers[server.zone] -= 1;
        if problem.zoned {
            for thing in server.things() {
                self.replicas[problem.things[thing].group * problem.zones + server.zone] -= 1;
            }
        }
    }

    /// How many more replicas of a group a zone may have.
    pub fn left(&self, problem: &Problem, group: usize, zone: usize) -> u32 {
        let limit = problem.groups[group].per_zone;
        match self.replicas.get(group * problem.zones + zone) {
            Some(&replicas) => limit.saturating_sub(replicas),
            None => limit,
        }
    }

    pub fn allow(&self, problem: &Problem, thing: usize, zone: usize) -> bool {
        self.left(problem, problem.things[thing].group, zone) > 0
    }

    /// Zones from the one with the fewest servers on.
    pub fn by_servers(&self) -> Vec<usize> {
        let mut zones: Vec<usize> = (0..self.servers.len()).collect();
        zones.sort_by_key(|&zone| (self.servers[zone], zone));
        zones
    }
}

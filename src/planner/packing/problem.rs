//! A packing problem in whole numbers, checked: what the algorithms work on.

use std::collections::{HashMap, HashSet};

use super::check;
use super::{Base, BinType, Dimension, Item, PackError, Settings, Shortfall, Spread};

/// Millionths: work and dollars are counted in them.
pub(super) const MICRO: f64 = 1e6;

/// Bytes on a place and on its server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Need {
    pub gpu: u64,
    pub ram: u64,
}

/// What is needed on a server with GPUs (0) and on one without (1).
pub(super) type Needs = [Option<Need>; 2];

#[derive(Debug, Clone)]
pub(super) struct Kind {
    /// Which of `Needs` counts here.
    pub host: usize,
    pub places: usize,
    /// Of each place, bytes.
    pub gpu: u64,
    /// Of the server, bytes.
    pub ram: u64,
    /// Of each place, millionths.
    pub work: u64,
    /// Millionths of a dollar per hour.
    pub price: u64,
    /// Its index among the types that were given.
    pub given: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Thing {
    pub needs: Needs,
    /// Millionths.
    pub work: u64,
    pub base: Option<usize>,
    pub group: usize,
    /// A lower bound on what it costs on any server, dollars per hour: its size for the sorting.
    pub value: f64,
}

#[derive(Debug, Clone)]
pub(super) struct Group {
    pub replicas: usize,
    pub spread: Spread,
    /// Replicas that one zone may have.
    pub per_zone: u32,
}

#[derive(Debug)]
pub(super) struct Problem {
    pub kinds: Vec<Kind>,
    pub things: Vec<Thing>,
    pub bases: Vec<Needs>,
    pub groups: Vec<Group>,
    pub zones: usize,
    /// Whether any group is spread over zones.
    pub zoned: bool,
}

impl Problem {
    /// Checks the input and puts it in whole numbers. Every item fits some type when this returns.
    pub fn new(items: &[Item], types: &[BinType], settings: &Settings) -> Result<Self, PackError> {
        if settings.zones.is_empty() {
            return Err(PackError::NoZones);
        }
        let mut problem = Self {
            kinds: check::kinds(types, settings.market)?,
            things: Vec::with_capacity(items.len()),
            bases: Vec::new(),
            groups: Vec::new(),
            zones: settings.zones.len(),
            zoned: false,
        };
        let (mut bases, mut groups, mut seen) = (HashMap::new(), HashMap::new(), HashSet::new());
        for item in items {
            if !seen.insert((item.chain.as_str(), item.replica)) {
                let name = format!("{}, replica {}", item.chain, item.replica);
                return Err(PackError::Twice { kind: "chain", name });
            }
            let base = item.base.as_ref().map(|base| problem.base(base, &mut bases)).transpose()?;
            let group = problem.group(item, &mut groups)?;
            let work = check::work(&item.chain, item.work_per_s)?;
            let mut needs = check::needs(&item.chain, item.memory)?;
            if base.is_some_and(|base| problem.bases[base][1].is_none()) {
                needs[1] = None;
            }
            let thing = Thing { needs, work: micro_work(work), base, group, value: 0.0 };
            let value = problem.value(&thing).ok_or_else(|| problem.misfit(item, &thing, types))?;
            problem.things.push(Thing { value, ..thing });
        }
        let zones = problem.zones;
        for group in &mut problem.groups {
            group.per_zone = if group.spread == Spread::Zones && group.replicas > 1 {
                problem.zoned = true;
                group.replicas.div_ceil(zones) as u32
            } else {
                u32::MAX
            };
        }
        Ok(problem)
    }

    fn base<'a>(&mut self, base: &'a Base, known: &mut HashMap<&'a str, usize>) -> Result<usize, PackError> {
        let needs = check::needs(&base.name, base.memory)?;
        let index = *known.entry(&base.name).or_insert(self.bases.len());
        if index == self.bases.len() {
            self.bases.push(needs);
        }
        if self.bases[index] == needs {
            Ok(index)
        } else {
            Err(PackError::BaseDiffers { name: base.name.clone() })
        }
    }

    fn group<'a>(&mut self, item: &'a Item, known: &mut HashMap<&'a str, usize>) -> Result<usize, PackError> {
        let index = *known.entry(&item.chain).or_insert(self.groups.len());
        if index == self.groups.len() {
            self.groups.push(Group { replicas: 0, spread: item.spread, per_zone: u32::MAX });
        }
        let group = &mut self.groups[index];
        group.replicas += 1;
        if group.spread != item.spread {
            return Err(PackError::SpreadDiffers { name: item.chain.clone() });
        }
        if item.spread == Spread::Zones && group.replicas > 1 && self.zones < 2 {
            return Err(PackError::OneZone { chain: item.chain.clone() });
        }
        Ok(index)
    }

    /// What a thing alone takes of a kind, with its base: (GPU memory of a place, RAM, work of a place).
    /// `None`: it must not run there.
    pub fn alone(&self, thing: &Thing, kind: &Kind) -> Option<[u64; 3]> {
        let need = thing.needs[kind.host]?;
        let base = match thing.base {
            Some(base) => self.bases[base][kind.host]?,
            None => Need::default(),
        };
        Some([need.gpu + base.gpu, need.ram + base.ram, thing.work])
    }

    /// The least over all kinds that hold it of price times the largest share that it takes alone.
    fn value(&self, thing: &Thing) -> Option<f64> {
        let cost = |kind: &Kind| {
            let takes = self.alone(thing, kind)?;
            let limits = kind.limits();
            let fits = takes.iter().zip(limits).all(|(&takes, limit)| takes <= limit);
            let places = [kind.places as f64, 1.0, kind.places as f64];
            let shares = (0..3).map(|d| ratio(takes[d], limits[d]) / places[d]);
            fits.then(|| kind.usd() * shares.fold(0.0, f64::max))
        };
        // Something that takes nothing still has to be sorted and weighed.
        self.kinds.iter().filter_map(cost).min_by(f64::total_cmp).map(|cost| cost.max(1e-9))
    }

    /// A lower bound on what some things cost together, dollars per hour: in each dimension alone, every one pays at
    /// least the lowest price for its share (without its base, which it may find there); and one server is needed.
    pub fn least_cost(&self, things: &[usize]) -> f64 {
        let pay = |thing: &Thing, d: usize| {
            let on = |kind: &Kind| {
                let need = thing.needs[kind.host]?;
                let places = if d == 1 { 1.0 } else { kind.places as f64 };
                let takes = [need.gpu, need.ram, thing.work][d];
                // Of a limit of 0 nothing can be taken.
                let share = ratio(takes, kind.limits()[d]) / places;
                share.is_finite().then(|| kind.usd() * share)
            };
            self.kinds.iter().filter_map(on).min_by(f64::total_cmp).unwrap_or(0.0)
        };
        let cheapest = self.kinds.iter().map(Kind::usd).min_by(f64::total_cmp).unwrap_or(0.0);
        let one = if things.is_empty() { 0.0 } else { cheapest };
        let sum = |d| things.iter().map(|&thing| pay(&self.things[thing], d)).sum();
        (0..3).map(sum).fold(one, f64::max)
    }

    /// The least by which two plans' costs can differ: all are multiples of it. Millionths of a dollar per hour.
    pub fn price_step(&self) -> u64 {
        self.kinds.iter().fold(0, |step, kind| gcd(step, kind.price)).max(1)
    }

    fn misfit(&self, item: &Item, thing: &Thing, types: &[BinType]) -> PackError {
        let furthest = |kind: &Kind| {
            let (takes, limits) = (self.alone(thing, kind)?, kind.limits());
            let over = |d: usize| ratio(takes[d], limits[d]);
            let d = (0..3).max_by(|&a, &b| over(a).total_cmp(&over(b)))?;
            Some((over(d), shortfall(&types[kind.given].name, d, takes[d], limits[d])))
        };
        let mut all: Vec<_> = self.kinds.iter().filter_map(furthest).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all: Vec<_> = all.into_iter().map(|(_, shortfall)| shortfall).collect();
        PackError::FitsNowhere { chain: item.chain.clone(), nearest: all.first().cloned(), all }
    }
}

impl Kind {
    /// GPU memory of a place, RAM of the server, work of a place.
    pub fn limits(&self) -> [u64; 3] {
        [self.gpu, self.ram, self.work]
    }

    pub fn usd(&self) -> f64 {
        self.price as f64 / MICRO
    }
}

/// Work in millionths, rounded up; a thousandth of one is the rounding of the floats, not a need.
pub(super) fn micro_work(work_per_s: f64) -> u64 {
    (work_per_s * MICRO - 1e-3).ceil().max(0.0) as u64
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What is taken over what there is; nothing of nothing is 0.
pub(super) fn ratio(takes: u64, limit: u64) -> f64 {
    if takes == 0 { 0.0 } else { takes as f64 / limit as f64 }
}

pub(super) fn shortfall(bin_type: &str, d: usize, takes: u64, limit: u64) -> Shortfall {
    let (dimension, unit) =
        [(Dimension::GpuMemory, 1.0), (Dimension::Ram, 1.0), (Dimension::Work, MICRO)][d.min(2)];
    let (needs, limit) = (takes as f64 / unit, limit as f64 / unit);
    Shortfall { bin_type: bin_type.to_owned(), dimension, needs, limit }
}

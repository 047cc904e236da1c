//! From chains to the packing's terms: one unit of work for devices that are unlike, and the size of replicas.
//!
//! Devices differ in how much faster they decode than they compute prompts, so an action of one archetype may take twice
//! the share of one device that an action of another takes, and half of it on the next. The packing has one dimension of
//! work. Its unit is an action a second of the request's own mixture: a device's capacity is how many of these it does,
//! and a chain's work is its actions times the worst factor over the types that may be used,
//!
//! ```text
//! work of a chain = actions/s · max over types of (mixture's actions/s there / chain's own actions/s there)
//! ```
//!
//! so on no device does a chain count for less than the share that it takes; where all chains have one mix and one model
//! it counts for exactly that. Shares of chains with one base add up, since they share its batch; for several bases
//! `capacity` counts each base's turn.

use super::super::capacity::Capacity;
use super::super::instances::Instance;
use super::super::packing::{Base, BinType, Chain, Headroom, Memory, PackError};
use super::chain::{Cell, MEMORY_HEADROOM, Spec, Unfit, runtime_bytes, usable};
use super::expected::MOST_KEPT;
use super::{Inputs, PlanError, Request};

/// Replicas of a chain at most.
pub(super) const MOST_REPLICAS: u64 = 10_000;

/// Chains and types that are packed together.
pub(super) struct Sizing<'a> {
    pub request: &'a Request,
    pub inputs: &'a Inputs<'a>,
    pub specs: Vec<&'a Spec>,
    pub instances: Vec<&'a Instance>,
    /// Types that do not hold all of them within the targets: a chain that fails there, and why.
    pub left_out: Vec<(&'a Instance, &'a Spec, Unfit)>,
    /// By type and chain.
    capacities: Vec<Vec<Capacity>>,
    /// Of each type: actions a second of the mixture on one device.
    pub unit: Vec<f64>,
    /// Of each chain.
    work: Vec<f64>,
}

impl<'a> Sizing<'a> {
    /// Of these chains (indexes) on the types that hold all of them within the targets.
    ///
    /// # Errors
    /// There is no such type: the nearest, a chain that fails there, and why.
    pub fn new(
        request: &'a Request,
        inputs: &'a Inputs<'a>,
        specs: &'a [Spec],
        instances: &[&'a Instance],
        cells: &[Vec<Cell>],
        chosen: &[usize],
        bases: usize,
    ) -> Result<Self, PlanError> {
        let mut usable_types = Vec::new();
        let (mut capacities, mut left_out) = (Vec::new(), Vec::new());
        // Of the nearest type: how many chains fail there, and the furthest of them.
        let mut nearest: Option<(usize, f64, usize)> = None;
        for (at, instance) in instances.iter().enumerate() {
            let cell = |&chain: &usize| (chain, cells[chain][at].of(bases));
            let of: Option<Vec<Capacity>> =
                chosen.iter().map(|chain| cell(chain).1.as_ref().ok().copied()).collect();
            if let Some(of) = of {
                usable_types.push(*instance);
                capacities.push(of);
                continue;
            }
            let failed =
                || chosen.iter().map(cell).filter_map(|(chain, of)| Some((chain, of.as_ref().err()?)));
            let worst = failed().max_by(|a, b| a.1.ratio().total_cmp(&b.1.ratio()));
            let Some((chain, unfit)) = worst else { continue };
            let (count, ratio) = (failed().count(), unfit.ratio());
            if nearest.is_none_or(|(fewest, least, _)| count < fewest || count == fewest && ratio < least) {
                nearest = Some((count, ratio, left_out.len()));
            }
            left_out.push((*instance, &specs[chain], unfit.clone()));
        }
        if usable_types.is_empty() {
            let Some((instance, spec, unfit)) = nearest.map(|(.., at)| &left_out[at]) else {
                return Err(PackError::NoTypes("").into());
            };
            let mut models: Vec<&str> =
                chosen.iter().map(|&chain| specs[chain].model.name.as_str()).collect();
            models.sort_unstable();
            models.dedup();
            return Err(PlanError::NothingCommon {
                what: models.join(", "),
                instance: instance.name.clone(),
                archetype: spec.load.name.clone(),
                model: spec.model.name.clone(),
                source: Box::new(unfit.clone()),
            });
        }
        let specs: Vec<&Spec> = chosen.iter().map(|&chain| &specs[chain]).collect();
        let all: f64 = specs.iter().map(|spec| spec.actions_per_s).sum();
        let unit: Vec<f64> = capacities
            .iter()
            .map(|of| {
                let busy: f64 =
                    specs.iter().zip(of).map(|(spec, own)| spec.actions_per_s / own.actions_per_s).sum();
                if busy > 0.0 { all / busy } else { 1.0 }
            })
            .collect();
        let work = |chain: usize| {
            let factors = unit.iter().zip(&capacities).map(|(unit, of)| unit / of[chain].actions_per_s);
            specs[chain].actions_per_s * factors.fold(0.0, f64::max)
        };
        let work = (0..specs.len()).map(work).collect();
        Ok(Self { request, inputs, specs, instances: usable_types, left_out, capacities, unit, work })
    }

    pub fn types(&self) -> Vec<BinType> {
        let headroom =
            Headroom { gpu_memory: MEMORY_HEADROOM, ram: MEMORY_HEADROOM, work: self.request.headroom };
        let of = |(instance, unit): (&&Instance, &f64)| {
            let bin = BinType {
                name: instance.name.clone(),
                gpus: instance.gpus,
                gpu_bytes: if instance.device.is_gpu { instance.device.memory_bytes } else { 0 },
                ram_bytes: instance.memory_bytes,
                work_per_s: *unit,
                on_demand_usd_per_hour: instance.on_demand_usd_per_hour,
                spot_usd_per_hour: Some(instance.spot_usd_per_hour),
            };
            bin.with_headroom(headroom)
        };
        self.instances.iter().zip(&self.unit).map(of).collect()
    }

    /// Rows in flight of one of so many replicas, wherever it runs.
    pub fn rows(&self, chain: usize, replicas: u64) -> u64 {
        let each = self.specs[chain].actions_per_s / replicas.max(1) as f64;
        let rows = self.capacities.iter().map(|of| {
            let own = &of[chain];
            (each / own.actions_per_s).min(1.0) * own.rows as f64
        });
        rows.fold(0.0, f64::max).ceil() as u64 + 1
    }

    fn replica_bytes(&self, chain: usize, replicas: u64) -> u64 {
        let spec = self.specs[chain];
        spec.replica_bytes(self.rows(chain, replicas), replicas, self.request.context_tokens)
    }

    pub fn capacity(&self, at: usize, chain: usize) -> &Capacity {
        &self.capacities[at][chain]
    }

    /// The fewest replicas with which the chain's load and memory fit this type; `None`: no number does.
    fn replicas(&self, chain: usize, at: usize) -> Option<u64> {
        let spec = self.specs[chain];
        let device = &self.instances[at].device;
        let limit = self.unit[at] * (1.0 - self.request.headroom);
        let by_work = (self.work[chain] / limit * (1.0 + 1e-9)).ceil() as u64;
        let room = usable(device.memory_bytes)
            .checked_sub(spec.weights_bytes.saturating_add(runtime_bytes(device.is_gpu, self.inputs)))?;
        let fits =
            |replicas: u64| self.replica_bytes(chain, replicas) <= room && spec.kept(replicas) <= MOST_KEPT;
        let least = by_work.max(u64::from(self.request.replicas)).max(1);
        if least > MOST_REPLICAS || !fits(MOST_REPLICAS) {
            return None;
        }
        // Fewer conversations on each: what fits goes on fitting.
        let (mut low, mut high) = (least, MOST_REPLICAS);
        while low < high {
            let middle = low.midpoint(high);
            if fits(middle) { high = middle } else { low = middle + 1 }
        }
        Some(high)
    }

    /// The chains, with replicas that fit this type. `Err`: the chain that no number of replicas makes fit.
    pub fn chains(&self, at: usize) -> Result<Vec<Chain>, usize> {
        (0..self.specs.len())
            .map(|chain| {
                let replicas = self.replicas(chain, at).ok_or(chain)?;
                let spec = self.specs[chain];
                let bytes = self.replica_bytes(chain, replicas);
                let base = Memory {
                    gpu_bytes: spec.weights_bytes + runtime_bytes(true, self.inputs),
                    // Weights are read through a mapped file, whose pages need not stay.
                    ram_bytes: runtime_bytes(false, self.inputs),
                    cpu_ram_bytes: Some(spec.weights_bytes + runtime_bytes(false, self.inputs)),
                };
                Ok(Chain {
                    name: spec.load.name.clone(),
                    base: Some(Base { name: spec.model.name.clone(), memory: base }),
                    memory: Memory { gpu_bytes: bytes, ram_bytes: 0, cpu_ram_bytes: Some(bytes) },
                    work_per_s: self.work[chain],
                    min_replicas: replicas as u32,
                    spread: self.request.spread(),
                })
            })
            .collect()
    }
}

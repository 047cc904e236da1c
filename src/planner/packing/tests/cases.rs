//! What the tests pack: small pieces, and cases at random.

use proptest::prelude::*;

use super::super::*;

pub const GB: u64 = 1_000_000_000;

/// A type with one GPU, plenty of RAM and the same price everywhere.
pub fn a_type(name: &str, gpu_gb: u64, work_per_s: f64, usd: f64) -> BinType {
    BinType {
        name: name.to_owned(),
        gpus: 1,
        gpu_bytes: gpu_gb * GB,
        ram_bytes: 1000 * GB,
        work_per_s,
        on_demand_usd_per_hour: usd,
        spot_usd_per_hour: Some(usd * 0.3),
    }
}

/// A chain of so many GB beside a base of 5 GB, for GPUs.
pub fn a_chain(name: &str, gpu_gb: u64, work_per_s: f64) -> Chain {
    let base = Memory { gpu_bytes: 5 * GB, ram_bytes: GB, cpu_ram_bytes: None };
    Chain {
        name: name.to_owned(),
        base: Some(Base { name: "base".to_owned(), memory: base }),
        memory: Memory { gpu_bytes: gpu_gb * GB, ram_bytes: GB / 10, cpu_ram_bytes: None },
        work_per_s,
        min_replicas: 1,
        spread: Spread::Servers,
    }
}

/// A chain of its own, without a base.
pub fn item(index: usize, gpu_gb: u64, work_per_s: f64) -> Item {
    Item {
        chain: format!("chain {index}"),
        replica: 0,
        base: None,
        memory: Memory { gpu_bytes: gpu_gb * GB, ram_bytes: 0, cpu_ram_bytes: None },
        work_per_s,
        spread: Spread::Servers,
    }
}

/// How large the cases are.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub chains: usize,
    pub types: usize,
    pub gpus: u32,
    pub replicas: u32,
}

/// Items, types and settings where every item fits the first type.
pub fn a_case(size: Size) -> impl Strategy<Value = (Vec<Item>, Vec<BinType>, Settings)> {
    let base = (0_u64..8, 0_u64..4, any::<bool>());
    let bases = prop::collection::vec(base, 1..3);
    let own = (0_u64..12, 0_u64..8, prop::option::of(0_u64..16), 0.0_f64..50.0);
    let kin = (0_usize..4, 1..=size.replicas, 0_u8..3);
    let chains = prop::collection::vec((own, kin), 1..=size.chains);
    let capacity = (1_u64..40, 1_u64..64, 1.0_f64..200.0);
    let types =
        prop::collection::vec((0..=size.gpus, capacity, 0.1_f64..10.0, any::<bool>()), 1..=size.types);
    (bases, chains, types, 1_usize..4, any::<bool>()).prop_map(|(bases, chains, types, zones, spot)| {
        let base = |index: usize| {
            let &(gpu, ram, on_cpu) = bases.get(index)?;
            Some(Base {
                name: format!("base {index}"),
                memory: memory(gpu, ram, on_cpu.then_some(gpu + ram)),
            })
        };
        let mut items = Vec::new();
        for (index, ((gpu, ram, cpu, work), (base_index, replicas, spread))) in chains.into_iter().enumerate()
        {
            let spread = match spread {
                0 => Spread::Gpus,
                1 => Spread::Servers,
                _ if zones > 1 => Spread::Zones,
                _ => Spread::Servers,
            };
            items.extend((0..replicas).map(|replica| Item {
                chain: format!("chain {index}"),
                replica,
                base: base(base_index),
                memory: memory(gpu, ram, cpu),
                work_per_s: work,
                spread,
            }));
        }
        let named = |(index, (gpus, (gpu, ram, work), usd, on_spot)): (usize, Drawn)| BinType {
            name: format!("type {index}"),
            gpus,
            gpu_bytes: gpu * GB,
            ram_bytes: ram * GB,
            work_per_s: work,
            on_demand_usd_per_hour: usd,
            spot_usd_per_hour: on_spot.then_some(usd * 0.4),
        };
        let mut types: Vec<BinType> = types.into_iter().enumerate().map(named).collect();
        // The first takes any of the items alone.
        types[0].gpus = types[0].gpus.max(1);
        types[0].gpu_bytes = types[0].gpu_bytes.max(20 * GB);
        types[0].ram_bytes = types[0].ram_bytes.max(12 * GB);
        types[0].work_per_s = types[0].work_per_s.max(50.0);
        types[0].spot_usd_per_hour = Some(types[0].on_demand_usd_per_hour * 0.5);
        let market = if spot { Market::Spot } else { Market::OnDemand };
        let zones = (0..zones).map(|zone| format!("zone {zone}")).collect();
        (items, types, Settings { market, zones, ..Settings::default() })
    })
}

/// GPUs, capacities of memory (GB) and of work, the price, whether it is to be had on spot.
type Drawn = (u32, (u64, u64, f64), f64, bool);

fn memory(gpu: u64, ram: u64, cpu: Option<u64>) -> Memory {
    Memory { gpu_bytes: gpu * GB, ram_bytes: ram * GB, cpu_ram_bytes: cpu.map(|ram| ram * GB) }
}

/// The number of cases that an environment variable asks for.
pub fn cases(default: u32) -> u32 {
    std::env::var("PACKING_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}

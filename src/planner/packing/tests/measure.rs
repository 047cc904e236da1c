//! Figures, printed and not judged: `cargo test --release -- --ignored --nocapture measure`.
//!
//! Time on the processor is told beside the time on the clock, which a busy machine stretches.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::*;
use super::cases::GB;

/// Chains from rare (a small part of a GPU) to busy, of three bases; types of one to eight GPUs and of none.
fn large(chains: usize, types: usize, busy: f64, seed: u64) -> (Vec<Item>, Vec<BinType>) {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let bases: Vec<Base> = [(1, true), (5, true), (9, false)]
        .map(|(gb, cpu)| Base {
            name: format!("{gb} GB"),
            memory: Memory { gpu_bytes: gb * GB, ram_bytes: GB, cpu_ram_bytes: cpu.then_some(gb * GB) },
        })
        .to_vec();
    let items = (0..chains).map(|index| Item {
        chain: format!("chain {index}"),
        replica: 0,
        base: bases.get(chance.random_range(0..bases.len())).cloned(),
        memory: Memory {
            gpu_bytes: chance.random_range(GB / 5..6 * GB),
            ram_bytes: chance.random_range(GB / 10..2 * GB),
            cpu_ram_bytes: chance.random_bool(0.3).then(|| chance.random_range(GB..6 * GB)),
        },
        // Many rare, few busy; or all as busy as a GPU's half.
        work_per_s: (400.0 * chance.random_range(0.0_f64..1.0).powi(4))
            .max(busy * chance.random_range(0.5..1.5)),
        spread: Spread::Servers,
    });
    let items = items.collect();
    let types = (0..types).map(|index| {
        let gpus = [1, 1, 1, 4, 8, 0][index % 6];
        let gpu = [16, 24, 40, 48, 80][chance.random_range(0..5_usize)];
        let ram = [16, 32, 64, 128, 256][chance.random_range(0..5_usize)] * u64::from(gpus.max(1));
        let usd = f64::from(gpus.max(1)) * (0.2 + gpu as f64 / 24.0) * chance.random_range(0.7..1.3);
        BinType {
            name: format!("type {index}"),
            gpus,
            gpu_bytes: gpu * GB,
            ram_bytes: ram * GB,
            work_per_s: if gpus == 0 { 50.0 } else { 400.0 * gpu as f64 / 24.0 },
            on_demand_usd_per_hour: if gpus == 0 { 0.3 + ram as f64 / 200.0 } else { usd },
            spot_usd_per_hour: None,
        }
    });
    (items, types.collect())
}

/// Seconds that this thread has run; Linux only, NaN elsewhere.
fn on_cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).map_or(f64::NAN, |ns| ns / 1e9)
}

#[test]
#[ignore = "prints figures; run it in release"]
fn measure() {
    for (chains, types, busy) in
        [(10, 50, 0.0), (30, 50, 0.0), (100, 50, 0.0), (1000, 50, 0.0), (1000, 50, 130.0)]
    {
        let (items, types) = large(chains, types, busy, 1);
        let none = Limits { repacks: 0, exact_items: 0, exact_groups: 0, ..Limits::default() };
        let repacks = Limits { exact_groups: 0, ..Limits::default() };
        for (name, limits) in
            [("first fit, moves", none), ("and repacking", repacks), ("and solver", Limits::default())]
        {
            let settings =
                Settings { limits: Limits { time: Duration::from_mins(1), ..limits }, ..Settings::default() };
            let (start, ran) = (Instant::now(), on_cpu_s());
            let plan = pack(&items, &types, &settings).unwrap();
            println!(
                "{chains} chains (at least {busy} actions/s), {name}: {:.3} s ({:.3} s of CPU), {} servers, ${:.2}/h (first fit ${:.2}, bound ${:.2}), cut short: {}",
                start.elapsed().as_secs_f64(),
                on_cpu_s() - ran,
                plan.bins.len(),
                plan.usd_per_hour,
                plan.first_fit_usd_per_hour,
                plan.least_usd_per_hour,
                plan.cut_short
            );
        }
    }
}

//! Every row gets what its mix says, whoever is beside it.

use std::sync::Arc;

use npc_onnx::packed::pack;

use super::super::super::adapter::PackedAdapter;
use super::super::super::kernel::{Lines, Weights};
use super::super::super::mixes::PARTS;
use super::super::super::pages::Place;
use super::super::super::plan::{Entry, Token};
use super::super::super::state::Room;
use super::super::prepare::{Prepare, Prepared};
use super::super::product::{Product, pieces};
use super::*;
use crate::config::AdapterPrecision;
use crate::engine::adapter::Factors;

const INPUTS: usize = 96;
const OUTPUTS: usize = 112;

fn wave(count: usize, step: f32) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * step).sin()).collect()
}

/// Three projections, of which an adapter may lack the middle one; a pair of panels belongs to two of them.
fn factors(seed: usize, rank: usize) -> Vec<Factors> {
    [(0, 48), (48, 16), (64, 48)]
        .into_iter()
        .enumerate()
        .filter(|(i, _)| seed.is_multiple_of(2) || *i != 1)
        .map(|(i, (offset, outputs))| {
            let step = 0.31 + 0.07 * (seed * 3 + i) as f32;
            let (a, b) = (wave(rank * INPUTS, step), wave(outputs * rank, step * 1.7));
            Factors { offset, outputs, rank, a, b }
        })
        .collect()
}

/// A plan of rows with these adapters and gates each.
fn plan(adapters: &[Arc<PackedAdapter>], mixes: &[Vec<(usize, f32)>]) -> Plan {
    let mut plan = Plan { adapters: adapters.to_vec(), ..Plan::default() };
    for mix in mixes {
        let entries = (plan.entries.len(), mix.len());
        plan.entries.extend(mix.iter().map(|(adapter, gate)| Entry { adapter: *adapter, gate: *gate }));
        let place = Place { page: 0, slot: 0 };
        plan.tokens.push(Token { position: 0, place, table: (0, 0), entries });
    }
    plan.group();
    plan
}

/// The linear layer's outputs.
fn computed(cpu: Cpu, threads: usize, plan: &Plan, x: &[f32]) -> Vec<f32> {
    computed_in(cpu, threads, plan, 0, &mut Mixes::default(), x)
}

/// The same in a layer, with what other layers and steps have left.
fn computed_in(
    cpu: Cpu,
    threads: usize,
    plan: &Plan,
    layer: usize,
    mixes: &mut Mixes,
    x: &[f32],
) -> Vec<f32> {
    let packed = pack(&wave(OUTPUTS * INPUTS, 0.37), INPUTS);
    let weights = Weights::new(packed.bits, OUTPUTS, INPUTS, &packed.bytes).unwrap();
    let rows = plan.tokens.len();
    let mut room = Room::default();
    let adapters = Adapters::new((cpu, threads), plan, (layer, 0), (OUTPUTS, 1), mixes).0;
    let is_flat = adapters.is_some();
    let input = Prepared::new(cpu, Prepare::Nothing, (rows, INPUTS), (is_flat, is_flat), &mut room);
    let first = First::new(input, adapters);
    (0..first.pieces()).for_each(|piece| first.prepare(piece, x));
    together(threads, first.left(), |piece| first.compute(piece, x));
    let mut out = vec![0.0; rows * OUTPUTS];
    let product = Product {
        cpu,
        weights,
        rows,
        bias: None,
        residual: None,
        tops: None,
        adapters: first.adapters.as_ref(),
        ahead: Ahead::default(),
    };
    let (pieces, to) = (pieces(&weights, threads), Disjoint::new(&mut out));
    // SAFETY: all is prepared.
    together(threads, pieces, |piece| product.piece(piece, pieces, unsafe { first.input.acts() }, &to));
    out
}

/// As a stage is: by several threads at once, if there are to be some.
fn together(threads: usize, pieces: usize, run: impl Fn(usize) + Sync) {
    let (threads, run) = (threads.min(4), &run);
    std::thread::scope(|scope| {
        for thread in 1..threads {
            scope.spawn(move || (thread..pieces).step_by(threads).for_each(run));
        }
        (0..pieces).step_by(threads).for_each(run);
    });
}

#[test]
fn every_row_gets_its_own_mix_whoever_is_beside_it() {
    let precisions = [
        AdapterPrecision::Int8,
        AdapterPrecision::Int8,
        AdapterPrecision::Int8,
        AdapterPrecision::Bf16,
        AdapterPrecision::F32,
    ];
    let ranks = [8, 8, 3, 8, 5];
    let all: Vec<Vec<Factors>> = (0..5).map(|i| factors(i, ranks[i])).collect();
    let adapters: Vec<_> = all
        .iter()
        .zip(precisions)
        .map(|(factors, precision)| Arc::new(PackedAdapter::new(&[vec![factors.clone()]], precision)))
        .collect();
    // Rows without, runs longer than four rows and across a tile, gates that differ within a run, more than are summed
    // together.
    let mut mixes: Vec<Vec<(usize, f32)>> = vec![vec![], vec![(0, 1.0)], vec![(0, -0.5)]];
    mixes.extend((0..12).map(|i| vec![(0, 1.0), (1, i as f32 * 0.25), (2, -1.0)]));
    mixes.extend([vec![(3, 1.0)], vec![(4, 0.5), (1, 2.0)], vec![], vec![(1, 1.0)]]);
    mixes.push((0..10).map(|i| (i % 3, 0.1 * i as f32)).collect());
    let rows = mixes.len();
    let x = wave(rows * INPUTS, 0.7);
    let base = computed(Cpu::detect(), 2, &plan(&adapters, &vec![Vec::new(); rows]), &x);
    let mut expected: Option<Vec<f32>> = None;
    for cpu in Cpu::all() {
        for threads in [1, 2, 16] {
            let found = computed(cpu, threads, &plan(&adapters, &mixes), &x);
            assert_eq!(&found, expected.get_or_insert_with(|| found.clone()), "{cpu:?}, {threads}");
        }
    }
    let found = expected.unwrap();
    for (row, mix) in mixes.iter().enumerate() {
        let x = &x[row * INPUTS..][..INPUTS];
        let own = &found[row * OUTPUTS..][..OUTPUTS];
        let alone = computed(Cpu::detect(), 2, &plan(&adapters, std::slice::from_ref(mix)), x);
        assert_eq!(alone, own, "row {row} alone");
        let mut exact = vec![0.0_f64; OUTPUTS];
        for (adapter, gate) in mix {
            for f in &all[*adapter] {
                for rank in 0..f.rank {
                    let a = &f.a[rank * INPUTS..][..INPUTS];
                    let u: f64 = a.iter().zip(x).map(|(a, x)| f64::from(*a) * f64::from(*x)).sum();
                    for output in 0..f.outputs {
                        let b = f64::from(f.b[output * f.rank + rank]);
                        exact[f.offset + output] += f64::from(*gate) * b * u;
                    }
                }
            }
        }
        let largest = exact.iter().fold(1.0_f64, |largest, y| largest.max(y.abs()));
        for (output, exact) in exact.iter().enumerate() {
            let added = f64::from(own[output]) - f64::from(base[row * OUTPUTS + output]);
            let error = (added - exact).abs() / largest;
            assert!(error < 0.05, "row {row}, output {output}: {added} for {exact}, of up to {largest}");
        }
    }
}

#[test]
fn an_adapter_that_is_read_once_for_all_rows_gives_them_the_same() {
    let threads = 2;
    let adapters: Vec<_> = (0..=ADAPTERS * threads)
        .map(|i| Arc::new(PackedAdapter::new(&[vec![factors(i, [8, 5][i % 2])]], AdapterPrecision::Int8)))
        .collect();
    let count = adapters.len();
    // Rows with mixes of their own, in three bands, between them a long run and a row without.
    let own = |row: usize| vec![(row % count, 1.0), ((row * 2 + 1) % count, -0.5 - row as f32 * 0.1)];
    let mut mixes: Vec<Vec<(usize, f32)>> = (0..19).map(own).collect();
    mixes.extend(vec![vec![(2, 0.5), (3, 1.0), (0, 0.25)]; 5]);
    mixes.push(vec![]);
    mixes.extend((25..40).map(own));
    let x = wave(mixes.len() * INPUTS, 0.7);
    let step = plan(&adapters, &mixes);
    let by = |threads: usize| {
        let mut mixes = Mixes::default();
        let (found, _) = Adapters::new((Cpu::detect(), threads), &step, (0, 0), (OUTPUTS, 1), &mut mixes);
        found.map(|found| found.by)
    };
    assert_eq!((by(threads), by(1), by(16)), (Some(By::Adapters), Some(By::Bands), Some(By::Runs)));
    for cpu in Cpu::all() {
        let found = computed(cpu, threads, &step, &x);
        assert!(found == computed(cpu, 1, &step, &x), "{cpu:?}: by bands");
        for (row, mix) in mixes.iter().enumerate() {
            let alone = plan(&adapters, std::slice::from_ref(mix));
            let alone = computed(cpu, threads, &alone, &x[row * INPUTS..][..INPUTS]);
            assert!(alone == found[row * OUTPUTS..][..OUTPUTS], "{cpu:?}: row {row}");
        }
    }
}

#[test]
fn layers_and_steps_share_what_is_laid_out() {
    let layers = |seeds: [usize; 4]| seeds.map(|seed| vec![factors(seed, 8)]);
    let packed = |seeds, precision| Arc::new(PackedAdapter::new(&layers(seeds), precision));
    let int8 = |seeds| packed(seeds, AdapterPrecision::Int8);
    // Of the last one the layers are not alike.
    let adapters = [int8([0, 2, 4, 6]), int8([1, 3, 5, 7]), int8([4, 6, 8, 2]), int8([8, 5, 8, 5])];
    assert!(adapters[..3].iter().all(|adapter| adapter.is_alike) && !adapters[3].is_alike);
    let mix = |row: usize| vec![(row % 3, 1.0), ((row + 1) % 3, 0.5)];
    let mixes: Vec<Vec<_>> = (0..21).map(mix).chain([vec![], vec![(2, -1.0)]]).collect();
    let step = plan(&adapters[..3], &mixes);
    let picked = plan(&adapters[1..3], &[vec![(1, 2.0), (0, 1.0)]]);
    let reversed: Vec<_> = adapters.iter().rev().cloned().collect();
    let other = plan(&reversed, &mixes[..17]);
    // One is in floats; and so many that each is read once for all rows.
    let floats = [&adapters[..2], &[packed([3, 5, 7, 9], AdapterPrecision::Bf16)]].concat();
    let floats = plan(&floats, &mixes);
    let many: Vec<_> = (0..9).map(|i| int8([i, i + 2, i + 4, i + 6])).collect();
    let many =
        plan(&many, &(0..23).map(|row| vec![(row % 9, 1.0), ((row + 2) % 9, 0.5)]).collect::<Vec<_>>());
    let x = wave(mixes.len() * INPUTS, 0.7);
    let (cpu, mut shared) = (Cpu::detect(), Mixes::default());
    let mut steps = vec![(&step, 0), (&step, 1), (&step, 3), (&picked, 3), (&other, 0), (&other, 1)];
    for plan in [&step, &floats, &many] {
        steps.extend([0, 1, 2, 3, 1, 3, 3].map(|layer| (plan, layer)));
    }
    for (index, (plan, layer)) in steps.into_iter().enumerate() {
        let x = &x[..plan.tokens.len() * INPUTS];
        let found = computed_in(cpu, 2, plan, layer, &mut shared, x);
        let fresh = computed_in(cpu, 2, plan, layer, &mut Mixes::default(), x);
        assert!(found == fresh, "{index}");
    }
    // And layers are not the same.
    let of = |layer| computed_in(cpu, 2, &step, layer, &mut Mixes::default(), &x);
    assert!(of(0) != of(1));
}

/// A linear layer in which no adapter has anything says so in every layer, and still what is read behind it.
#[test]
fn a_layer_without_adapters_leads_to_the_next_one() {
    let layers = [0, 2, 4, 6].map(|seed| vec![factors(seed, 8), vec![]]);
    let adapter = Arc::new(PackedAdapter::new(&layers, AdapterPrecision::Int8));
    let step = plan(&[adapter], &[vec![(0, 1.0)], vec![]]);
    let next = |mixes: &Mixes| {
        let mut room = [Lines::default(); PARTS];
        format!("{:?}", mixes.layout.ahead(1).piece(0, &mut room))
    };
    let mut shared = Mixes::default();
    for layer in 0..3 {
        let mut fresh = Mixes::default();
        assert!(!shared.prepare(&step, layer, 1) && !fresh.prepare(&step, layer, 1));
        assert_eq!(next(&shared), next(&fresh), "{layer}");
        assert!(fresh.layout.ahead(1).piece(0, &mut [Lines::default(); PARTS])[0].count() > 0);
    }
}

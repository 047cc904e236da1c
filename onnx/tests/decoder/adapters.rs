//! Adapters as inputs of the graph: the exact sum, for every row its own.

use npc_onnx::{AdapterGroup, Precision};

use crate::support::runner::{Adapters, Run, Runner};
use crate::support::tiny::{Random, Tensors, Tiny};
use crate::support::{difference, import};

/// Largest difference of a logit, relative to the largest logit.
const TOLERANCE: f32 = 1e-3;

const RANKS: [usize; 4] = [5, 8, 3, 16];

fn adapters(tiny: &Tiny, groups: &[AdapterGroup]) -> Adapters {
    let mut random = Random(99);
    let mut matrix = |rows: usize, columns: usize| -> Vec<f32> {
        let spread = 0.5 / (rows as f32).sqrt();
        (0..rows * columns).map(|_| spread * random.normal()).collect()
    };
    let factors = (0..tiny.layers)
        .flat_map(|_| groups.iter().zip(RANKS))
        .map(|(group, rank)| (matrix(group.inputs, rank), matrix(rank, group.outputs)))
        .collect();
    Adapters { ranks: RANKS.to_vec(), factors }
}

/// Adds `b' · diag(gate) · a'` to the weights, as a merge of the adapters would.
fn merge(
    tensors: &Tensors,
    tiny: &Tiny,
    groups: &[AdapterGroup],
    lora: &Adapters,
    gates: &[Vec<f32>],
) -> Tensors {
    let mut merged = tensors.clone();
    for layer in 0..tiny.layers {
        for (g, group) in groups.iter().enumerate() {
            let (a, b) = &lora.factors[layer * groups.len() + g];
            let rank = lora.ranks[g];
            for projection in &group.projections {
                let block = if ["qkv", "o"].contains(&group.name.as_str()) { "self_attn" } else { "mlp" };
                let name = format!("model.layers.{layer}.{block}.{}.weight", projection.name);
                let (_, weight) = merged.get_mut(&name).expect("the projection's weight");
                for (out, row) in weight.chunks_mut(group.inputs).enumerate() {
                    let column = projection.offset + out;
                    for (input, w) in row.iter_mut().enumerate() {
                        *w += (0..rank)
                            .map(|r| a[input * rank + r] * gates[g][r] * b[r * group.outputs + column])
                            .sum::<f32>();
                    }
                }
            }
        }
    }
    merged
}

fn relative(found: &[f32], expected: &[f32]) -> f32 {
    difference(found, expected) / expected.iter().fold(0.0, |largest: f32, l| largest.max(l.abs()))
}

#[test]
fn each_row_gets_its_own_exact_sum() {
    let tiny = Tiny::new("qwen2");
    let dir = tempfile::tempdir().unwrap();
    let tensors = tiny.tensors(3);
    let source = tiny.write(&dir.path().join("base"), &tensors);
    let mut runner = Runner::open(&import(&source, dir.path(), Precision::Fp32), 3, 32);
    let groups = runner.file.graph.groups.clone();
    let lora = adapters(&tiny, &groups);
    let mut random = Random(8);
    let mut gates = || -> Vec<Vec<f32>> {
        RANKS.iter().map(|&rank| (0..rank).map(|_| 3.0 * random.uniform() - 1.0).collect()).collect()
    };
    let off: Vec<Vec<f32>> = RANKS.iter().map(|&rank| vec![0.0; rank]).collect();
    let rows = [gates(), off, gates()];
    let tokens = Random(1).tokens(12, tiny.vocab);
    runner.set_adapters(Some(&lora));
    let mut prefill = Vec::new();
    for row in 0..3 {
        let run = Run { first_row: row, tokens: &[&tokens[..11]], past: &[0], gates: &rows[row..=row] };
        prefill.push(runner.run(&run));
    }
    let next = [&tokens[11..]; 3];
    let decoded = runner.run(&Run { first_row: 0, tokens: &next, past: &[11; 3], gates: &rows });

    let mut base = Vec::new();
    for (row, gates) in rows.iter().enumerate() {
        let merged = merge(&tensors, &tiny, &groups, &lora, gates);
        let parent = dir.path().join(format!("merged{row}"));
        let source = tiny.write(&parent.join("checkpoint"), &merged);
        let mut reference = Runner::open(&import(&source, &parent, Precision::Fp32), 1, 32);
        let expected = reference.run(&Run::plain(0, &[&tokens], &[0]));
        let found = prefill[row].iter().chain([&decoded[row]]);
        for (position, (found, expected)) in found.zip(&expected).enumerate() {
            let off = relative(found, expected);
            assert!(off <= TOLERANCE, "row {row}, position {position}: off by {off}");
        }
        base.push(expected);
    }
    // The adapters do something, so that agreement means something.
    assert!(relative(&base[0][11], &base[1][11]) > 0.1);
}

/// Rows without adapters are the base model to the last bit, with or without others' adapters beside them.
#[test]
fn no_adapters_and_closed_gates_are_the_same_bits() {
    for precision in [Precision::Fp32, Precision::Int8] {
        let tiny = Tiny::new("llama");
        let dir = tempfile::tempdir().unwrap();
        let source = tiny.write(&dir.path().join("base"), &tiny.tensors(3));
        let mut runner = Runner::open(&import(&source, dir.path(), precision), 2, 32);
        let lora = adapters(&tiny, &runner.file.graph.groups);
        let tokens = Random(1).tokens(12, tiny.vocab);
        let both = [&tokens[..10], &tokens[2..]];
        let mut bare = runner.run(&Run::plain(0, &both, &[0, 0]));
        let next = [&tokens[3..4], &tokens[4..5]];
        bare.extend(runner.run(&Run::plain(0, &next, &[10, 10])));

        runner.set_adapters(Some(&lora));
        let gate = |value: f32| -> Vec<Vec<f32>> { RANKS.iter().map(|&r| vec![value; r]).collect() };
        let gates = [gate(0.0), gate(1.0)];
        let mut mixed = runner.run(&Run { first_row: 0, tokens: &both, past: &[0, 0], gates: &gates });
        mixed.extend(runner.run(&Run { first_row: 0, tokens: &next, past: &[10, 10], gates: &gates }));
        // The first row's tokens in the prefill, and in the step after it.
        for i in (0..10).chain([20]) {
            let same = bare[i].iter().zip(&mixed[i]).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{precision}: logits {i} differ by {}", difference(&bare[i], &mixed[i]));
        }
        assert!(difference(&bare[21], &mixed[21]) > 0.01, "the other row's adapters do nothing");
    }
}

//! Every instruction set that this CPU has gives the bits of plain Rust, and plain Rust gives what the formulas say.

use npc_onnx::packed::{Packed, pack};
use proptest::prelude::*;

use super::super::disjoint::Disjoint;
use super::acts::BLOCK;
use super::weights::{Bits, PANEL};
use super::*;

fn plain() -> Cpu {
    *Cpu::all().last().unwrap()
}

/// Numbers that look random, the same at every run.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// A code around 128 of a number around 0, and the number that it stands for.
fn byte(x: f32) -> u8 {
    (x * 127.0 + 128.0).clamp(1.0, 255.0) as u8
}

fn weight(code: u8) -> f64 {
    f64::from(code) - 128.0
}

fn quantized(cpu: Cpu, rows: &[Vec<f32>]) -> Activations {
    let mut acts = Activations::default();
    let inputs = rows[0].len();
    let tall = cpu.is_tall(rows.len(), inputs);
    acts.resize(rows.len(), inputs, (tall, true));
    for (tile, rows) in rows.chunks(TILE).enumerate() {
        let groups = groups(inputs) * TILE;
        let mut part = TileMut {
            codes: &mut acts.codes[tile * TILE * inputs..][..TILE * inputs],
            scales: &mut acts.scales[tile * groups..][..groups],
            starts: &mut acts.starts[tile * groups..][..groups],
            flat: &mut acts.flat[tile * groups * GROUP..][..groups * GROUP],
        };
        for (row, values) in rows.iter().enumerate() {
            cpu.quantize(&mut part, row, values);
        }
        let (band, tile) = (tile / BAND_TILES, tile % BAND_TILES);
        for group in 0..acts.tall.len().min(1) * super::groups(inputs) {
            let at = ((band * super::groups(inputs) + group) * BAND + tile * TILE) * GROUP;
            part.write_tall(group, &mut acts.tall[at..][..TILE * GROUP]);
        }
    }
    acts
}

/// A matrix of random numbers; for four bits each of 16 levels.
fn matrix(four: bool, outputs: usize, inputs: usize, seed: u64) -> Packed {
    let mut numbers = numbers(seed, outputs * inputs);
    if four {
        for x in &mut numbers {
            *x = (*x * 7.5).round() * 0.01;
        }
    }
    pack(&numbers, inputs)
}

fn lines(cpu: Cpu, weights: &Weights<'_>, panel: usize) -> Vec<Line> {
    let mut lines = vec![Line::default(); weights.inputs() / LINE];
    weights.expand(cpu, panel, &mut lines);
    lines
}

/// Pages with numbers that look random, in one of the precisions; what nobody sees, behind position `most`, is no number
/// where there may be one.
fn cache<S: Stored>(
    (dim, kv_heads, head): (usize, usize, usize),
    table: &[u32],
    most: usize,
    seed: u64,
) -> Vec<f32> {
    let half = half_bytes(dim, size_of::<S>());
    // As floats: the bytes must begin where one may.
    let mut pages = vec![0.0_f32; 6 * kv_heads * 2 * half / size_of::<f32>()];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut pages);
    let tokens = numbers(seed, 6 * kv_heads * 2 * PAGE * dim);
    let mut room = vec![S::zeroed(); dim];
    for (index, (half, tokens)) in
        bytes.chunks_exact_mut(half).zip(tokens.chunks_exact(PAGE * dim)).enumerate()
    {
        for (slot, values) in tokens.chunks_exact(dim).enumerate() {
            let scale = plain().round(values, &mut room);
            half[slot * 4..][..4].copy_from_slice(&scale.to_ne_bytes());
            for (d, number) in room.iter().enumerate() {
                let (at, number) = match index % 2 {
                    0 => (S::key_at(d, slot), number.key()),
                    _ => (S::value_at(d, slot, dim), *number),
                };
                half[SCALES + at * size_of::<S>()..][..size_of::<S>()]
                    .copy_from_slice(bytemuck::bytes_of(&number));
            }
        }
    }
    for position in most + 1..table.len() * PAGE {
        let (page, slot) = (table[position / PAGE] as usize, position % PAGE);
        let keys = (page * kv_heads + head) * 2 * half;
        for start in [keys, keys + half] {
            bytes[start + slot * 4..][..4].copy_from_slice(&f32::NAN.to_ne_bytes());
        }
        for d in 0..dim {
            // Of `bf16` it is no number.
            let at = keys + half + SCALES + S::value_at(d, slot, dim) * size_of::<S>();
            bytes[at..][..size_of::<S>()].fill(0xff);
        }
    }
    pages
}

/// Every CPU's attention equals plain Rust's, which equals the formula.
fn attention_is_right(
    (dim, kv_heads, head): (usize, usize, usize),
    table: &[u32],
    most: usize,
    spans: &[(usize, usize)],
    seed: u64,
    kept: Kept,
) -> Result<(), TestCaseError> {
    let mut pages = match kept {
        Kept::Int8 => cache::<i8>((dim, kv_heads, head), table, most, seed),
        Kept::Bf16 => cache::<u16>((dim, kv_heads, head), table, most, seed),
    };
    let pages = Disjoint::new(bytemuck::cast_slice_mut(&mut pages));
    // SAFETY: nobody writes to them.
    let view = unsafe { Head::new(&pages, kept, (head, kv_heads), dim) };
    // What is read next changes nothing; it may have fewer pages, and more.
    let next = [table, table].concat();
    let view = view.before(Some(Next { index: 0, table: &next[..seed as usize % next.len()] }));
    let numbers: Vec<f32> = numbers(seed ^ 1, spans.len() * dim).iter().map(|q| q * 3.0).collect();
    let queries: Vec<Query<'_>> = numbers
        .chunks_exact(dim)
        .zip(spans)
        .map(|(values, (to, window))| Query { values, from: to.saturating_sub(*window), to: *to })
        .collect();
    let attend = |cpu: Cpu, queries: &[Query<'_>]| {
        let (mut space, mut out) = (vec![f32::NAN; room(dim, most)], vec![0.0; queries.len() * dim]);
        let mut outs: Vec<&mut [f32]> = out.chunks_exact_mut(dim).collect();
        cpu.attend(view, table, queries, &mut space, &mut outs);
        out
    };
    let expected = attend(plain(), &queries);
    for cpu in Cpu::all() {
        prop_assert!(attend(cpu, &queries) == expected, "{:?}", cpu);
    }
    let number = |kind: usize, position: usize, d: usize| {
        let (page, slot) = (table[position / PAGE], position % PAGE);
        let (scale, number) = match kept {
            Kept::Int8 => {
                let half = if kind == 0 { view.keys::<i8>(page) } else { view.values::<i8>(page) };
                let number = match kind {
                    0 => half.numbers[i8::key_at(d, slot)].key(),
                    _ => half.numbers[i8::value_at(d, slot, dim)],
                };
                (half.scales[slot], f32::from(number))
            }
            Kept::Bf16 => {
                let half = if kind == 0 { view.keys::<u16>(page) } else { view.values::<u16>(page) };
                let at = if kind == 0 { u16::key_at(d, slot) } else { u16::value_at(d, slot, dim) };
                (half.scales[slot], math::bf16_to_f32(half.numbers[at]))
            }
        };
        f64::from(scale) * f64::from(number)
    };
    for (query, found) in queries.iter().zip(expected.chunks_exact(dim)) {
        // Its neighbours change no bit.
        prop_assert!(attend(Cpu::detect(), std::slice::from_ref(query)) == found);
        // In 8 bits a query is rounded too, and weights to 15.
        let (mut codes, mut scale) = (vec![0_i8; dim], 1.0);
        if kept == Kept::Int8 {
            scale = plain().round(query.values, &mut codes);
        }
        let rounded = |d: usize| f64::from(scale) * f64::from(codes[d]);
        let q = |d: usize| if kept == Kept::Int8 { rounded(d) } else { f64::from(query.values[d]) };
        let score = |p: usize| (0..dim).map(|d| q(d) * number(0, p, d)).sum::<f64>() / (dim as f64).sqrt();
        let span = query.from..=query.to;
        let weights: Vec<f64> = span.clone().map(|p| score(p).exp()).collect();
        let total: f64 = weights.iter().sum();
        for d in 0..dim {
            let exact: f64 = span.clone().zip(&weights).map(|(p, w)| w / total * number(1, p, d)).sum();
            let bound = if kept == Kept::Int8 { 2e-4 } else { 1e-5 };
            prop_assert!((f64::from(found[d]) - exact).abs() < bound);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn products_are_the_same_everywhere_and_right(
        four in any::<bool>(), rows in 1_usize..40, blocks in 1_usize..20, panels in 1_usize..4, seed in any::<u64>(), scale in 1e-3_f32..1e3,
    ) {
        let (inputs, outputs) = (blocks * BLOCK, panels * PANEL - 3);
        let packed = matrix(four, outputs, inputs, seed);
        prop_assert_eq!(packed.bits == Bits::Four, four);
        let weights = Weights::new(packed.bits, outputs, inputs, &packed.bytes).unwrap();
        let rows: Vec<Vec<f32>> = (0..rows)
            .map(|row| numbers(seed ^ row as u64, inputs).iter().map(|x| x * scale).collect())
            .collect();
        let acts = quantized(plain(), &rows);
        let mut products = vec![[0.0; PANEL]; rows.len().next_multiple_of(TILE) * panels];
        for cpu in Cpu::all() {
            let own = quantized(cpu, &rows);
            prop_assert!(own.codes == acts.codes && own.scales == acts.scales && own.starts == acts.starts, "{:?}", cpu);
            for panel in 0..panels {
                let codes = lines(cpu, &weights, panel);
                prop_assert!(codes.iter().zip(lines(plain(), &weights, panel)).all(|(a, b)| a.0 == b.0), "{:?}", cpu);
                for tile in 0..rows.len().div_ceil(TILE) {
                    let count = TILE.min(rows.len() - tile * TILE);
                    let (mut expected, mut found) = ([[0.5; PANEL]; TILE], [[0.5; PANEL]; TILE]);
                    plain().product(&codes, &weights.scales(panel), &acts.tile(tile), count, (&mut Soon::new([&[7; 300], &[]], &[]), 5), &mut expected);
                    cpu.product(&codes, &weights.scales(panel), &acts.tile(tile), count, (&mut Soon::new([&[7; 300], &[]], &[]), 5), &mut found);
                    prop_assert_eq!(expected, found, "{:?}", cpu);
                    products[(panel * rows.len().div_ceil(TILE) + tile) * TILE..][..TILE].copy_from_slice(&found);
                }
                // SAFETY: there are no others in this test's thread.
                let mut bands = unsafe { Products::new(cpu) };
                // Alone, and after another one.
                let before = panel.saturating_sub(1);
                let mut room = vec![vec![Line::default(); 2 * inputs / LINE]; 2];
                let [both, alone] = &mut room[..] else { unreachable!() };
                let both = Pair::new(cpu, &weights, before..panel + 1, both, false);
                let alone = Pair::new(cpu, &weights, panel..panel + 1, alone, false);
                for (band, pair) in (0..rows.len().div_ceil(BAND)).flat_map(|band| [(band, &both), (band, &alone)]) {
                    let count = BAND.min(rows.len() - band * BAND);
                    let mut found = [[[0.5; PANEL]; BAND]; 2];
                    bands.band(pair, (&own, band), count, Soon::new([&[7; 300], &[7; 50]], &[Lines::of(&[7; 80])]), &mut found);
                    for (panel, found) in (panel + 1 - pair.count..=panel).zip(&found) {
                        let at = (panel * rows.len().div_ceil(TILE) + band * BAND_TILES) * TILE;
                        prop_assert_eq!(&found[..count], &products[at..][..count], "{:?}", cpu);
                    }
                }
            }
        }
        // Against the definition, in double precision; off by what 8-bit activations are off.
        let mut weight = vec![0.0; inputs];
        for output in 0..outputs {
            weights.row(output, &mut weight);
            let (panel, column) = (output / PANEL, output % PANEL);
            for (index, x) in rows.iter().enumerate() {
                let product = &products[panel * rows.len().div_ceil(TILE) * TILE + index];
                let found = f64::from(product[column]);
                let exact: f64 = weight.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                let bound: f64 = weight.iter().map(|w| f64::from(w.abs() * scale)).sum::<f64>() / 250.0;
                prop_assert!((found - exact).abs() <= bound + 1e-9, "{} for {}", found, exact);
            }
        }
    }

    #[test]
    fn attention_is_the_same_everywhere_and_right(
        spans in prop::collection::vec((0_usize..70, 0_usize..80), 1..30), seed in any::<u64>(),
    ) {
        let (dim, kv_heads, head) = (48, 2, 1);
        let table = [5, 0, 3, 1, 4];
        let most = spans.iter().map(|(to, _)| *to).max().unwrap();
        for kept in [Kept::Int8, Kept::Bf16] {
            attention_is_right((dim, kv_heads, head), &table, most, &spans, seed, kept)?;
        }
    }

    #[test]
    fn long_attention_is_the_same_everywhere_and_right(
        spans in prop::collection::vec((0_usize..1100, 0_usize..1100), 1..5), seed in any::<u64>(),
    ) {
        // More pages than are summed in whole numbers.
        let table: Vec<u32> = (0..70).map(|page| (page * 5 + 3) % 6).collect();
        let most = table.len() * PAGE - 1;
        attention_is_right((16, 2, 1), &table, most, &spans, seed, Kept::Int8)?;
    }

    #[test]
    fn norms_are_the_same_everywhere_and_right(length in 1_usize..90, seed in any::<u64>()) {
        let (x, weight) = (numbers(seed, length), numbers(seed ^ 1, length));
        let run = |cpu: Cpu| {
            let mut normed = vec![0.0; length];
            cpu.rms_norm(&x, &weight, 1e-5, &mut normed);
            normed
        };
        let expected = run(plain());
        for cpu in Cpu::all() {
            prop_assert!(run(cpu) == expected, "{:?}", cpu);
        }
        let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / length as f64;
        for i in 0..length {
            let normed = f64::from(x[i]) / (mean + 1e-5).sqrt() * f64::from(weight[i]);
            prop_assert!((f64::from(expected[i]) - normed).abs() < 1e-5);
        }
    }

    #[test]
    fn swiglu_is_the_same_everywhere_and_right(
        rows in 1_usize..=BAND, half in 0_usize..2, with_bias in any::<bool>(), seed in any::<u64>(),
    ) {
        let found = |seed: u64| -> [[[f32; PANEL]; BAND]; 2] {
            let numbers = numbers(seed, 2 * BAND * PANEL);
            std::array::from_fn(|p| std::array::from_fn(|row| {
                std::array::from_fn(|i| numbers[(p * BAND + row) * PANEL + i] * 20.0)
            }))
        };
        let bias = |seed: u64| -> [f32; 2 * PANEL] { numbers(seed, 2 * PANEL).try_into().unwrap() };
        let (gates, ups) = (found(seed), found(seed ^ 1));
        let (gates_bias, ups_bias) = (bias(seed ^ 2), bias(seed ^ 3));
        let first = half * 2 * PANEL;
        let run = |cpu: Cpu| {
            let mut out = vec![[0.5; GROUP]; rows];
            cpu.gate([&gates, &ups], with_bias.then_some([&gates_bias, &ups_bias]), first, &mut out);
            out
        };
        let expected = run(plain());
        for cpu in Cpu::all() {
            prop_assert!(run(cpu) == expected, "{:?}", cpu);
        }
        for (row, out) in expected.iter().enumerate() {
            for (i, out) in out.iter().enumerate() {
                if !(first..first + 2 * PANEL).contains(&i) {
                    prop_assert_eq!(*out, 0.5);
                    continue;
                }
                let (p, column) = ((i - first) / PANEL, i % PANEL);
                let bias = |bias: &[f32]| if with_bias { f64::from(bias[i - first]) } else { 0.0 };
                let gate = f64::from(gates[p][row][column]) + bias(&gates_bias);
                let up = f64::from(ups[p][row][column]) + bias(&ups_bias);
                prop_assert!((f64::from(*out) - gate / (1.0 + (-gate).exp()) * up).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn adapters_are_the_same_everywhere_and_right(
        inputs in (1_usize..40).prop_map(|n| n * 2), outputs in 1_usize..70, from in 0_usize..20, seed in any::<u64>(),
    ) {
        let (ranks, from) = (16, from.min(outputs - 1));
        let a = numbers(seed, inputs * ranks);
        let b = numbers(seed ^ 1, ranks * outputs);
        let rows: Vec<Vec<f32>> = (0..3).map(|row| numbers(seed ^ (row + 2), inputs)).collect();
        let x = [&rows[0][..], &rows[1], &rows[2]];
        let expected = plain().lora_down(&a, ranks, RANKS, x);
        let mut up = vec![1.0; outputs - from];
        plain().lora_up(&b[..5 * outputs], outputs, from, &expected[0][..5], &mut up);
        for cpu in Cpu::all() {
            prop_assert!(cpu.lora_down(&a, ranks, RANKS, x) == expected);
            let mut found = vec![1.0; outputs - from];
            cpu.lora_up(&b[..5 * outputs], outputs, from, &expected[0][..5], &mut found);
            prop_assert_eq!(&found, &up);
        }
        for (row, x) in expected.iter().zip(x) {
            for (lane, u) in row.iter().enumerate() {
                let exact: f64 =
                    (0..inputs).map(|k| f64::from(x[k]) * f64::from(a[k * ranks + RANKS + lane])).sum();
                prop_assert!((f64::from(*u) - exact).abs() < 1e-4);
            }
        }
        for (i, y) in up.iter().enumerate() {
            let added: f64 =
                (0..5).map(|r| f64::from(expected[0][r]) * f64::from(b[r * outputs + from + i])).sum();
            prop_assert!((f64::from(*y) - 1.0 - added).abs() < 1e-3);
        }
    }

    #[test]
    fn a_of_adapters_in_8_bits_is_the_same_everywhere_and_right(
        blocks in 1_usize..6, octets in 1_usize..=OCTETS, rows in prop::collection::vec(0_usize..2 * TILE, 1..=ROWS), seed in any::<u64>(),
    ) {
        let inputs = blocks * BLOCK;
        let x: Vec<Vec<f32>> = (0..2 * TILE as u64).map(|row| numbers(seed ^ row, inputs)).collect();
        let acts = quantized(plain(), &x);
        let lanes: Vec<Lane<'_>> =
            rows.iter().map(|row| Lane { acts: acts.flat_tile(row / TILE), lane: row % TILE }).collect();
        let lines: Vec<RankLine> = numbers(seed ^ 0x20, octets * inputs * RANKS)
            .chunks_exact(RANKS * INPUTS)
            .map(|values| RankLine(std::array::from_fn(|i| byte(values[i]))))
            .collect();
        let scales: [[f32; RANKS]; OCTETS] =
            std::array::from_fn(|m| std::array::from_fn(|i| 0.01 * (m * RANKS + i + 1) as f32));
        let octets: Vec<Octet<'_>> =
            lines.chunks_exact(inputs / INPUTS).zip(&scales).map(|(lines, scales)| Octet { lines, scales }).collect();
        let run = |cpu: Cpu| {
            let mut out = [[[0.0; RANKS]; ROWS]; OCTETS];
            cpu.ranks_down(&octets, &lanes, &[], &mut out);
            out
        };
        let expected = run(plain());
        for cpu in Cpu::all() {
            prop_assert_eq!(&run(cpu), &expected, "{:?}", cpu);
        }
        for (octet, found) in octets.iter().zip(&expected) {
            for (row, found) in rows.iter().zip(found) {
                for (rank, found) in found.iter().enumerate() {
                    let scale = f64::from(octet.scales[rank]);
                    let exact: f64 = (0..inputs)
                        .map(|k| weight(octet.lines[k / INPUTS].0[rank * INPUTS + k % INPUTS]) * f64::from(x[*row][k]))
                        .sum::<f64>() * scale;
                    prop_assert!((f64::from(*found) - exact).abs() < 0.01 * scale * 128.0 * inputs as f64);
                }
            }
        }
    }

    #[test]
    fn b_of_adapters_in_8_bits_is_the_same_everywhere_and_right(
        (panels, first_panel, from, count) in (2_usize..5, 0_usize..9, 0_usize..3, 1_usize..=2), seed in any::<u64>(),
        slots in prop::collection::vec((1_usize..=TILE, any::<bool>(), prop::collection::vec(1_usize..4, 1..5)), 1..4),
    ) {
        let from = from.min(panels - count);
        let (mut ups, mut memory, mut u, mut own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut first, mut at) = (0, 0);
        for (rows, is_usual, quads) in &slots {
            if first + rows > BAND {
                break;
            }
            let quads: Vec<usize> = quads.iter().map(|quads| if *is_usual { 2 } else { *quads }).collect();
            let width: usize = quads.iter().sum();
            own.push(Slot {
                panels: (first_panel, first_panel + panels),
                first,
                rows: *rows,
                quads: u.len(),
                width,
                at,
                entries: memory.len(),
                adapters: quads.len(),
                is_usual: *is_usual,
            });
            for quads in quads {
                let b = numbers(seed ^ memory.len() as u64, panels * quads * PANEL * LINE);
                let lines: Vec<Line> =
                    b.chunks_exact(PANEL * LINE).map(|v| Line(std::array::from_fn(|i| byte(v[i])))).collect();
                memory.push((lines, quads));
            }
            let codes = numbers(seed ^ (100 + at as u64), rows * width * LINE);
            u.extend(codes.as_chunks::<LINE>().0.iter().map(|u| u.map(|u| (u * 127.0) as i8)));
            first += rows;
            at += rows;
        }
        ups.extend(memory.iter().map(|(lines, quads)| UpLines::new(lines, *quads)));
        let row = |slot: &Slot, row: usize| &u[slot.quads + row * slot.width..][..slot.width];
        let sum = |quads: &[[i8; LINE]]| -128 * quads.as_flattened().iter().map(|u| i32::from(*u)).sum::<i32>();
        let starts: Vec<i32> =
            own.iter().flat_map(|slot| (0..slot.rows).map(move |r| sum(row(slot, r)))).collect();
        let scales: Vec<f32> = (0..at).map(|row| 0.5 + row as f32).collect();
        // In another order.
        let entries: Vec<u32> = (0..ups.len() as u32).rev().collect();
        ups.reverse();
        let all = Ups { lines: &ups, entries: &entries, quads: &u, starts: &starts, scales: &scales };
        let run = |cpu: Cpu| {
            let mut y = [[[0.25; PANEL]; BAND]; 2];
            let panels = first_panel + from..first_panel + from + count;
            // SAFETY: the lines are there, and have the panels.
            unsafe { cpu.ranks_up(&all, &own, panels, &mut y) };
            y
        };
        let expected = run(plain());
        for cpu in Cpu::all() {
            prop_assert_eq!(&run(cpu), &expected, "{:?}", cpu);
        }
        for (p, y) in expected.iter().enumerate() {
            for (r, y) in y.iter().enumerate() {
                let slot = own.iter().find(|slot| p < count && (slot.first..slot.first + slot.rows).contains(&r));
                for (column, found) in y.iter().enumerate() {
                    let Some(slot) = slot else {
                        prop_assert_eq!(*found, 0.25);
                        continue;
                    };
                    let row_in = r - slot.first;
                    let lines = memory[slot.entries..][..slot.adapters]
                        .iter()
                        .flat_map(|(lines, quads)| &lines[(from + p) * quads..][..*quads]);
                    let exact: f64 = lines
                        .zip(row(slot, row_in))
                        .flat_map(|(line, u)| (0..LINE).map(move |i| weight(line.0[column * LINE + i]) * f64::from(u[i])))
                        .sum();
                    let scale = f64::from(scales[slot.at + row_in]);
                    prop_assert!((f64::from(*found) - 0.25 - scale * exact).abs() < 1e-1 * scale);
                }
            }
        }
    }

    #[test]
    fn u_is_rounded_the_same_everywhere_and_to_the_nearest(
        seed in any::<u64>(),
        ranks in prop_oneof![prop::collection::vec(1_usize..20, 1..6), prop::collection::vec(Just(8_usize), 1..10)],
    ) {
        let u = numbers(seed, 100);
        let pieces: Vec<Piece> = ranks.iter().enumerate().map(|(i, ranks)| Piece { first: i * 7, ranks: *ranks }).collect();
        let gates = numbers(seed ^ 1, pieces.len());
        let quads: usize = ranks.iter().map(|ranks| ranks.div_ceil(LINE)).sum();
        let run = |cpu: Cpu| {
            let mut codes = vec![[55_i8; LINE]; quads];
            let (scale, start) = cpu.ranks_round(&u, &pieces, &gates, &mut codes);
            (scale.to_bits(), start, codes)
        };
        let (scale, start, codes) = run(plain());
        for cpu in Cpu::all() {
            prop_assert_eq!(&run(cpu), &(scale, start, codes.clone()), "{:?}", cpu);
        }
        let mut codes = codes.as_flattened().iter();
        let mut sum = 0;
        for (piece, gate) in pieces.iter().zip(&gates) {
            for i in 0..piece.ranks.next_multiple_of(LINE) {
                let (code, scale) = (*codes.next().unwrap(), f32::from_bits(scale));
                let value = if i < piece.ranks { gate * u[piece.first + i] } else { 0.0 };
                prop_assert!((f32::from(code) * scale - value).abs() <= scale * 0.501);
                sum += i32::from(code);
            }
        }
        prop_assert_eq!(start, -128 * sum);
    }

    #[test]
    fn exp_is_near_the_exact_one(x in -86.0_f32..88.0) {
        let exact = f64::from(x).exp();
        prop_assert!((f64::from(math::exp(x)) / exact - 1.0).abs() < 5e-7);
    }

    #[test]
    fn keys_and_values_are_rounded_the_same_everywhere_and_to_the_nearest(
        seed in any::<u64>(), count in 1_usize..80, power in -30_i32..30,
    ) {
        let values: Vec<f32> = numbers(seed, count).iter().map(|x| x * 2.0_f32.powi(power)).collect();
        let round = |cpu: Cpu| {
            let mut out = vec![0_i8; count];
            let scale = cpu.round(&values, &mut out);
            (scale.to_bits(), out)
        };
        let (scale, codes) = round(plain());
        for cpu in Cpu::all() {
            prop_assert_eq!(round(cpu), (scale, codes.clone()), "{:?}", cpu);
        }
        let scale = f32::from_bits(scale);
        for (value, code) in values.iter().zip(codes) {
            prop_assert!((f32::from(code) * scale - value).abs() <= scale * 0.501, "{} is {} of {}", value, code, scale);
        }
    }

    #[test]
    fn bf16_rounds_to_the_nearest(x in any::<f32>().prop_filter("finite", |x| x.is_finite() && x.abs() < 1e38)) {
        let back = math::bf16_to_f32(f32_to_bf16(x));
        prop_assert!((back - x).abs() <= x.abs() / 256.0 + f32::from_bits(0x8000));
    }
}

#[test]
fn a_block_of_zeros_stays_zero() {
    let acts = quantized(Cpu::detect(), &[vec![0.0; 64]]);
    assert!(acts.codes.iter().all(|code| *code == 0) && acts.starts.iter().all(|start| *start == 0));
}

#[test]
fn sums_of_exponentials_are_the_same_everywhere_and_right() {
    for (seed, count) in [(1, 1), (2, 16), (3, 511), (4, 512), (5, 49_152)] {
        let values: Vec<f32> = numbers(seed, count).iter().map(|value| value * 30.0).collect();
        let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exact: f64 = values.iter().map(|value| f64::from(value - highest).exp()).sum();
        let found = plain().exp_sum(&values, highest);
        assert!((found / exact - 1.0).abs() < 1e-5, "{found} for {exact}");
        for cpu in Cpu::all() {
            assert_eq!(cpu.exp_sum(&values, highest).to_bits(), found.to_bits(), "{}", cpu.isa().name());
        }
    }
    let strange = [f32::NAN, 0.0, f32::NEG_INFINITY, 0.0];
    for cpu in Cpu::all() {
        assert!((cpu.exp_sum(&strange, 0.0) - 2.0).abs() < 1e-6);
    }
}

#[test]
fn tops_are_the_largest_numbers_of_every_row() {
    let (nan, low) = (f32::NAN, f32::NEG_INFINITY);
    let mut rows = vec![[nan; PANEL], [low; PANEL], [-3.0; PANEL]];
    for at in 0..PANEL {
        let mut row: [f32; PANEL] = std::array::from_fn(|i| if i % 3 == 0 { nan } else { -1.0 - i as f32 });
        row[at] = 7.5;
        rows.push(row);
    }
    for cpu in Cpu::all() {
        let mut found = vec![0.0; rows.len()];
        cpu.tops(&rows, |row, top| found[row] = top);
        let expected: Vec<f32> = rows.iter().map(|row| crate::engine::sampler::largest(row)).collect();
        assert_eq!(found, expected, "{}", cpu.isa().name());
    }
}

#[test]
fn a_tile_is_quantized_as_its_rows_are() {
    for inputs in [GROUP, 3 * GROUP, 2 * GROUP + BLOCK] {
        let mut all = numbers(5, TILE * inputs);
        // Zeros, numbers without a scale, what is no number, and some beside numbers; a group of each.
        all[..GROUP].fill(0.0);
        all[inputs..inputs + GROUP].fill(1e-39);
        all[2 * inputs..2 * inputs + GROUP].fill(f32::NAN);
        all[3 * inputs + 9] = f32::INFINITY;
        all[4 * inputs + 5] = f32::NAN;
        all[5 * inputs + 7] = 1e30;
        let rows: [&[f32]; TILE] = std::array::from_fn(|row| &all[row * inputs..][..inputs]);
        for cpu in Cpu::all() {
            let groups = groups(inputs) * TILE;
            let mut found = Vec::new();
            for together in [false, true] {
                let (mut codes, mut flat) = (vec![1; TILE * inputs], vec![1; groups * GROUP]);
                let (mut scales, mut starts) = (vec![1.0; groups], vec![1; groups]);
                let mut part =
                    TileMut { codes: &mut codes, scales: &mut scales, starts: &mut starts, flat: &mut flat };
                if together {
                    cpu.quantize_tile(&mut part, &rows);
                } else {
                    rows.iter().enumerate().for_each(|(row, values)| cpu.quantize(&mut part, row, values));
                }
                found.push((codes, flat, scales, starts));
            }
            assert_eq!(found[0], found[1], "{} with {inputs} inputs", cpu.isa().name());
        }
    }
}

//! What a layer computes in a step, stage by stage, on all threads in one call: waking them, and waiting for the last one,
//! costs as much as a small stage itself.

use ort::operator::ComputeContext;

use super::super::adapter::Input;
use super::super::disjoint::{Disjoint, Late};
use super::super::kernel::{BAND, Cpu, TILE, Weights, grow};
use super::super::mixes::{Ahead, Mixes};
use super::super::plan::Plan;
use super::super::stages::{self, Stage};
use super::super::state::{GROUPS, Room, Scratch, State};
use super::adapters::{Adapters, First};
use super::attention::{Attention, Sizes, Tables};
use super::gated::Gated;
use super::prepare::{Filling, Prepare, Prepared};
use super::product::{Product, pairs, pieces};

/// A linear layer's parameters.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    pub weights: Weights<'a>,
    pub bias: Option<&'a [f32]>,
}

/// A layer's parameters.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// Before the attention, and before the MLP.
    pub norms: [&'a [f32]; 2],
    /// Queries, keys and values; what comes out of the attention; gates and ups; down.
    pub linear: [Linear<'a>; GROUPS],
    pub tables: Tables<'a>,
}

/// A layer, and what it is to compute.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    pub layer: usize,
    pub attention: Sizes,
    pub parameters: Parameters<'a>,
    /// Behind the keys and values only the tokens that want logits are computed.
    pub picked: bool,
}

/// On what, and with what, a layer is computed.
#[derive(Clone, Copy)]
struct Step<'a> {
    cpu: Cpu,
    threads: usize,
    layer: usize,
    /// Some of its adapters are in floats.
    has_floats: bool,
    plan: &'a Plan,
}

impl<'a> Step<'a> {
    fn rows(&self) -> usize {
        self.plan.tokens.len()
    }

    /// The adapters of a linear layer, and what they read next.
    fn adapters(
        &self,
        group: usize,
        weights: &Weights<'_>,
        mixes: &'a mut Mixes,
    ) -> (Option<Adapters<'a>>, Ahead<'a>) {
        if self.plan.adapters.is_empty() {
            return (None, Ahead::default());
        }
        let sizes = (weights.outputs(), pairs(weights) * self.rows().div_ceil(BAND));
        Adapters::new((self.cpu, self.threads), self.plan, (self.layer, group), sizes, mixes)
    }

    /// What comes before the product of a linear layer.
    fn first(
        &self,
        prepare: Prepare<'a>,
        inputs: usize,
        adapters: Option<Adapters<'a>>,
        room: &'a mut Room,
    ) -> First<'a> {
        let reads = (adapters.is_some(), adapters.is_some() && self.has_floats);
        First::new(Prepared::new(self.cpu, prepare, (self.rows(), inputs), reads, room), adapters)
    }

    /// The product of a linear layer, without a residual.
    fn product<'b>(
        &self,
        Linear { weights, bias }: Linear<'b>,
        adapters: Option<&'b Adapters<'b>>,
        ahead: Ahead<'b>,
    ) -> Product<'b> {
        Product {
            cpu: self.cpu,
            weights,
            rows: self.rows(),
            bias,
            residual: None,
            tops: None,
            adapters,
            ahead,
        }
    }
}

/// Stages up to the one that writes keys and values.
const KEPT: usize = 4;

/// So many values that one stage writes and a later one reads.
fn late(room: &mut Vec<f32>, length: usize) -> Late<'_, [f32]> {
    grow(room, length);
    Late::new(&mut room[..length])
}

/// These rows of `x`, side by side.
fn gathered<'a>(rows: &[usize], x: &[f32], hidden: usize, room: &'a mut Vec<f32>) -> &'a [f32] {
    room.clear();
    for row in rows {
        room.extend_from_slice(&x[row * hidden..][..hidden]);
    }
    room
}

impl Pass<'_> {
    /// `x`: `[tokens, hidden]`; `out`: `[tokens that are computed to the end, hidden]`.
    pub fn run(
        &self,
        context: &ComputeContext,
        state: &mut State,
        x: &[f32],
        out: &Disjoint<'_, f32>,
    ) -> ort::Result<()> {
        let State { cpu, threads, pages, plan, picked, picked_rows, scratch } = state;
        let (cpu, threads, kept, layer) = (*cpu, *threads, pages.kept(), self.layer);
        let (Parameters { norms, linear, tables }, sizes) = (self.parameters, self.attention);
        let Scratch { rooms, mixes, qkv, picked: residual, attended, between, shares, .. } = scratch;
        let [to_qkv, to_o, to_gate_up, to_down] = linear;
        let [qkv_room, o_room, gate_up_room, down_room] = rooms;
        let [qkv_mixes, o_mixes, gate_up_mixes, down_mixes] = mixes;
        let (hidden, intermediate) = (to_down.weights.outputs(), to_down.weights.inputs());

        // All tokens have keys and values; the rest is computed of those that are asked for.
        let has_floats = plan.adapters.iter().any(|adapter| adapter.has_floats);
        let all = Step { cpu, threads, layer, has_floats, plan };
        let rows = (self.picked && picked_rows.len() < all.rows()).then_some(&picked_rows[..]);
        let step = Step { plan: if rows.is_some() { picked } else { plan }, ..all };
        let residual = rows.map_or(x, |rows| gathered(rows, x, hidden, residual));
        let (qkv, attended) =
            (late(qkv, all.rows() * sizes.width()), late(attended, step.rows() * sizes.queries()));
        let between = late(between, step.rows() * hidden);
        // SAFETY: the only calls; each is read in the stages behind its own alone.
        let (qkv_out, attended_out, between_out) = unsafe {
            (Disjoint::new(qkv.fill()), Disjoint::new(attended.fill()), Disjoint::new(between.fill()))
        };
        let [input_norm, post_norm] = norms.map(|norm| Prepare::Norm(norm, sizes.epsilon));

        let (adapters, ahead) = all.adapters(0, &to_qkv.weights, qkv_mixes);
        let before_qkv = all.first(input_norm, hidden, adapters, qkv_room);
        let qkv_product = all.product(to_qkv, before_qkv.adapters.as_ref(), ahead);

        let pages = Disjoint::new(pages.layer(layer));
        let asking = step.plan;
        let attention = Attention { cpu, kept, sizes, tables, plan, asking, rows, pages };

        let (adapters, ahead) = step.adapters(1, &to_o.weights, o_mixes);
        let before_o = step.first(Prepare::Nothing, sizes.queries(), adapters, o_room);
        let o_product = step.product(to_o, before_o.adapters.as_ref(), ahead);
        let o_product = Product { residual: Some(residual), ..o_product };

        let (adapters, ahead) = step.adapters(2, &to_gate_up.weights, gate_up_mixes);
        let before_mlp = step.first(post_norm, hidden, adapters, gate_up_room);
        let (down_adapters, ahead_of_down) = step.adapters(3, &to_down.weights, down_mixes);
        let Room { acts, prepared } = down_room;
        let gated = Filling::new(cpu, (step.rows(), intermediate), down_adapters.is_some(), acts);
        // Adapters in floats multiply floats.
        let are_wanted = down_adapters.is_some() && has_floats;
        grow(prepared, if are_wanted { step.rows() * intermediate } else { 0 });
        let values = Disjoint::new(prepared);
        let values = are_wanted.then_some(&values);
        let gate_product = Gated {
            cpu,
            weights: to_gate_up.weights,
            outputs: intermediate,
            bias: to_gate_up.bias,
            adapters: before_mlp.adapters.as_ref(),
            ahead,
            rows: step.rows(),
            to: &gated,
            values,
        };
        let down_product = step.product(to_down, down_adapters.as_ref(), ahead_of_down);
        let input_of_down = |tile: usize| {
            let tile = tile.min(gated.tiles() - 1);
            let at = tile * TILE..step.rows().min((tile + 1) * TILE);
            // SAFETY: the stage that gates is over.
            unsafe {
                let x = values.map(|x| x.read(at.start * intermediate, at.len() * intermediate));
                Input { x: x.unwrap_or_default(), acts: gated.tile(tile) }
            }
        };

        let count = |linear: &Linear<'_>| pieces(&linear.weights, threads);
        let (writes, jobs) = (attention.writes(threads), attention.jobs(threads));
        let (qkv_count, o_count, down_count) = (count(&to_qkv), count(&to_o), count(&to_down));
        // A stage is behind those that write what it reads, so:
        // SAFETY: these are over where it is read.
        let (qkv, attended, between) =
            (|| unsafe { qkv.read() }, || unsafe { attended.read() }, || unsafe { between.read() });
        let prepare_qkv = |i: usize| before_qkv.prepare(i, x);
        let ranks_of_qkv = |i: usize| before_qkv.compute(i, x);
        // SAFETY: as above.
        let to_qkv = |i: usize| qkv_product.piece(i, qkv_count, unsafe { before_qkv.input.acts() }, &qkv_out);
        let write = |i: usize| attention.write(i, writes, qkv());
        let attend = |i: usize| attention.attend(i, jobs, qkv(), &attended_out);
        let prepare_o = |i: usize| before_o.prepare(i, attended());
        let ranks_of_o = |i: usize| before_o.compute(i, attended());
        // SAFETY: as above.
        let to_o = |i: usize| o_product.piece(i, o_count, unsafe { before_o.input.acts() }, &between_out);
        let prepare_mlp = |i: usize| before_mlp.prepare(i, between());
        let ranks_of_mlp = |i: usize| before_mlp.compute(i, between());
        // SAFETY: as above.
        let gate = |i: usize| gate_product.piece(i, threads, unsafe { before_mlp.input.acts() });
        let ranks_of_down = |i: usize| {
            if let Some(adapters) = &down_adapters {
                adapters.compute(i, input_of_down);
            }
        };
        let to_down = |i: usize| {
            let product = Product { residual: Some(between()), ..down_product };
            // SAFETY: as above.
            product.piece(i, down_count, unsafe { gated.acts() }, out);
        };
        let stages = [
            Stage::new(before_qkv.pieces(), &prepare_qkv),
            Stage::new(before_qkv.left(), &ranks_of_qkv),
            Stage::new(qkv_count, &to_qkv),
            Stage::new(writes, &write),
            Stage::new(jobs, &attend),
            Stage::new(before_o.pieces(), &prepare_o),
            Stage::new(before_o.left(), &ranks_of_o),
            Stage::new(o_count, &to_o),
            Stage::new(before_mlp.pieces(), &prepare_mlp),
            Stage::new(before_mlp.left(), &ranks_of_mlp),
            Stage::new(gate_product.pieces(threads), &gate),
            Stage::new(down_adapters.as_ref().map_or(0, Adapters::pieces), &ranks_of_down),
            Stage::new(down_count, &to_down),
        ];
        // With nobody that is asked for, the keys and values are all.
        stages::run(context, threads, shares, if step.rows() == 0 { &stages[..KEPT] } else { &stages })
    }
}

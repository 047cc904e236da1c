//! A step's adapters in one linear layer: every row has its own, and each adapter in use is read once.

use super::super::NEIGHBOURS;
use super::super::adapter::{Group, Ups, Used};
use super::super::disjoint::Disjoint;
use super::super::kernel::{Cpu, RANKS, ROWS};
use super::super::state::Plan;
use super::prepare::Prepared;
use crate::engine::MAX_MIX;

/// The adapters' A between the pieces of the base's product: one waits for memory, the other computes.
#[derive(Debug, Clone, Copy)]
pub struct Both {
    pub pieces: usize,
    pub adapters: usize,
}

impl Both {
    pub fn count(self) -> usize {
        self.pieces + self.adapters
    }

    /// Runs the `i`th of both.
    pub fn run(self, i: usize, piece: impl Fn(usize), adapter: impl Fn(usize)) {
        let (before, after) = (self.pieces * i / self.count(), self.pieces * (i + 1) / self.count());
        if after > before { piece(before) } else { adapter(i - before) }
    }
}

/// What the threads share.
pub struct Adapters<'a> {
    cpu: Cpu,
    plan: &'a Plan,
    layer: usize,
    group: usize,
    input: &'a Prepared<'a>,
    outputs: usize,
    /// Numbers from a row's outputs to the next one's.
    row: usize,
    /// Numbers of each entry in `down`.
    stride: usize,
    /// u = A·x, by entry.
    down: Disjoint<'a, f32>,
    /// u in 8 bits, by neighbours.
    ups: Disjoint<'a, Ups>,
}

impl<'a> Adapters<'a> {
    /// `None`: no adapter of the step has anything in this layer.
    pub fn new(
        cpu: Cpu,
        plan: &'a Plan,
        (layer, group): (usize, usize),
        input: &'a Prepared<'a>,
        (outputs, row): (usize, usize),
        down: &'a mut Vec<f32>,
        ups: &'a mut Vec<Ups>,
    ) -> Option<Self> {
        if !plan.adapters.iter().any(|used| used.adapter.group(layer, group).is_some()) {
            return None;
        }
        let stride = plan.adapters.iter().map(|used| used.adapter.ranks).max()?;
        down.resize(down.len().max(plan.entries.len() * stride), 0.0);
        ups.resize_with(ups.len().max(plan.neighbours.len()), Ups::default);
        let (down, ups) = (Disjoint::new(down), Disjoint::new(ups));
        Some(Self { cpu, plan, layer, group, input, outputs, row, stride, down, ups })
    }

    /// u = A·x of adapter `index` of the step, for all rows that use it, once the input is prepared.
    pub fn down(&self, index: usize) {
        let used = &self.plan.adapters[index];
        let Some(group) = used.adapter.group(self.layer, self.group) else { return };
        // SAFETY: the stage that prepares the input is over.
        let input = unsafe { self.input.input() };
        for users in used.users.chunks(ROWS) {
            let mut rows = [0; ROWS];
            for (row, (token, _)) in rows.iter_mut().zip(users) {
                *row = *token;
            }
            group.down(self.cpu, input, &rows[..users.len()], |row, first, values| {
                let at = users[row].1 * self.stride + first;
                // SAFETY: each entry belongs to one adapter, and so to one call; nobody reads it before all are there.
                unsafe { self.down.part(at, RANKS) }.copy_from_slice(&values);
            });
        }
    }

    /// y += Σᵢ gᵢ·sᵢ·Bᵢ(Aᵢx) for the rows of `neighbours[index]`, once all of [`Self::down`] and the base product are
    /// there: first those in 8 bits, then those in floats in the order of the mix.
    pub fn up(&self, index: usize, out: &Disjoint<'_, f32>) {
        let rows = self.plan.neighbours[index].clone();
        // SAFETY: every index has its own.
        let [ups] = (unsafe { self.ups.part(index, 1) }) else { return };
        let mut first = [None; MAX_MIX];
        let mut floats = false;
        let mut ys: [&mut [f32]; NEIGHBOURS] = Default::default();
        for (i, (y, row)) in ys.iter_mut().zip(rows.clone()).enumerate() {
            let mut own = [None; MAX_MIX];
            floats |= self.mix(row, &mut own);
            // Neighbours are of one sequence, and so of one mix.
            if i == 0 {
                first = own;
                ups.start(&first);
            }
            ups.push(&own);
            // SAFETY: every row is of one index; the base product is done.
            *y = unsafe { out.part(row * self.row, self.outputs) };
        }
        ups.add(self.cpu, &first, 0, &mut ys[..rows.len()]);
        if !floats {
            return;
        }
        for (row, y) in rows.zip(&mut ys) {
            for (group, gate, entry) in self.plan.used(row, self.layer, self.group) {
                if let Group::Float(group) = group {
                    group.up(self.cpu, gate, self.u(entry), 0, y);
                }
            }
        }
    }

    fn u(&self, entry: usize) -> &[f32] {
        // SAFETY: all of it is there, and nobody writes it any more.
        unsafe { self.down.read(entry * self.stride, self.stride) }
    }

    /// A row's adapters in 8 bits; returns whether it has others.
    fn mix<'b>(&'b self, row: usize, int8: &mut [Option<Used<'b>>; MAX_MIX]) -> bool {
        let (mut room, mut floats) = (int8.iter_mut(), false);
        for (group, gate, entry) in self.plan.used(row, self.layer, self.group) {
            match group.int8() {
                Some(group) => {
                    if let Some(room) = room.next() {
                        *room = Some(Used { group, gate, u: self.u(entry) });
                    }
                }
                None => floats = true,
            }
        }
        floats
    }
}

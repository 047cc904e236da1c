//! A step's adapters in one linear layer: every row has its own.
//!
//! u = A·x comes first (see [`By`]), B·u is added to the products of two panels while they are in the nearest cache: nothing
//! but u is kept between the two.

mod first;
#[cfg(test)]
mod tests;

use std::hint;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use npc_onnx::packed::PANEL;

use super::super::adapter::{Group, Input, Int8};
use super::super::disjoint::Disjoint;
use super::super::kernel::{
    BAND, BAND_TILES, Cpu, LINE, Lane, OCTETS, Octet, Product, RANKS, ROWS, Soon, TILE, TileRef, Ups,
};
use super::super::mixes::{Ahead, Found, LONG, Layout, Mixes, Rounded, User};
use super::super::plan::Plan;

pub use first::First;

/// What u = A·x is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// A band's rows, right after their preparation.
    Bands,
    /// Rows with the same mix, of one tile: of few rows, so that every thread has some.
    Runs,
    /// All rows of an adapter, so that it is read once, and by the thread that has fetched it: where rows have mixes of their
    /// own, A is most of what is read. What is found is rounded when it is added first.
    Adapters,
}

/// How far the rounding of a band is.
const OPEN: u8 = 0;
const TAKEN: u8 = 1;
const ROUNDED: u8 = 2;

/// Says that a band is rounded when it is dropped, in a panic too: nobody is to wait for ever.
struct Rounding<'a>(&'a AtomicU8);

impl Drop for Rounding<'_> {
    fn drop(&mut self) {
        // Release: who sees it sees what was written.
        self.0.store(ROUNDED, Ordering::Release);
    }
}

/// How often a thread looks whether another one has rounded a band before it lets someone else run.
const SPINS: u32 = 20_000;

/// Adapters for each thread from which on they are what u is cut into: some have more rows than others.
const ADAPTERS: usize = 4;

/// What the threads share.
pub struct Adapters<'a> {
    by: By,
    cpu: Cpu,
    plan: &'a Plan,
    layer: usize,
    group: usize,
    outputs: usize,
    layout: &'a Layout,
    parts: Parts<'a>,
}

/// [`Found`], to be filled in.
struct Parts<'a> {
    u: Disjoint<'a, f32>,
    quads: Disjoint<'a, [i8; LINE]>,
    scales: Disjoint<'a, f32>,
    starts: Disjoint<'a, i32>,
    states: &'a [AtomicU8],
    floats: Disjoint<'a, f32>,
    /// How many floats there are.
    count: usize,
}

impl<'a> Adapters<'a> {
    /// The adapters, or `None` if no one of the step has anything in this layer; and what is read after the layer's product,
    /// which is computed in so many pieces.
    pub fn new(
        (cpu, threads): (Cpu, usize),
        plan: &'a Plan,
        (layer, group): (usize, usize),
        (outputs, pieces): (usize, usize),
        mixes: &'a mut Mixes,
    ) -> (Option<Self>, Ahead<'a>) {
        let is_something = mixes.prepare(plan, layer, group);
        let Mixes { layout, found } = mixes;
        let layout = &*layout;
        let ahead = layout.ahead(pieces);
        if !is_something {
            return (None, ahead);
        }
        let Found { u, rounded: Rounded { quads, scales, starts }, states, floats } = found;
        for state in &mut *states {
            *state.get_mut() = OPEN;
        }
        let parts = Parts {
            u: Disjoint::new(u),
            quads: Disjoint::new(quads),
            scales: Disjoint::new(scales),
            starts: Disjoint::new(starts),
            states,
            count: floats.len(),
            floats: Disjoint::new(floats),
        };
        let by = if threads > 1 && layout.shared.len() >= ADAPTERS * threads {
            By::Adapters
        } else if layout.bands.len() >= threads {
            By::Bands
        } else {
            By::Runs
        };
        (Some(Self { by, cpu, plan, layer, group, outputs, layout, parts }), ahead)
    }

    /// How often [`Self::compute`] is to be called.
    pub fn pieces(&self) -> usize {
        match self.by {
            By::Bands => self.layout.bands.len(),
            By::Runs => self.plan.runs.len(),
            By::Adapters => self.layout.shared.len() + self.layout.long.len(),
        }
    }

    /// Computes a piece of u = A·x, when all of the input is prepared; `input` is a tile of it.
    pub fn compute<'b>(&self, piece: usize, input: impl Fn(usize) -> Input<'b>) {
        match self.by {
            By::Bands => self.band(piece, std::array::from_fn(|tile| input(piece * BAND_TILES + tile))),
            By::Runs => self.run(piece, input(self.plan.runs[piece].start / TILE)),
            By::Adapters => {
                let users =
                    |piece: usize| self.layout.shared.get(piece).map(|own| &self.layout.sharing[own.clone()]);
                if let Some(own) = users(piece) {
                    self.down(own, users(piece + 1), |tile| input(tile).acts);
                } else {
                    let run = self.layout.long[piece - self.layout.shared.len()];
                    self.together(run, input(self.plan.runs[run].start / TILE));
                }
            }
        }
    }

    /// u of the rows that have an adapter, which is read once for a few of them; `next`: whose adapter is read behind it.
    fn down<'b>(&self, users: &[User], next: Option<&[User]>, tile: impl Fn(usize) -> TileRef<'b>) {
        let int8 = |users: &[User]| users.first().and_then(|user| self.int8(user.adapter));
        let Some(group) = int8(users) else { return };
        let next = next.and_then(int8).map_or(&[][..], Int8::downs);
        for users in users.chunks(ROWS) {
            let lane = |row: usize| Lane { acts: tile(row / TILE), lane: row % TILE };
            let mut rows = [lane(users[0].row); ROWS];
            for (room, user) in rows.iter_mut().zip(users) {
                *room = lane(user.row);
            }
            self.octets(group.octets(), &rows[..users.len()], next, |row| users[row].u);
        }
    }

    /// u = A·x of all runs of a band, whose tiles are prepared.
    fn band(&self, band: usize, tiles: [Input<'_>; BAND_TILES]) {
        let own = &self.layout.bands[band];
        let users = &self.layout.users[own.users.clone()];
        // What an adapter has is read once for all rows: there are many adapters, and each has a few rows.
        let mut users = users.chunk_by(|a, b| a.adapter == b.adapter).peekable();
        while let Some(some) = users.next() {
            self.down(some, users.peek().copied(), |tile| tiles[tile % BAND_TILES].acts);
        }
        for run in self.plan.runs_of_band(band) {
            let rows = &self.plan.runs[run];
            let input = tiles[rows.start / TILE % BAND_TILES];
            if rows.len() >= LONG {
                self.together(run, input);
            }
            self.floats(run, input);
        }
        for slot in own.slots.clone() {
            self.round(slot);
        }
    }

    /// u = A·x of one run, whose tile is prepared.
    fn run(&self, run: usize, input: Input<'_>) {
        self.together(run, input);
        self.floats(run, input);
        let band = &self.layout.bands[self.plan.runs[run].start / BAND];
        band.slots
            .clone()
            .filter(|slot| self.layout.owners[*slot].run == run)
            .for_each(|slot| self.round(slot));
    }

    /// u of all adapters of a run together: what its rows have is read once.
    fn together(&self, run: usize, input: Input<'_>) {
        let (rows, own) = (self.plan.runs[run].clone(), &self.layout.runs[run]);
        let members = &self.layout.members[own.members.clone()];
        let lanes: [_; TILE] =
            std::array::from_fn(|i| Lane { acts: input.acts, lane: (rows.start + i) % TILE });
        let octets = members.iter().filter_map(|own| self.int8(own.adapter)).flat_map(Int8::octets);
        self.octets(octets, &lanes[..rows.len()], &[], |row| own.u + row * own.ranks);
    }

    /// u of some octets, the first of which goes to where `at` says for a row, the next ones behind it.
    fn octets<'b>(
        &self,
        mut octets: impl Iterator<Item = Octet<'b>>,
        rows: &[Lane<'_>],
        next: &[u8],
        at: impl Fn(usize) -> usize,
    ) {
        let mut out = [[[0.0; RANKS]; ROWS]; OCTETS];
        let mut rank = 0;
        while let Some(first) = octets.next() {
            let (mut some, mut count) = ([first; OCTETS], 1);
            for (room, octet) in some[1..].iter_mut().zip(&mut octets) {
                *room = octet;
                count += 1;
            }
            let next = next.get(rank / RANKS * size_of_val(first.lines)..).unwrap_or_default();
            // All rows, while the octets are in the nearest cache.
            for (first, rows) in (0..).step_by(ROWS).zip(rows.chunks(ROWS)) {
                self.cpu.ranks_down(&some[..count], rows, next, &mut out);
                for (octet, out) in out[..count].iter().enumerate() {
                    for (row, values) in out[..rows.len()].iter().enumerate() {
                        // SAFETY: every rank of a row is of one octet; it is read when all are there.
                        *unsafe { self.parts.u.array(at(first + row) + rank + octet * RANKS) } = *values;
                    }
                }
            }
            rank += count * RANKS;
        }
    }

    /// u in 8 bits of a slot's rows.
    fn round(&self, slot: usize) {
        let (owner, slot) = (self.layout.owners[slot], &self.layout.slots[slot]);
        let (own, band) =
            (&self.layout.runs[owner.run], &self.layout.bands[self.plan.runs[owner.run].start / BAND]);
        let pieces = &self.layout.pieces[slot.entries..][..slot.adapters];
        let gates = &self.layout.gates[owner.gates..][..slot.rows * slot.adapters];
        for (row, gates) in gates.chunks_exact(slot.adapters).enumerate() {
            // SAFETY: this call alone fills in the slot, and u of its rows is there, as the caller has seen.
            unsafe {
                let u = self.parts.u.read(own.u + row * own.ranks, own.ranks);
                let at = band.quads.start + slot.quads + row * slot.width;
                let codes = self.parts.quads.part(at, slot.width);
                let (scale, start) = self.cpu.ranks_round(u, pieces, gates, codes);
                self.parts.scales.set(band.rows.start + slot.at + row, scale);
                self.parts.starts.set(band.rows.start + slot.at + row, start);
            }
        }
    }

    /// Sees to it that a band is rounded, when all of u is there. Whoever comes first rounds it, and each that finds one taken
    /// rounds others first.
    fn rounded(&self, band: usize) {
        let states = self.parts.states;
        if states[band].load(Ordering::Acquire) == ROUNDED {
            return;
        }
        for (own, state) in self.layout.bands.iter().zip(states) {
            if state.compare_exchange(OPEN, TAKEN, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                let _rounded = Rounding(state);
                own.slots.clone().for_each(|slot| self.round(slot));
            }
        }
        let mut spins = 0;
        while states[band].load(Ordering::Acquire) != ROUNDED {
            if spins < SPINS {
                spins += 1;
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }

    /// u of a run's adapters in floats.
    fn floats(&self, run: usize, input: Input<'_>) {
        let Some(start) = self.layout.runs[run].floats else { return };
        let rows = self.plan.runs[run].clone();
        for (place, _, group) in self.plan.used(rows.start, self.layer, self.group) {
            for first in rows.clone().step_by(ROWS) {
                let some = first..rows.end.min(first + ROWS);
                group.float_down(self.cpu, input, some, |row, rank, values| {
                    let at = self.float(start, rows.start, first + row, place) + rank;
                    // SAFETY: every rank of a row and place is computed once; it is read when all are there.
                    *unsafe { self.parts.floats.array(at) } = values;
                });
            }
        }
    }

    /// Where u of an adapter in floats begins.
    fn float(&self, start: usize, first: usize, row: usize, place: usize) -> usize {
        start + ((row - first) * self.plan.tokens[row].entries.1 + place) * self.plan.ranks
    }

    fn int8(&self, adapter: usize) -> Option<Int8<'a>> {
        // SAFETY: the adapters are the plan's, which is borrowed.
        unsafe { self.layout.int8(adapter) }
    }

    /// Adds Σᵢ gᵢ·sᵢ·Bᵢ(Aᵢx) to a band's products with two panels, or one: first what is held in 8 bits, then what is held
    /// in floats in the order of the mix.
    ///
    /// # Safety
    /// All of [`Self::compute`] is done.
    pub unsafe fn add(&self, panels: Range<usize>, band: usize, products: &mut [Product; 2]) {
        if self.by == By::Adapters {
            self.rounded(band);
        }
        let own = &self.layout.bands[band];
        // SAFETY: the band is rounded, and the caller has seen that.
        let (quads, starts, scales) = unsafe {
            (
                self.parts.quads.read(own.quads.start, own.quads.len()),
                self.parts.starts.read(own.rows.start, own.rows.len()),
                self.parts.scales.read(own.rows.start, own.rows.len()),
            )
        };
        for section in &self.layout.sections[own.sections.clone()] {
            let start = panels.start.max(section.panels.start);
            let own = start..panels.end.min(section.panels.end);
            if own.is_empty() {
                continue;
            }
            let slots = &self.layout.slots[section.slots.clone()];
            let ups = Ups {
                lines: &self.layout.lists[section.list].lines,
                entries: &self.layout.entries,
                quads,
                starts,
                scales,
            };
            let products = &mut products[start - panels.start..];
            // SAFETY: the adapters are the plan's, which is borrowed; all is laid out as they are.
            unsafe { self.cpu.ranks_up(&ups, slots, own, products) };
        }
        if self.parts.count > 0 {
            // SAFETY: nobody writes them any more, as the caller promises.
            let floats = unsafe { self.parts.floats.read(0, self.parts.count) };
            self.add_floats(panels, band, floats, products);
        }
    }

    fn add_floats(&self, panels: Range<usize>, band: usize, floats: &[f32], products: &mut [Product; 2]) {
        for run in self.plan.runs_of_band(band) {
            let Some(start) = self.layout.runs[run].floats else { continue };
            let rows = self.plan.runs[run].clone();
            for row in rows.clone() {
                for (place, _, group) in self.plan.used(row, self.layer, self.group) {
                    let Group::Float(group) = group else { continue };
                    let u = &floats[self.float(start, rows.start, row, place)..][..self.plan.ranks];
                    let gate = self.plan.gate(row, place);
                    for (panel, product) in panels.clone().zip(&mut *products) {
                        let columns = PANEL.min(self.outputs - panel * PANEL);
                        let y = &mut product[row - band * BAND][..columns];
                        group.up(self.cpu, gate, u, panel * PANEL, y);
                    }
                }
            }
        }
    }

    /// What of B two panels need is fetched before all else.
    pub fn fetched(&'a self, panels: &Range<usize>, soon: Soon<'a>) -> Soon<'a> {
        // Of a pair that two projections share the first one's alone.
        let own = self.layout.lists.iter().find(|list| list.panels.contains(&panels.start));
        let Some(own) = own else { return soon };
        let (first, end) = (own.panels.start, panels.end.min(own.panels.end));
        soon.with(&own.lines, panels.start - first..end - first)
    }
}

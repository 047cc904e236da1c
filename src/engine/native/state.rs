//! What the operators share with the decoder: the cache, the step, and room to compute in.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use npc_onnx::ModelFile;

use super::adapter::{Group, PackedAdapter, Ups};
use super::kernel::{Activations, Cpu};
use super::pages::{Pages, Place};

/// Shared between the decoder and the operators of its session. Only one of them runs at a time: the lock is there
/// for the compiler, and free whenever it is taken.
pub struct Shared {
    state: Mutex<State>,
    /// What the folder says of the graph: the operators check that it is so.
    pub model: Arc<ModelFile>,
    /// Tokens that a sequence can hold.
    pub context: usize,
}

pub struct State {
    pub cpu: Cpu,
    /// Threads that ONNX Runtime computes with.
    pub threads: usize,
    pub pages: Pages,
    pub plan: Plan,
    /// The same for the tokens alone whose logits are wanted.
    pub picked: Plan,
    pub scratch: Scratch,
}

/// The step that is being computed.
#[derive(Default)]
pub struct Plan {
    pub tokens: Vec<Token>,
    /// The pages of every sequence, those in the step one after another.
    pub tables: Vec<u32>,
    /// Tokens of one sequence that stand side by side, a few together: they see about the same positions.
    pub neighbours: Vec<Range<usize>>,
    /// Adapters in use, each once.
    pub adapters: Vec<InUse>,
    /// Every token's adapters, in the order of its mix.
    pub entries: Vec<Entry>,
}

/// One token of the step.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    pub position: usize,
    /// Where its key and value go.
    pub place: Place,
    /// The part of [`Plan::tables`] that is its sequence's.
    pub table: (usize, usize),
    /// The part of [`Plan::entries`] that is its own.
    pub entries: (usize, usize),
}

/// An adapter and the tokens that use it.
#[derive(Debug)]
pub struct InUse {
    pub adapter: Arc<PackedAdapter>,
    /// Token and entry.
    pub users: Vec<(usize, usize)>,
}

/// One adapter of one token.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Index into [`Plan::adapters`].
    pub adapter: usize,
    /// gᵢ.
    pub gate: f32,
}

/// Kept from node to node and from step to step, so that a step allocates nothing.
#[derive(Default)]
pub struct Scratch {
    /// A linear layer's, or the first one's where a node has two.
    pub first: Room,
    pub second: Room,
    /// u in 8 bits, by adapter group and by [`Plan::neighbours`].
    pub ups: [Vec<Ups>; GROUPS],
    /// Gates and ups of a step with adapters, `[tokens]` rows of `2 · intermediate` and a little apart.
    pub gate_up: Vec<f32>,
    /// The largest of every [`TOP`](crate::engine::logits::TOP) logits, by row.
    pub tops: Vec<f32>,
    /// Rotated queries, `[tokens][heads · head_dim]`.
    pub queries: Vec<f32>,
}

/// Adapter groups of a layer.
pub const GROUPS: usize = 4;

/// What a linear layer computes in.
#[derive(Default)]
pub struct Room {
    pub acts: Activations,
    /// Inputs after the norm or SwiGLU, `[tokens][inputs]`.
    pub prepared: Vec<f32>,
    /// u = A·x, by entry.
    pub down: Vec<f32>,
}

/// The memory of adapters that is read after a linear layer's product, in pieces: their B in this layer, then their A in the
/// one behind it. Whoever fetches a piece finds out where it is: all of it at once would be work for one thread alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ahead<'a> {
    adapters: &'a [InUse],
    /// Layer and group.
    place: (usize, usize),
    pieces: usize,
}

/// Parts of memory that a piece of [`Ahead`] has at most; where it would have more they are not fetched.
pub const PARTS: usize = 8;

impl<'a> Ahead<'a> {
    /// The parts of one of the pieces; nothing behind the last.
    pub fn piece<'b>(&self, index: usize, room: &'b mut [&'a [u8]; PARTS]) -> &'b [&'a [u8]] {
        let (count, all) = (self.adapters.len(), 2 * self.adapters.len());
        if index >= self.pieces {
            return &[];
        }
        // An adapter's B, and its A, are as many units as there are pieces.
        let (from, to) = (index * all, (index + 1) * all);
        let mut found = 0;
        for segment in from / self.pieces..to.div_ceil(self.pieces) {
            let start = segment * self.pieces;
            let (from, to) = (from.max(start) - start, to.min(start + self.pieces) - start);
            let mut put = |memory: &'a [u8]| {
                // Whole cache lines.
                let at = |units: usize| {
                    (memory.len() * units / self.pieces).next_multiple_of(64).min(memory.len())
                };
                if let Some(room) = room.get_mut(found) {
                    *room = &memory[at(from)..at(to)];
                    found += 1;
                }
            };
            let (layer, group) = self.place;
            let adapter = &self.adapters[segment % count].adapter;
            if segment < count {
                adapter.group(layer, group).into_iter().for_each(|group| group.ups(&mut put));
            } else {
                adapter.next(layer, group).into_iter().for_each(|group| put(group.downs()));
            }
        }
        &room[..found]
    }
}

impl Plan {
    /// What adapters read after the product of a linear layer.
    pub fn ahead(&self, place: (usize, usize), pieces: usize) -> Ahead<'_> {
        Ahead { adapters: &self.adapters, place, pieces: if self.adapters.is_empty() { 0 } else { pieces } }
    }

    /// A token's adapters in a layer's group: each with its gate and its number among the step's entries.
    pub fn used(
        &self,
        token: usize,
        layer: usize,
        group: usize,
    ) -> impl Iterator<Item = (Group<'_>, f32, usize)> + Clone {
        let (start, count) = self.tokens[token].entries;
        (start..start + count).filter_map(move |index| {
            let entry = self.entries[index];
            Some((self.adapters[entry.adapter].adapter.group(layer, group)?, entry.gate, index))
        })
    }
}

impl Shared {
    pub fn new(cpu: Cpu, threads: usize, pages: Pages, model: Arc<ModelFile>, context: usize) -> Arc<Self> {
        let state = State {
            cpu,
            threads,
            pages,
            plan: Plan::default(),
            picked: Plan::default(),
            scratch: Scratch::default(),
        };
        Arc::new(Self { state: Mutex::new(state), model, context })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // After a panic in an operator the step has failed; the next one fills everything anew.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

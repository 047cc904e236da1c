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
    /// Gates and ups of rows with adapters, `[tokens][2 · intermediate]`.
    pub gate_up: Vec<f32>,
    /// The largest of every [`TOP`](crate::engine::logits::TOP) logits, by row.
    pub tops: Vec<f32>,
    /// Rotated queries, `[tokens][heads · head_dim]`.
    pub queries: Vec<f32>,
}

/// What a linear layer computes in.
#[derive(Default)]
pub struct Room {
    pub acts: Activations,
    /// Inputs after the norm or SwiGLU, `[tokens][inputs]`.
    pub prepared: Vec<f32>,
    /// u = A·x, by entry.
    pub down: Vec<f32>,
    /// u in 8 bits, by [`Plan::neighbours`].
    pub ups: Vec<Ups>,
}

/// Memory in pieces of about the same size.
#[derive(Debug, Default)]
pub struct Ahead<'a> {
    cut: Vec<&'a [u8]>,
    /// Where each piece ends in `cut`.
    ends: Vec<usize>,
}

impl<'a> Ahead<'a> {
    fn new(whole: &[&'a [u8]], pieces: usize) -> Self {
        let bytes: usize = whole.iter().map(|memory| memory.len()).sum();
        let size = bytes.div_ceil(pieces.max(1)).next_multiple_of(64).max(64);
        let (mut ahead, mut left) = (Self::default(), size);
        for mut memory in whole.iter().copied() {
            while !memory.is_empty() {
                let (now, then) = memory.split_at(left.min(memory.len()));
                ahead.cut.push(now);
                (memory, left) = (then, left - now.len());
                if left == 0 {
                    ahead.ends.push(ahead.cut.len());
                    left = size;
                }
            }
        }
        ahead.ends.push(ahead.cut.len());
        ahead
    }

    /// One of the pieces; nothing behind the last.
    pub fn piece(&self, index: usize) -> &[&'a [u8]] {
        let Some(end) = self.ends.get(index) else { return &[] };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.cut[start..*end]
    }
}

impl Plan {
    /// The memory of adapters that is read after a linear layer's product, in at most `pieces` pieces: their B in this
    /// layer, and their A in the one behind it.
    pub fn ahead(&self, (layer, group): (usize, usize), pieces: usize) -> Ahead<'_> {
        let mut whole = Vec::with_capacity(self.adapters.len() * 3);
        for used in &self.adapters {
            used.adapter
                .group(layer, group)
                .into_iter()
                .for_each(|group| group.ups(|memory| whole.push(memory)));
        }
        for used in &self.adapters {
            used.adapter.next(layer, group).into_iter().for_each(|group| whole.push(group.downs()));
        }
        Ahead::new(&whole, pieces)
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

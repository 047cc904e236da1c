//! What the operators share with the decoder: the cache, the step, and room to compute in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use npc_onnx::ModelFile;

use super::kernel::{Activations, Cpu};
use super::mixes::Mixes;
use super::pages::Pages;
use super::plan::Plan;

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

/// Kept from node to node and from step to step, so that a step allocates nothing.
#[derive(Default)]
pub struct Scratch {
    /// A linear layer's, or the first one's where a node has two.
    pub first: Room,
    pub second: Room,
    /// By adapter group.
    pub mixes: [Mixes; GROUPS],
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

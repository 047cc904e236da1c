//! What the operators share with the decoder: the cache, the step, and room to compute in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use npc_onnx::ModelFile;

use super::kernel::{Activations, Cpu};
use super::mixes::Mixes;
use super::pages::Pages;
use super::plan::Plan;
use super::stages::Shares;

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
    /// The same for the tokens alone whose logits are wanted; old where these are all.
    pub picked: Plan,
    /// Which of the step's tokens these are.
    pub picked_rows: Vec<usize>,
    pub scratch: Scratch,
}

/// Kept from node to node and from step to step, so that a step allocates nothing.
#[derive(Default)]
pub struct Scratch {
    /// By adapter group: that of a layer's four linear layers. The head takes the first.
    pub rooms: [Room; GROUPS],
    /// By adapter group.
    pub mixes: [Mixes; GROUPS],
    /// Queries, keys and values, `[tokens][(heads + 2 · kv_heads) · head_dim]`.
    pub qkv: Vec<f32>,
    /// The layer's input, of the tokens alone that are computed further, `[tokens][hidden]`.
    pub picked: Vec<f32>,
    /// What the attention gives, `[tokens][heads · head_dim]`.
    pub attended: Vec<f32>,
    /// What the MLP gets, `[tokens][hidden]`.
    pub between: Vec<f32>,
    /// The largest of every [`TOP`](crate::engine::logits::TOP) logits, by row.
    pub tops: Vec<f32>,
    /// What threads count their work by.
    pub shares: Shares,
}

/// Adapter groups of a layer, one for each of its linear layers, in their order.
pub const GROUPS: usize = 4;

/// What a linear layer computes in.
#[derive(Default)]
pub struct Room {
    pub acts: Activations,
    /// Inputs after the norm or SwiGLU, `[tokens][inputs]`, where adapters in floats read them.
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
            picked_rows: Vec::new(),
            scratch: Scratch::default(),
        };
        Arc::new(Self { state: Mutex::new(state), model, context })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // Each step fills everything anew.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

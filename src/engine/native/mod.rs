//! The decoder in operators of our own: integer products with every row's own adapters, attention over a paged cache.
//!
//! ```text
//! kernel       the arithmetic, for every instruction set
//! adapter      adapters as the kernels read them
//! held         the weights in memory of their own, on huge pages
//! pages        the KV cache
//! pool         which page belongs to whom
//! plan         the step: its tokens and their adapters
//! mixes        how its rows share a layer's adapters
//! state        what the operators share: the step, the cache, room to compute in
//! ops          the operators
//! stages       what their threads do one after the other
//! disjoint     one slice written by several threads
//! ```
//!
//! A row's result does not depend on what else is in its step: products of 8-bit numbers are summed as integers, and
//! everything in floats is computed row by row, in an order that the row's own contents fix.

mod adapter;
mod disjoint;
mod held;
mod kernel;
mod mixes;
mod ops;
mod pages;
mod plan;
mod pool;
mod stages;
mod state;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, LazyLock};
use std::time::{Duration, Instant};

use npc_onnx::{ModelFile, NATIVE_GRAPH_FILE};
use ort::session::Session;
use ort::value::Tensor;

pub use self::adapter::PackedAdapter;
use self::held::Held;
use self::kernel::{BAND_TILES, Cpu, Kept, PAGE, TILE};
use self::pages::{Pages, Place, Sizes};
use self::plan::{Entry, Neighbours, Plan, Token};
use self::pool::Pool;
use self::state::Shared;
use super::adapter::Adapter;
use super::decoder::{Decoder, KvUse, Step, StepToken};
use super::logits::Logits;
use super::{EngineError, runtime};
use crate::config;

/// See the module's documentation.
pub struct Native {
    session: Session,
    /// What the session reads: dropped after it.
    _held: Option<Held>,
    shared: Arc<Shared>,
    model: Arc<ModelFile>,
    context: usize,
    /// The pages of every sequence.
    tables: Vec<Vec<u32>>,
    pool: Pool,
    /// Of every sequence the last step that had tokens of it, and the number of steps.
    last_steps: Vec<u64>,
    steps: u64,
    /// All pages, and the bytes of one.
    pages: (usize, usize),
}

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Native").field("sequences", &self.tables.len()).finish_non_exhaustive()
    }
}

/// Whether this CPU has what makes the native decoder the faster one: wide integer products.
pub fn is_fast() -> bool {
    Cpu::detect().is_vector()
}

/// ln Σ exp(logits), computed so that it cannot overflow. What is no number counts as nothing.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    static CPU: LazyLock<Cpu> = LazyLock::new(Cpu::detect);
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    if !highest.is_finite() {
        return f64::NAN;
    }
    f64::from(highest) + CPU.exp_sum(logits, highest).ln()
}

/// What this machine's 8-bit products could do at best, in 10⁹ multiplications and additions a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceiling {
    /// With vectors.
    pub vectors: f64,
    /// With tiles, where the CPU has them.
    pub tiles: Option<f64>,
}

/// The ceiling of so many threads: the instructions alone, on registers.
pub fn int8_ceiling(threads: usize) -> Ceiling {
    let cpu = Cpu::detect();
    let vectors = cpu.without_tiles();
    Ceiling { vectors: ceiling(vectors, threads), tiles: (vectors != cpu).then(|| ceiling(cpu, threads)) }
}

/// The best of some runs, since others may use the machine. Each lasts far longer than the system takes to put new
/// threads on cores of their own: in a millisecond or two they may still share one, and seem to do half.
fn ceiling(cpu: Cpu, threads: usize) -> f64 {
    const ROUNDS: u64 = 1 << 20;
    const RUNS: usize = 5;
    const RUN: Duration = Duration::from_millis(50);
    let together = Barrier::new(threads.max(1));
    let rate = || {
        together.wait();
        let (start, mut operations) = (Instant::now(), 0);
        while start.elapsed() < RUN {
            operations += cpu.peak(ROUNDS);
        }
        operations as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    let run = || {
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(rate)).collect();
            rate() + others.into_iter().filter_map(|thread| thread.join().ok()).sum::<f64>()
        })
    };
    (0..RUNS).map(|_| run()).fold(0.0, f64::max)
}

impl Native {
    /// Opens the model folder `dir`, which must hold `native.onnx`.
    ///
    /// # Errors
    /// [`EngineError::BadModel`] if the folder has none, or [`EngineError::Runtime`].
    pub fn open(
        environment: &ort::environment::Environment,
        dir: &Path,
        model: Arc<ModelFile>,
        config: &config::Engine,
    ) -> Result<Self, EngineError> {
        Self::open_for(Cpu::detect(), environment, dir, model, config)
    }

    fn open_for(
        cpu: Cpu,
        environment: &ort::environment::Environment,
        dir: &Path,
        model: Arc<ModelFile>,
        config: &config::Engine,
    ) -> Result<Self, EngineError> {
        let graph = dir.join(NATIVE_GRAPH_FILE);
        if !graph.is_file() {
            return Err(EngineError::BadModel {
                path: dir.to_owned(),
                reason: format!(
                    "has no {NATIVE_GRAPH_FILE}, which the native decoder runs: its precision is {}, and int8 is \
                     needed; use engine.decoder = \"portable\"",
                    model.precision
                ),
            });
        }
        let sizes = &model.model;
        let context = config.context.min(sizes.max_position);
        let paged = Sizes {
            layers: sizes.layers,
            kv_heads: sizes.kv_heads,
            head_dim: sizes.head_dim,
            kept: Kept::of(config.kv_precision, sizes.architecture),
        };
        let bytes = paged.page_bytes();
        // At least one whole sequence, whatever the budget.
        let count = ((config.kv_memory_mb << 20) / bytes).max(context.div_ceil(PAGE));
        let pages = Pages::new(paged, count)?;
        let threads = runtime::threads(config);
        let shared = Shared::new(cpu, threads, pages, Arc::clone(&model), context);
        let wants_copy = config.huge_pages && held::has_huge_pages();
        let held = if wants_copy { Held::read(dir)? } else { None };
        // SAFETY: the session keeps the tensors until it is released, and nothing that outlives it does: what it computes has
        // memory of its own. It is dropped before `held`, here, where `held` is the first, and in `Native`. The graph has
        // nothing that writes its weights.
        let weights = held.as_ref().map(|held| unsafe { held.tensors() }).transpose()?.unwrap_or_default();
        let session = runtime::open_native(environment, &graph, threads, ops::domain(&shared)?, weights)?;
        let held_bytes = held.as_ref().map_or(0, Held::bytes);
        tracing::info!(isa = cpu.isa().name(), pages = count, held_bytes, "native decoder");
        Ok(Self {
            session,
            _held: held,
            shared,
            model,
            context,
            tables: vec![Vec::new(); config.rows + config.kept_conversations],
            pool: Pool::new(count),
            last_steps: vec![0; config.rows + config.kept_conversations],
            steps: 0,
            pages: (count, bytes),
        })
    }
}

/// Tokens of a sequence whose attention is computed together.
const NEIGHBOURS: usize = 4;

impl Plan {
    /// Fills in the tokens of a step that are `among` those to compute.
    fn set(
        &mut self,
        step: Step<'_>,
        tables: &[Vec<u32>],
        among: impl Fn(&StepToken) -> bool,
    ) -> Result<(), EngineError> {
        self.tokens.clear();
        self.tables.clear();
        self.neighbours.clear();
        self.seen.clear();
        self.adapters.clear();
        self.entries.clear();
        for chunk in step.tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            let sequence = chunk[0].sequence;
            let (start, count) = (self.tokens.len(), chunk.iter().filter(|token| among(token)).count());
            if count == 0 {
                continue;
            }
            let are_alone = count <= NEIGHBOURS;
            for first in (start..start + count).step_by(NEIGHBOURS) {
                let tokens = first..(first + NEIGHBOURS).min(start + count);
                self.neighbours.push(Neighbours { tokens, are_alone });
            }
            if !are_alone {
                self.seen.extend(start..start + count);
            }
            let table = (self.tables.len(), self.tables.len() + tables[sequence].len());
            self.tables.extend_from_slice(&tables[sequence]);
            let mix = &step.mixes[sequence];
            let used = mix.iter().map(|(adapter, _)| self.in_use(adapter)).collect::<Result<Vec<_>, _>>()?;
            for token in chunk.iter().filter(|token| among(token)) {
                let entries = (self.entries.len(), mix.len());
                let own = used.iter().zip(mix.iter());
                self.entries.extend(own.map(|(adapter, (_, gate))| Entry { adapter: *adapter, gate: *gate }));
                let page = tables[sequence][token.position / PAGE];
                let place = Place { page, slot: token.position % PAGE };
                self.tokens.push(Token { position: token.position, place, table, entries });
            }
        }
        self.group();
        Ok(())
    }

    /// Finds the rows that have the same adapters, and what is the same for all layers.
    pub fn group(&mut self) {
        static STEPS: AtomicU64 = AtomicU64::new(1);
        self.step = STEPS.fetch_add(1, Ordering::Relaxed);
        self.runs.clear();
        self.bands.clear();
        let adapters = |token: &Token| {
            let (start, count) = token.entries;
            self.entries[start..start + count].iter().map(|entry| entry.adapter)
        };
        for (tile, tokens) in self.tokens.chunks(TILE).enumerate() {
            if tile % BAND_TILES == 0 {
                self.bands.push(self.runs.len());
            }
            let mut first = tile * TILE;
            for run in tokens.chunk_by(|a, b| adapters(a).eq(adapters(b))) {
                self.runs.push(first..first + run.len());
                first += run.len();
            }
        }
        self.is_alike = self.adapters.iter().all(|adapter| adapter.is_alike);
        self.ranks = self.adapters.iter().map(|adapter| adapter.ranks).max().unwrap_or_default();
    }

    /// The number of an adapter among those in use.
    fn in_use(&mut self, adapter: &Arc<Adapter>) -> Result<usize, EngineError> {
        let packed =
            adapter.packed().ok_or_else(|| EngineError::UnknownAdapter(adapter.info.id.to_string()))?;
        let found = self.adapters.iter().position(|used| Arc::ptr_eq(used, packed));
        Ok(found.unwrap_or_else(|| {
            self.adapters.push(Arc::clone(packed));
            self.adapters.len() - 1
        }))
    }
}

impl Decoder for Native {
    fn sequences(&self) -> usize {
        self.tables.len()
    }

    fn page_tokens(&self) -> usize {
        PAGE
    }

    fn free_pages(&self) -> usize {
        self.pool.free()
    }

    fn kv(&self) -> Option<KvUse> {
        let (count, bytes) = self.pages;
        Some(KvUse { used: (count - self.pool.free()) * bytes, limit: count * bytes })
    }

    fn context(&self) -> usize {
        self.context
    }

    fn vocab_size(&self) -> usize {
        self.model.model.vocab_size
    }

    fn set_adapters(&mut self, _resident: &[Arc<Adapter>]) -> Result<(), EngineError> {
        // They come with each step, packed by whoever loaded them.
        Ok(())
    }

    fn release(&mut self, sequence: usize) {
        for page in self.tables[sequence].drain(..) {
            self.pool.release(page);
        }
    }

    fn share(&mut self, from: usize, to: usize, tokens: usize) -> usize {
        if from == to {
            return tokens;
        }
        self.release(to);
        // The last page too, if it is full only in part: whoever writes into it first takes a copy.
        let pages = tokens.div_ceil(PAGE).min(self.tables[from].len());
        for i in 0..pages {
            let page = self.tables[from][i];
            self.pool.retain(page);
            self.tables[to].push(page);
        }
        tokens.min(pages * PAGE)
    }

    fn step(&mut self, step: Step<'_>, logits: &mut Logits) -> Result<(), EngineError> {
        logits.clear();
        self.check(step)?;
        {
            let mut state = self.shared.lock();
            for token in step.tokens {
                self.pool.make_writable(
                    &mut self.tables[token.sequence],
                    token.position,
                    &mut state.pages,
                )?;
            }
            state.plan.set(step, &self.tables, |_| true)?;
            let wanted = (0..).zip(step.tokens).filter(|(_, token)| token.wants_logits);
            state.picked_rows.clear();
            state.picked_rows.extend(wanted.map(|(row, _)| row));
            // Where all are, they are computed as any other layer's.
            if state.picked_rows.len() < step.tokens.len() {
                state.picked.set(step, &self.tables, |token| token.wants_logits)?;
            }
        }
        let result = self.run(step, logits);
        // What a pool lets go of between two steps must be free then.
        let mut state = self.shared.lock();
        state.plan.adapters.clear();
        state.picked.adapters.clear();
        result
    }
}

impl Native {
    /// Whether tokens stand as a [`Step`] says: keys and values are written on the promise that nobody else has a
    /// sequence's.
    fn check(&mut self, step: Step<'_>) -> Result<(), EngineError> {
        self.steps += 1;
        for chunk in step.tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            let (sequence, first) = (chunk[0].sequence, chunk[0].position);
            let Some(last) = self.last_steps.get_mut(sequence) else {
                return Err(EngineError::Runtime(format!("a step has a token of sequence {sequence}")));
            };
            let is_apart = std::mem::replace(last, self.steps) == self.steps;
            let is_gapless = (first..).zip(chunk).all(|(position, token)| token.position == position);
            if is_apart || !is_gapless {
                return Err(EngineError::Runtime(format!(
                    "the tokens of sequence {sequence} do not stand side by side in the step"
                )));
            }
        }
        Ok(())
    }

    /// Runs the graph over the step that the plan holds.
    fn run(&mut self, step: Step<'_>, logits: &mut Logits) -> Result<(), EngineError> {
        let ids: Vec<i64> = step.tokens.iter().map(|token| i64::from(token.token)).collect();
        let count = step.tokens.iter().filter(|token| token.wants_logits).count();
        let mut outputs = self.session.run(ort::inputs! {
            "input_ids" => Tensor::from_array(([ids.len()], ids))?,
        })?;
        let tensor = outputs
            .remove("logits")
            .ok_or_else(|| EngineError::Runtime("the graph gave no logits".into()))?;
        logits.set(tensor, &mut self.shared.lock().scratch.tops)?;
        let (found, vocab) = (logits.len(), self.model.model.vocab_size);
        if found != count * vocab {
            return Err(EngineError::Runtime(format!(
                "the graph gave {found} logits for {count} positions, and model.vocab_size is {vocab}"
            )));
        }
        Ok(())
    }
}

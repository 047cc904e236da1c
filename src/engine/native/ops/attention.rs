//! Attention over the paged cache, with rotary embeddings and, where a model has them, norms of queries and keys.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::super::disjoint::{Disjoint, Late};
use super::super::kernel::{self, Cpu, Head, Kept, QUERIES, Query, Stored};
use super::super::pages;
use super::super::plan::{Plan, Token};
use super::super::state::{Shared, State};
use super::stages::{self, Stage};
use super::{epsilon, floats, input, size, size_below, size_of_model};

/// Numbers of a head that are computed at a time: a head must be a multiple of them.
const HEAD: usize = kernel::PAGE;

/// `Attention(qkv [tokens, (heads + 2 · kv_heads) · head_dim], cos, sin, q_norm?, k_norm?) -> [tokens, heads · head_dim]`
pub struct AttentionOp(pub Arc<Shared>);

pub struct AttentionKernel {
    shared: Arc<Shared>,
    layer: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// Positions that a query sees, itself included; 0: all.
    window: usize,
    epsilon: f32,
}

impl Operator for AttentionOp {
    type Kernel<'attr> = AttentionKernel;

    fn name(&self) -> &'static str {
        "Attention"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        [
            OperatorInput::required(float),
            OperatorInput::required(float),
            OperatorInput::required(float),
            OperatorInput::optional(float),
            OperatorInput::optional(float),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, kernel: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let model = &self.0.model.model;
        let head_dim = size_of_model(kernel, "head_dim", model.head_dim)?;
        if !head_dim.is_multiple_of(HEAD) {
            return Err(ort::Error::new(format!("head_dim is {head_dim}, and must be a multiple of {HEAD}")));
        }
        Ok(AttentionKernel {
            shared: Arc::clone(&self.0),
            layer: size_below(kernel, "layer", model.layers)?,
            // A multiple of `kv_heads`, as whoever read the folder has checked.
            heads: size_of_model(kernel, "heads", model.heads)?,
            kv_heads: size_of_model(kernel, "kv_heads", model.kv_heads)?,
            head_dim,
            window: size(kernel, "window")?,
            epsilon: epsilon(kernel)?,
        })
    }
}

thread_local! {
    /// What attention computes with: as long as the longest sequence that the thread has seen makes it.
    static ROOM: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// What is the same for every token.
struct Tables<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
    q_norm: Option<&'a [f32]>,
    k_norm: Option<&'a [f32]>,
}

impl Tables<'_> {
    /// Every position that a step may have must be in the tables.
    fn check(&self, head_dim: usize, context: usize) -> ort::Result<()> {
        let (found, wanted) = (self.cos.len().min(self.sin.len()), context * (head_dim / 2));
        if found < wanted {
            return Err(ort::Error::new(format!(
                "the rotary tables have {found} numbers, and {context} positions take {wanted}: \
                 model.max_position is more than the graph has"
            )));
        }
        let whole = |norm: Option<&[f32]>| norm.is_none_or(|norm| norm.len() == head_dim);
        if !(whole(self.q_norm) && whole(self.k_norm)) {
            return Err(ort::Error::new("a norm of queries or keys has another size than a head"));
        }
        Ok(())
    }
}

impl Kernel for AttentionKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let (qkv, cos, sin) = (input(context, 0)?, input(context, 1)?, input(context, 2)?);
        let (q_norm, k_norm) = (context.input(3)?, context.input(4)?);
        let (_, qkv) = qkv.try_extract_tensor::<f32>()?;
        let (_, cos) = cos.try_extract_tensor::<f32>()?;
        let (_, sin) = sin.try_extract_tensor::<f32>()?;
        let tables = Tables { cos, sin, q_norm: floats(q_norm.as_ref())?, k_norm: floats(k_norm.as_ref())? };
        tables.check(self.head_dim, self.shared.context)?;
        let mut state = self.shared.lock();
        let State { cpu, threads, pages, plan, scratch, .. } = &mut *state;
        let (cpu, tokens) = (*cpu, plan.tokens.len());
        let (dim, queries) = (self.head_dim, self.heads * self.head_dim);
        let width = queries + 2 * self.kv_heads * dim;
        if qkv.len() != tokens * width {
            return Err(ort::Error::new("queries, keys and values have another size than the step"));
        }
        let mut out = context
            .output(0, [tokens as i64, queries as i64])?
            .ok_or_else(|| ort::Error::new("no output"))?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        let (size, kept) = (tokens * queries, pages.kept());
        kernel::grow(&mut scratch.queries, size);
        let (layer, rotated) = (Late::new(pages.layer(self.layer)), Late::new(&mut scratch.queries[..size]));
        // SAFETY: the only calls; both are read in the second stage.
        let (keys, turned) = unsafe { (Disjoint::new(layer.fill()), Disjoint::new(rotated.fill())) };
        // A few tokens at a time: one takes less than starting a thread.
        let few = tokens.div_ceil(8).min(*threads * 4);
        let write = |i: usize| {
            let own = tokens * i / few..tokens * (i + 1) / few;
            let fetch = |t: usize| {
                let place = plan.tokens[t].place;
                for head in 0..self.kv_heads {
                    match kept {
                        Kept::Int8 => pages::fetch::<i8>(cpu, &keys, (place, head, self.kv_heads), dim),
                        Kept::Bf16 => pages::fetch::<u16>(cpu, &keys, (place, head, self.kv_heads), dim),
                    }
                }
            };
            // What a token is written to comes while the one before it is rotated.
            own.clone().take(1).for_each(fetch);
            for t in own.clone() {
                if t + 1 < own.end {
                    fetch(t + 1);
                }
                // SAFETY: every token has its own queries.
                let turned = unsafe { turned.part(t * queries, queries) };
                let (token, row) = (&plan.tokens[t], &qkv[t * width..][..width]);
                match kept {
                    Kept::Int8 => self.token::<i8>(cpu, token, row, &tables, turned, &keys),
                    Kept::Bf16 => self.token::<u16>(cpu, token, row, &tables, turned, &keys),
                }
            }
        };
        let out = Disjoint::new(out);
        let jobs = plan.neighbours.len() * self.kv_heads;
        let pieces = jobs.min(*threads * 24);
        let attend = |i: usize| {
            // SAFETY: the first stage is over.
            let (layer, rotated) = unsafe { (layer.read(), rotated.read()) };
            ROOM.with_borrow_mut(|room| {
                for job in jobs * i / pieces..jobs * (i + 1) / pieces {
                    let tokens = &plan.neighbours[job / self.kv_heads];
                    let head = pages::head(layer, kept, self.kv_heads, job % self.kv_heads, dim);
                    self.attend(cpu, plan, tokens.clone(), head, rotated, room, &out);
                }
            });
        };
        stages::run(context, *threads, &[Stage::new(few, &write), Stage::new(pieces, &attend)])
    }
}

impl AttentionKernel {
    /// One key and value head of neighbouring tokens of a sequence.
    #[allow(clippy::too_many_arguments)] // What it reads, and where it writes.
    fn attend(
        &self,
        cpu: Cpu,
        plan: &Plan,
        tokens: Range<usize>,
        head: Head<'_>,
        rotated: &[f32],
        room: &mut Vec<f32>,
        out: &Disjoint<'_, f32>,
    ) {
        let (dim, group) = (self.head_dim, self.heads / self.kv_heads);
        let last = &plan.tokens[tokens.end - 1];
        room.resize(room.len().max(kernel::room(dim, last.position)), 0.0);
        let mut heads = tokens.flat_map(|t| (0..group).map(move |g| (t, g)));
        let table = &plan.tables[last.table.0..last.table.1];
        loop {
            let mut queries = [Query { values: &[], from: 0, to: 0 }; QUERIES];
            let mut outs: [&mut [f32]; QUERIES] = Default::default();
            let mut count = 0;
            for ((query, room), (t, g)) in queries.iter_mut().zip(&mut outs).zip(&mut heads) {
                let to = plan.tokens[t].position;
                let from = if self.window == 0 { 0 } else { (to + 1).saturating_sub(self.window) };
                let first = (t * self.heads + head.index * group + g) * dim;
                *query = Query { values: &rotated[first..][..dim], from, to };
                // SAFETY: every job writes its own heads of its own tokens.
                *room = unsafe { out.part(first, dim) };
                count += 1;
            }
            if count == 0 {
                return;
            }
            cpu.attend(head, table, &queries[..count], room, &mut outs[..count]);
        }
    }

    /// Norms and rotates a token's queries and keys, and writes its keys and values into the cache.
    fn token<S: Stored>(
        &self,
        cpu: Cpu,
        token: &Token,
        row: &[f32],
        tables: &Tables<'_>,
        queries: &mut [f32],
        layer: &Disjoint<'_, u8>,
    ) {
        /// Longest head that stays on the stack.
        const MAX_HEAD: usize = 256;
        let dim = self.head_dim;
        let half = dim / 2;
        let angles = token.position * half..(token.position + 1) * half;
        let (cos, sin) = (&tables.cos[angles.clone()], &tables.sin[angles]);
        let (q, kv) = row.split_at(self.heads * dim);
        let (k, v) = kv.split_at(self.kv_heads * dim);
        for (q, out) in q.chunks_exact(dim).zip(queries.chunks_exact_mut(dim)) {
            match tables.q_norm {
                Some(norm) => cpu.rms_norm(q, norm, self.epsilon, out),
                None => out.copy_from_slice(q),
            }
            cpu.rotate(out, cos, sin);
        }
        let (mut buffer, mut short) = ([0.0; MAX_HEAD], [S::zeroed(); MAX_HEAD]);
        let (mut long_buffer, mut long) = (Vec::new(), Vec::new());
        let (key, room) = if dim <= MAX_HEAD {
            (&mut buffer[..dim], &mut short[..dim])
        } else {
            long_buffer.resize(dim, 0.0);
            long.resize(dim, S::zeroed());
            (&mut long_buffer[..], &mut long[..])
        };
        for (head, (k, v)) in k.chunks_exact(dim).zip(v.chunks_exact(dim)).enumerate() {
            match tables.k_norm {
                Some(norm) => cpu.rms_norm(k, norm, self.epsilon, key),
                None => key.copy_from_slice(k),
            }
            cpu.rotate(key, cos, sin);
            // SAFETY: every token has its own place in the cache, and nobody reads it before all are written.
            unsafe { pages::write(cpu, layer, (token.place, head, self.kv_heads), (key, v), room) };
        }
    }
}

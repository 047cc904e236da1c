//! The forward pass, layer by layer as the served decoder computes it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::base::{Layer, PROJECTIONS};
use crate::batch::{Batch, common_prefix};
use crate::ops::{Spans, log_probs, rms_norm, rope, softmax};
use crate::{Base, Example, Lora, TrainError};

/// Tokens that are computed at once, as far as the examples allow: attention takes their square.
const AT_ONCE: usize = 768;

/// Adapters with their weights, as a request mixes them.
pub type Mix<'a> = &'a [(&'a Lora, f64)];

/// How likely the learned tokens of an example are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Σ ln p of its learned tokens.
    pub log_prob: f64,
    /// How many these are.
    pub tokens: usize,
}

/// A base model that computes.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    pub base: &'a Base,
}

/// What the layers share in a batch.
pub(crate) struct Context<'a> {
    batch: &'a Batch,
    all: Places,
    /// Of the rows whose next token is learned.
    asked: Places,
}

/// Where rows stand, and what they see.
struct Places {
    cos: Tensor,
    sin: Tensor,
    spans: Arc<[Spans]>,
}

impl<'a> Model<'a> {
    pub fn new(base: &'a Base) -> Self {
        Self { base }
    }

    /// How likely each example is under a mix of adapters.
    ///
    /// # Errors
    /// [`TrainError::Bad`] if an example does not fit the model.
    pub fn measure(
        self,
        mix: Mix<'_>,
        examples: &[Example],
    ) -> std::result::Result<Vec<Measured>, TrainError> {
        let mut measured: Vec<Measured> =
            examples.iter().map(|e| Measured { log_prob: 0.0, tokens: e.targets() }).collect();
        for chunk in self.chunks(examples)? {
            let members: Vec<&Example> = chunk.members.iter().map(|at| &examples[*at]).collect();
            let batch = self.batch(&members, chunk.prefix)?;
            let context = self.context(&batch)?;
            let hidden = self.layers(&self.embed(&batch)?, &context, 0..self.base.layers.len(), mix)?;
            let values = self.log_probs(&hidden, &batch)?.to_vec1::<f32>()?;
            for (value, owner) in values.iter().zip(&batch.owners) {
                measured[chunk.members[*owner]].log_prob += f64::from(*value);
            }
        }
        Ok(measured)
    }

    pub(crate) fn batch(self, members: &[&Example], prefix: usize) -> Result<Batch> {
        Batch::new(members, prefix, self.base.config().sliding_window, &self.base.device)
    }

    /// Checks the examples and cuts them, in their order, into chunks that are computed at once.
    pub(crate) fn chunks(self, examples: &[Example]) -> std::result::Result<Vec<Chunk>, TrainError> {
        let config = self.base.config();
        for example in examples {
            example.check(config.vocab_size, config.max_position)?;
        }
        let all: Vec<usize> = (0..examples.len()).collect();
        Ok(chunks(examples, &all, &prefixes(examples), usize::MAX))
    }

    pub(crate) fn context(self, batch: &Batch) -> Result<Context<'_>> {
        let places = |positions: &Tensor, spans: &Arc<[Spans]>| {
            let table = |table: &Tensor| table.index_select(positions, 0);
            let spans = Arc::clone(spans);
            Result::Ok(Places { cos: table(&self.base.cos)?, sin: table(&self.base.sin)?, spans })
        };
        let asked = batch.positions.index_select(&batch.rows, 0)?;
        Ok(Context {
            batch,
            all: places(&batch.positions, &batch.spans)?,
            asked: places(&asked, &batch.asked_spans)?,
        })
    }

    pub(crate) fn embed(self, batch: &Batch) -> Result<Tensor> {
        self.base.embedding.index_select(&batch.tokens, 0)
    }

    /// ln p of each target. `hidden`: behind the last layer.
    pub(crate) fn log_probs(self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        let normed = rms_norm(hidden, &self.base.final_norm, self.base.config().rms_norm_eps)?;
        log_probs(&self.base.head.product(&normed)?, &batch.targets)
    }

    /// The residual stream behind these layers; `hidden`: before them, `[n, hidden]`. Behind the last layer it is that of
    /// [`Batch::rows`] alone: nobody asks for the others.
    pub(crate) fn layers(
        self,
        hidden: &Tensor,
        context: &Context<'_>,
        range: Range<usize>,
        mix: Mix<'_>,
    ) -> Result<Tensor> {
        let mut hidden = hidden.clone();
        for at in range {
            hidden = self.layer(at, &hidden, context, mix)?;
        }
        Ok(hidden)
    }

    fn layer(self, at: usize, x: &Tensor, context: &Context<'_>, mix: Mix<'_>) -> Result<Tensor> {
        let layer = &self.base.layers[at];
        let epsilon = self.base.config().rms_norm_eps;
        let linear = |projection: usize, x: &Tensor| linear(layer, at, projection, x, mix);
        let normed = rms_norm(x, &layer.input_norm, epsilon)?;
        let (k, v) = (linear(1, &normed)?, linear(2, &normed)?);
        let rows = &context.batch.rows;
        let (x, asking, places) = if at + 1 == self.base.layers.len() {
            (x.index_select(rows, 0)?, normed.index_select(rows, 0)?, &context.asked)
        } else {
            (x.clone(), normed, &context.all)
        };
        let attended = self.attention(layer, [&linear(0, &asking)?, &k, &v], context, places)?;
        let x = (x + linear(3, &attended)?)?;
        let normed = rms_norm(&x, &layer.post_norm, epsilon)?;
        let activated = (linear(4, &normed)?.silu()? * linear(5, &normed)?)?;
        x + linear(6, &activated)?
    }

    /// `q`: `[m, heads * head_dim]`, of the rows at `places`; `k`, `v`: `[n, kv_heads * head_dim]`, of all.
    fn attention(
        self,
        layer: &Layer,
        [q, k, v]: [&Tensor; 3],
        context: &Context<'_>,
        places: &Places,
    ) -> Result<Tensor> {
        let config = self.base.config();
        let (dim, shared) = (config.head_dim, config.heads / config.kv_heads);
        let heads =
            |x: &Tensor, count: usize| x.reshape((x.dim(0)?, count, dim))?.transpose(0, 1)?.contiguous();
        let (mut q, mut k) = (heads(q, config.heads)?, heads(k, config.kv_heads)?);
        if let Some((q_norm, k_norm)) = &layer.head_norms {
            q = rms_norm(&q, q_norm, config.rms_norm_eps)?;
            k = rms_norm(&k, k_norm, config.rms_norm_eps)?;
        }
        let (q, k) = (rope(&q, &places.cos, &places.sin)?, rope(&k, &context.all.cos, &context.all.sin)?);
        let v = heads(v, config.kv_heads)?;
        // The queries of the heads that share keys, one behind another.
        let m = q.dim(1)?;
        let q = (q.reshape((config.kv_heads, shared * m, dim))? * (1.0 / (dim as f64).sqrt()))?;
        let weights = softmax(&q.matmul(&k.transpose(1, 2)?)?, &places.spans)?;
        let mixed = weights.matmul(&v)?;
        mixed.reshape((config.heads, m, dim))?.transpose(0, 1)?.reshape((m, config.heads * dim))
    }
}

/// `W x + b + Σ g · s · B (A x)`
fn linear(layer: &Layer, at: usize, projection: usize, x: &Tensor, mix: Mix<'_>) -> Result<Tensor> {
    let base = &layer.linears[projection];
    let mut y = base.weight.product(x)?;
    if let Some(bias) = &base.bias {
        y = y.broadcast_add(bias)?;
    }
    for (lora, weight) in mix {
        if let Some(factors) = &lora.layers[at][projection] {
            y = (y + (factors.product(x)? * *weight)?)?;
        }
    }
    Ok(y)
}

/// Examples that are computed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub members: Vec<usize>,
    /// Tokens that they share.
    pub prefix: usize,
}

/// Tokens that all examples of a group begin with.
pub(crate) type Prefixes = BTreeMap<usize, usize>;

pub(crate) fn prefixes(examples: &[Example]) -> Prefixes {
    let mut groups: BTreeMap<usize, Vec<&Example>> = BTreeMap::new();
    for example in examples {
        groups.entry(example.group).or_default().push(example);
    }
    groups.into_iter().map(|(group, members)| (group, common_prefix(members))).collect()
}

/// Cuts the examples `order` into chunks of one group each, at most `most` in a chunk. Within a group the order stays.
pub(crate) fn chunks(examples: &[Example], order: &[usize], prefixes: &Prefixes, most: usize) -> Vec<Chunk> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in order {
        groups.entry(examples[*at].group).or_default().push(*at);
    }
    let mut chunks = Vec::new();
    for (group, members) in groups {
        let prefix = prefixes.get(&group).copied().unwrap_or(0);
        let mut chunk = Chunk { members: Vec::new(), prefix };
        let mut tokens = prefix;
        for at in members {
            let own = examples[at].tokens.len() - prefix;
            if !chunk.members.is_empty() && (tokens + own > AT_ONCE || chunk.members.len() >= most) {
                chunks.push(std::mem::replace(&mut chunk, Chunk { members: Vec::new(), prefix }));
                tokens = prefix;
            }
            tokens += own;
            chunk.members.push(at);
        }
        chunks.push(chunk);
    }
    chunks
}

/// The module of a projection: `self_attn` or `mlp`.
pub(crate) fn module(projection: usize) -> &'static str {
    PROJECTIONS[projection].1
}

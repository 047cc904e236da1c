//! What the frozen layers below an adapter make of examples: the same in every epoch, and in every training on them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use candle_core::Tensor;

use crate::model::Prefixes;
use crate::{Base, Example, Model, TrainError};

/// Tokens of the longest example: attention takes their square in memory.
const MAX_TOKENS: usize = 1024;

/// Bytes of what the layers make of all examples.
const MAX_HIDDEN: usize = 2 << 30;

/// The residual stream of examples before the first layer that is adapted.
#[derive(Debug)]
pub struct Below {
    first_layer: usize,
    /// By group: how many tokens its examples begin with, and what these become, `[prefix, hidden]`.
    shared: BTreeMap<usize, (usize, Tensor)>,
    /// By group and tokens of an example: what the tokens behind these become, `[n, hidden]`.
    own: HashMap<(usize, Vec<u32>), Tensor>,
}

impl Below {
    /// Computes the layers below `first_layer`.
    ///
    /// # Errors
    /// [`TrainError::Bad`] if an example does not fit the model, or they are too many.
    pub fn new(base: &Base, first_layer: usize, examples: &[Example]) -> Result<Self, TrainError> {
        check_sizes(base, examples, &[])?;
        let model = Model::new(base);
        let mut below = Self { first_layer, shared: BTreeMap::new(), own: HashMap::new() };
        for chunk in model.chunks(examples)? {
            let members: Vec<&Example> = chunk.members.iter().map(|at| &examples[*at]).collect();
            let batch = model.batch(&members, chunk.prefix)?;
            let context = model.context(&batch)?;
            let values = model.layers(&model.embed(&batch)?, &context, 0..first_layer, &[])?;
            // A copy, so that the batch's memory is let go of.
            let part = |at: usize, length: usize| {
                candle_core::Result::Ok(values.narrow(0, at, length)?.copy()?.detach())
            };
            let mut at = chunk.prefix;
            for example in members {
                let own = example.tokens.len() - chunk.prefix;
                below.own.insert((example.group, example.tokens.clone()), part(at, own)?);
                at += own;
                if let Entry::Vacant(entry) = below.shared.entry(example.group) {
                    entry.insert((chunk.prefix, part(0, chunk.prefix)?));
                }
            }
        }
        Ok(below)
    }

    pub(crate) fn first_layer(&self) -> usize {
        self.first_layer
    }

    /// The tokens that each group begins with.
    pub(crate) fn prefixes(&self) -> Prefixes {
        self.shared.iter().map(|(group, (prefix, _))| (*group, *prefix)).collect()
    }

    /// What becomes of an example: of its group's beginning, and of the rest.
    pub(crate) fn of(&self, example: &Example) -> Option<(&Tensor, &Tensor)> {
        let own = self.own.get(&(example.group, example.tokens.clone()))?;
        Some((&self.shared.get(&example.group)?.1, own))
    }

    /// What becomes of examples of one group in one sequence, as [`crate::batch::Batch`] has them.
    pub(crate) fn side_by_side(&self, examples: &[&Example]) -> Result<Tensor, TrainError> {
        let mut parts = Vec::with_capacity(1 + examples.len());
        for example in examples {
            let Some((shared, own)) = self.of(example) else {
                return Err(TrainError::Bad("an example is missing in what was computed before".into()));
            };
            if parts.is_empty() {
                parts.push(shared);
            }
            parts.push(own);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }
}

/// What would take more memory than beside a server there is.
pub(crate) fn check_sizes(base: &Base, examples: &[Example], held_out: &[Example]) -> Result<(), TrainError> {
    let longest = examples.iter().chain(held_out).map(|example| example.tokens.len()).max().unwrap_or(0);
    if longest > MAX_TOKENS {
        let reason =
            format!("an example has {longest} tokens with its prompt; at most {MAX_TOKENS} are trained on");
        return Err(TrainError::Bad(reason));
    }
    let tokens: usize = examples.iter().map(|example| example.tokens.len()).sum();
    let bytes = tokens.saturating_mul(base.config().hidden_size).saturating_mul(size_of::<f32>());
    if bytes > MAX_HIDDEN {
        let (tokens_allowed, examples) =
            (MAX_HIDDEN / size_of::<f32>() / base.config().hidden_size, examples.len());
        let reason =
            format!("{examples} examples have {tokens} tokens; at most {tokens_allowed} are trained on");
        return Err(TrainError::Bad(reason));
    }
    Ok(())
}

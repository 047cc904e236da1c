//! What a step computed: the logits of the tokens that wanted them.

use std::fmt;
use std::ops::{Deref, DerefMut};

use ort::value::DynValue;

use super::EngineError;

/// Logits of which [`Logits::tops`] holds the largest.
pub const TOP: usize = 16;

/// The logits of a step, a row for each token that wanted them, and perhaps the largest of every [`TOP`] of them. They
/// stay where they were computed: a step of many rows has megabytes of them.
#[derive(Default)]
pub struct Logits {
    held: Held,
    /// `[rows][vocab / TOP, rounded up]`; empty: whoever computed the logits has not looked.
    tops: Vec<f32>,
}

enum Held {
    Own(Vec<f32>),
    /// What ONNX Runtime gave: floats on the CPU.
    Tensor(DynValue),
}

impl Default for Held {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl fmt::Debug for Logits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logits").field("count", &self.len()).finish_non_exhaustive()
    }
}

impl Logits {
    /// So many zeros, to be written.
    pub fn zeros(&mut self, count: usize) -> &mut [f32] {
        self.tops.clear();
        let mut values = match std::mem::take(&mut self.held) {
            Held::Own(values) => values,
            Held::Tensor(_) => Vec::new(),
        };
        values.clear();
        values.resize(count, 0.0);
        self.held = Held::Own(values);
        self
    }

    /// Lets go of a tensor, so that its memory is free for the next one.
    pub fn clear(&mut self) {
        self.zeros(0);
    }

    /// Takes a tensor, which must be floats on the CPU. `tops`: swapped for what was there.
    pub fn set(&mut self, tensor: DynValue, tops: &mut Vec<f32>) -> Result<(), EngineError> {
        tensor.try_extract_tensor::<f32>()?;
        self.held = Held::Tensor(tensor);
        std::mem::swap(&mut self.tops, tops);
        Ok(())
    }

    /// All rows, of `vocab` logits each.
    pub fn rows(&mut self, vocab: usize) -> Rows<'_> {
        let Self { held, tops } = self;
        Rows { values: held.values_mut(), tops, vocab }
    }
}

impl Held {
    fn values_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Own(values) => values,
            // It was extracted once, when it came.
            Self::Tensor(tensor) => tensor.try_extract_tensor_mut().map_or(&mut [], |(_, values)| values),
        }
    }
}

impl Deref for Logits {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.held {
            Held::Own(values) => values,
            Held::Tensor(tensor) => tensor.try_extract_tensor().map_or(&[], |(_, values)| values),
        }
    }
}

impl DerefMut for Logits {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.held.values_mut()
    }
}

/// Some rows of a step's logits. Whoever takes them may write into them.
#[derive(Debug)]
pub struct Rows<'a> {
    values: &'a mut [f32],
    tops: &'a [f32],
    vocab: usize,
}

/// The logits of one token.
#[derive(Debug)]
pub struct Row<'a> {
    pub values: &'a mut [f32],
    /// The largest of every [`TOP`]; empty: not known.
    pub tops: &'a [f32],
}

impl<'a> Rows<'a> {
    /// The next `count` rows; fewer at the end.
    pub fn cut(&mut self, count: usize) -> Rows<'a> {
        let (values, rest) = std::mem::take(&mut self.values).split_at_mut(self.vocab * count);
        let (tops, others) = self.tops.split_at((self.tops_of_a_row() * count).min(self.tops.len()));
        (self.values, self.tops) = (rest, others);
        Rows { values, tops, vocab: self.vocab }
    }

    fn tops_of_a_row(&self) -> usize {
        self.vocab.div_ceil(TOP)
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        if self.values.is_empty() {
            return None;
        }
        let Rows { values, tops, .. } = self.cut(1);
        Some(Row { values, tops })
    }
}

impl<'a> From<&'a mut [f32]> for Row<'a> {
    fn from(values: &'a mut [f32]) -> Self {
        Self { values, tops: &[] }
    }
}

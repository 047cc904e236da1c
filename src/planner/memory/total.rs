//! Bytes of keys and values, and of all together.

use super::super::input::{self, InputError};
use super::super::models::Architecture;
use super::adapters::AdapterShape;
use super::gigabytes;
use super::weights::WeightScheme;

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvScheme {
    /// Bytes of a number, 1 to 4.
    pub element_bytes: u32,
    /// Bytes that a token's key, and its value, take in each head besides, 0 to 4.
    pub scale_bytes: u32,
    /// Tokens of a page: a row takes whole pages; 1: no pages.
    pub page_tokens: u32,
}

impl KvScheme {
    /// As the native decoder keeps them: 8 bits and a scale, in pages of 16 tokens.
    pub const NATIVE: Self = Self { element_bytes: 1, scale_bytes: 4, page_tokens: 16 };
    /// With `engine.kv_precision = "bf16"`.
    pub const NATIVE_BF16: Self = Self { element_bytes: 2, ..Self::NATIVE };

    /// Bytes of a token's keys and values, in all layers.
    pub fn token_bytes(self, architecture: &Architecture) -> u64 {
        let numbers = architecture.kv_size() * u64::from(self.element_bytes);
        let scales = u64::from(architecture.kv_heads) * u64::from(self.scale_bytes);
        2 * u64::from(architecture.layers) * (numbers + scales)
    }

    /// Bytes of a row of so many tokens.
    pub fn row_bytes(self, architecture: &Architecture, context_tokens: u64) -> u64 {
        let page = u64::from(self.page_tokens.max(1));
        let tokens = context_tokens.div_ceil(page).saturating_mul(page);
        self.token_bytes(architecture).saturating_mul(tokens)
    }
}

/// What one server holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    pub architecture: Architecture,
    pub weights: WeightScheme,
    pub kv: KvScheme,
    /// Rows whose keys and values are held: those that run and those that are kept for a next line.
    pub rows: u64,
    /// Tokens of a row.
    pub context_tokens: u64,
    /// Adapters in memory: their shape, and how many of them.
    pub adapters: Vec<(AdapterShape, u64)>,
    /// What the process takes besides, in bytes: code, runtime, buffers of a step. From a measurement.
    pub overhead_bytes: u64,
}

/// Bytes by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub weights_bytes: u64,
    pub kv_bytes: u64,
    pub adapters_bytes: u64,
    pub overhead_bytes: u64,
}

/// It does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it needs {} and there are {}: {} too little (weights {}, keys and values {}, adapters {}, runtime {})",
    gigabytes(.memory.total_bytes()), gigabytes(*.capacity_bytes), gigabytes(self.missing_bytes()),
    gigabytes(.memory.weights_bytes), gigabytes(.memory.kv_bytes), gigabytes(.memory.adapters_bytes),
    gigabytes(.memory.overhead_bytes)
)]
pub struct DoesNotFit {
    pub memory: Memory,
    pub capacity_bytes: u64,
}

impl DoesNotFit {
    pub fn missing_bytes(&self) -> u64 {
        self.memory.total_bytes().saturating_sub(self.capacity_bytes)
    }
}

impl Memory {
    pub fn total_bytes(&self) -> u64 {
        [self.kv_bytes, self.adapters_bytes, self.overhead_bytes]
            .into_iter()
            .fold(self.weights_bytes, u64::saturating_add)
    }

    /// Bytes that stay free of `capacity_bytes`.
    pub fn fit(&self, capacity_bytes: u64) -> Result<u64, DoesNotFit> {
        let free = capacity_bytes.checked_sub(self.total_bytes());
        free.ok_or(DoesNotFit { memory: *self, capacity_bytes })
    }
}

impl Demand {
    /// Checks the ranges.
    pub fn check(&self) -> Result<(), InputError> {
        self.architecture.check("model")?;
        let bits = [
            ("weights.linear_bits", self.weights.linear_bits),
            ("weights.embedding_bits", self.weights.embedding_bits),
            ("weights.small_bits", self.weights.small_bits),
        ];
        bits.into_iter().try_for_each(|(key, value)| input::number(key, value, 1.0, 32.0))?;
        input::number("weights.row_bits", self.weights.row_bits, 0.0, 64.0)?;
        input::whole("kv.element_bytes", u64::from(self.kv.element_bytes), 1, 4)?;
        input::whole("kv.scale_bytes", u64::from(self.kv.scale_bytes), 0, 4)?;
        input::whole("kv.page_tokens", u64::from(self.kv.page_tokens), 1, 4096)?;
        input::whole("rows", self.rows, 0, 10_000_000)?;
        input::whole("context_tokens", self.context_tokens, 1, 1 << 24)?;
        input::whole("overhead_bytes", self.overhead_bytes, 0, 1 << 50)?;
        for (shape, count) in &self.adapters {
            shape.check(&self.architecture)?;
            input::whole("adapters", *count, 0, 10_000_000)?;
        }
        Ok(())
    }

    /// Bytes by what they are for. A sum beyond what 64 bits count stays at their largest number.
    pub fn memory(&self) -> Memory {
        let adapters =
            self.adapters.iter().map(|(shape, count)| shape.bytes(&self.architecture).saturating_mul(*count));
        Memory {
            weights_bytes: self.weights.bytes(&self.architecture),
            kv_bytes: self.kv.row_bytes(&self.architecture, self.context_tokens).saturating_mul(self.rows),
            adapters_bytes: adapters.fold(0, u64::saturating_add),
            overhead_bytes: self.overhead_bytes,
        }
    }

    /// Rows for which there is room, whatever `rows` says.
    ///
    /// # Errors
    /// There is no room for a single row.
    pub fn most_rows(&self, capacity_bytes: u64) -> Result<u64, DoesNotFit> {
        let row = self.kv.row_bytes(&self.architecture, self.context_tokens).max(1);
        let one = Memory { kv_bytes: row, ..self.memory() };
        let free = one.fit(capacity_bytes)?;
        Ok(1 + free / row)
    }
}

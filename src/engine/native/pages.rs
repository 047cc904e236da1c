//! The KV cache: pages of [`PAGE`] tokens, all layers of a page under one number.

use memmap2::MmapMut;

use super::kernel::{Head, PAGE, f32_to_bf16};
use crate::engine::EngineError;

/// Keys and values in `bf16`, by layer: `[layers][pages][kv_heads][2][head_dim · PAGE]`.
pub struct Pages {
    map: MmapMut,
    count: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Pages {
    /// Reserves anonymous memory: a page costs nothing until a token is written to it.
    pub fn new(layers: usize, pages: usize, kv_heads: usize, head_dim: usize) -> Result<Self, EngineError> {
        let bytes = layers * pages * kv_heads * 2 * head_dim * PAGE * size_of::<u16>();
        let map = MmapMut::map_anon(bytes).map_err(|error| {
            EngineError::Runtime(format!(
                "cannot reserve {bytes} bytes for the KV cache (engine.kv_memory_mb): {error}"
            ))
        })?;
        Ok(Self { map, count: pages, kv_heads, head_dim })
    }

    /// Bytes that one page takes.
    pub fn page_bytes(layers: usize, kv_heads: usize, head_dim: usize) -> usize {
        layers * kv_heads * 2 * head_dim * PAGE * size_of::<u16>()
    }

    fn layer_len(&self) -> usize {
        self.count * self.kv_heads * 2 * self.head_dim * PAGE
    }

    /// A layer's pages.
    pub fn layer(&mut self, layer: usize) -> &mut [u16] {
        let length = self.layer_len();
        let (_, values, _) = bytes_as_u16(&mut self.map);
        &mut values[layer * length..][..length]
    }

    /// Copies the first `tokens` tokens of a page, all layers.
    pub fn copy(&mut self, from: u32, to: u32, tokens: usize) {
        let (dim, heads) = (self.head_dim, self.kv_heads);
        let half = dim * PAGE;
        let layers = self.map.len() / 2 / self.layer_len();
        for layer in 0..layers {
            let values = self.layer(layer);
            for head in 0..heads {
                let keys = |page: u32| (page as usize * heads + head) * 2 * half;
                let (from, to) = (keys(from), keys(to));
                // Keys stand token beside token; the others of the page are overwritten when they come.
                values.copy_within(from..from + half, to);
                values.copy_within(from + half..from + half + tokens.min(PAGE) * dim, to + half);
            }
        }
    }
}

fn bytes_as_u16(bytes: &mut [u8]) -> (&mut [u8], &mut [u16], &mut [u8]) {
    // SAFETY: any two bytes are a u16; a map starts at a memory page, so nothing is cut off.
    unsafe { bytes.align_to_mut() }
}

/// Where a token's numbers stand in a layer's pages.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub page: u32,
    pub slot: usize,
}

/// Writes a token's key of one head. `set` writes one element of the layer.
#[inline]
pub fn write_key(at: Place, head: usize, kv_heads: usize, key: &[f32], mut set: impl FnMut(usize, u16)) {
    let base = (at.page as usize * kv_heads + head) * 2 * key.len() * PAGE;
    for (d, value) in key.iter().enumerate() {
        set(base + d * PAGE + at.slot, f32_to_bf16(*value));
    }
}

/// Where a token's value of one head begins.
pub fn value(at: Place, head: usize, kv_heads: usize, dim: usize) -> usize {
    ((at.page as usize * kv_heads + head) * 2 + 1) * dim * PAGE + at.slot * dim
}

/// One head of a layer, for reading.
pub fn head(pages: &[u16], kv_heads: usize, head: usize, head_dim: usize) -> Head<'_> {
    Head { pages, kv_heads, index: head, dim: head_dim }
}

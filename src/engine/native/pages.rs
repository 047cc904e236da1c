//! The KV cache: pages of [`PAGE`] tokens, all layers of a page under one number.

use memmap2::MmapMut;

use super::disjoint::Disjoint;
use super::kernel::{Cpu, Kept, PAGE, PAIR, SCALES, Stored, half_bytes};
use crate::engine::EngineError;

/// Keys and values, by layer: `[layers][pages][kv_heads][2]`, as [`Head`](super::kernel::Head) has it.
pub struct Pages {
    map: MmapMut,
    count: usize,
    sizes: Sizes,
}

/// Sizes of a model's keys and values.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub layers: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub kept: Kept,
}

impl Sizes {
    /// Bytes of the keys, or of the values, of a page in one head.
    fn half_bytes(self) -> usize {
        half_bytes(self.head_dim, self.kept.bytes())
    }

    /// Bytes that one page takes.
    pub fn page_bytes(self) -> usize {
        self.layers * self.kv_heads * 2 * self.half_bytes()
    }
}

impl Pages {
    /// Reserves anonymous memory: a page costs nothing until a token is written to it.
    pub fn new(sizes: Sizes, pages: usize) -> Result<Self, EngineError> {
        let bytes = sizes.page_bytes() * pages;
        let map = MmapMut::map_anon(bytes).map_err(|error| {
            EngineError::Runtime(format!(
                "cannot reserve {bytes} bytes for the KV cache (engine.kv_memory_mb): {error}"
            ))
        })?;
        Ok(Self { map, count: pages, sizes })
    }

    pub fn kept(&self) -> Kept {
        self.sizes.kept
    }

    /// A layer's pages, which begin where an `f32` may.
    pub fn layer(&mut self, layer: usize) -> &mut [u8] {
        let length = self.count * self.sizes.kv_heads * 2 * self.sizes.half_bytes();
        &mut self.map[layer * length..][..length]
    }

    /// Copies the first `tokens` tokens of a page, all layers.
    pub fn copy(&mut self, from: u32, to: u32, tokens: usize) {
        let Sizes { layers, kv_heads, head_dim, .. } = self.sizes;
        let (half, token) = (self.sizes.half_bytes(), head_dim * self.sizes.kept.bytes());
        // Keys stand token beside token, and so may two tokens' values; the others of the page are overwritten when they come.
        let length = half + SCALES + tokens.next_multiple_of(PAIR).min(PAGE) * token;
        for layer in 0..layers {
            let pages = self.layer(layer);
            for head in 0..kv_heads {
                let start = |page: u32| (page as usize * kv_heads + head) * 2 * half;
                pages.copy_within(start(from)..start(from) + length, start(to));
            }
        }
    }
}

/// Where a token's numbers stand in a layer's pages.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub page: u32,
    pub slot: usize,
}

/// Bytes of a line of memory.
const LINE: usize = 64;

/// Lets the memory come that [`write`] writes: a token's key lies in many lines, which nobody has read since the step before.
pub fn fetch<S: Stored>(
    cpu: Cpu,
    layer: &Disjoint<'_, u8>,
    (at, head, kv_heads): (Place, usize, usize),
    dim: usize,
) {
    let size = size_of::<S>();
    let half = half_bytes(dim, size);
    let keys = (at.page as usize * kv_heads + head) * 2 * half;
    let values = keys + half;
    let scales = [keys, values].map(|first| first + at.slot * size_of::<f32>());
    // Runs may lie closer than lines.
    let every = (LINE / (PAGE * S::KEY * size)).max(1);
    let key = (0..dim / S::KEY).step_by(every);
    let key = key.map(|run| keys + SCALES + (S::key_at(0, at.slot) + run * PAGE * S::KEY) * size);
    let value = values + SCALES + S::value_at(0, at.slot, dim) * size;
    let value = (value..value + dim * S::VALUE * size).step_by(LINE);
    for byte in scales.into_iter().chain(key).chain(value) {
        if let Some(byte) = layer.address(byte) {
            cpu.fetch_written(byte);
        }
    }
}

/// Writes a token's key and value of one head into a layer's pages. `room` is as long as they are.
///
/// # Safety
/// Nobody else reads or writes this token's key and value of this head.
pub unsafe fn write<S: Stored>(
    cpu: Cpu,
    layer: &Disjoint<'_, u8>,
    (at, head, kv_heads): (Place, usize, usize),
    (key, value): (&[f32], &[f32]),
    room: &mut [S],
) {
    let (dim, size) = (key.len(), size_of::<S>());
    let half = half_bytes(dim, size);
    let keys = (at.page as usize * kv_heads + head) * 2 * half;
    // SAFETY: a token's scale, and its numbers, are its own, as the caller promises.
    let put = |first: usize, scale: f32| unsafe { *layer.array(first) = scale.to_ne_bytes() };

    put(keys + at.slot * size_of::<f32>(), cpu.round(key, room));
    for number in room.iter_mut() {
        *number = number.key();
    }
    let first = keys + SCALES + S::key_at(0, at.slot) * size;
    // SAFETY: as above.
    unsafe { layer.spread(first, S::KEY * size, PAGE * S::KEY * size, bytemuck::cast_slice(room)) };

    let values = keys + half;
    put(values + at.slot * size_of::<f32>(), cpu.round(value, room));
    let first = values + SCALES + S::value_at(0, at.slot, dim) * size;
    // SAFETY: as above.
    unsafe { layer.spread(first, size, S::VALUE * size, bytemuck::cast_slice(room)) };
}

#[cfg(test)]
mod tests {
    use super::super::kernel::Head;
    use super::*;

    const SIZES: (usize, usize) = (2, 16);

    /// Writes a token whose numbers follow from `seed` into all layers and heads.
    fn fill<S: Stored>(pages: &mut Pages, at: Place, seed: f32) {
        let (kv_heads, dim) = SIZES;
        for layer in 0..pages.sizes.layers {
            let layer_of = layer as f32;
            let layer = Disjoint::new(pages.layer(layer));
            for head in 0..kv_heads {
                let key: Vec<f32> = (0..dim).map(|d| seed + layer_of + (head * dim + d) as f32).collect();
                let value: Vec<f32> = key.iter().map(|k| -2.0 * k).collect();
                // SAFETY: nobody else has the pages.
                unsafe {
                    write(
                        Cpu::detect(),
                        &layer,
                        (at, head, kv_heads),
                        (&key, &value),
                        &mut vec![S::zeroed(); dim],
                    );
                }
            }
        }
    }

    trait Widen: Stored {
        fn widen(self) -> f32;
    }

    impl Widen for i8 {
        fn widen(self) -> f32 {
            f32::from(self)
        }
    }

    impl Widen for u16 {
        fn widen(self) -> f32 {
            f32::from_bits(u32::from(self) << 16)
        }
    }

    /// A token's keys and values as they are read, of all layers and heads.
    fn read<S: Widen>(pages: &mut Pages, at: Place) -> Vec<f32> {
        let ((kv_heads, dim), kept) = (SIZES, pages.kept());
        let mut found = Vec::new();
        for layer in 0..pages.sizes.layers {
            let layer = Disjoint::new(pages.layer(layer));
            for index in 0..kv_heads {
                // SAFETY: nobody writes to them.
                let head = unsafe { Head::new(&layer, kept, (index, kv_heads), dim) };
                let (keys, values) = (head.keys::<S>(at.page), head.values::<S>(at.page));
                for d in 0..dim {
                    let key = keys.numbers[S::key_at(d, at.slot)].key();
                    let value = values.numbers[S::value_at(d, at.slot, dim)];
                    found.push(key.widen() * keys.scales[at.slot]);
                    found.push(value.widen() * values.scales[at.slot]);
                }
            }
        }
        found
    }

    fn a_copy_has_its_tokens_and_a_life_of_its_own<S: Widen>(kept: Kept) {
        let (kv_heads, head_dim) = SIZES;
        let mut pages = Pages::new(Sizes { layers: 3, kv_heads, head_dim, kept }, 4).unwrap();
        let at = |page, slot| Place { page, slot };
        for slot in 0..PAGE {
            fill::<S>(&mut pages, at(1, slot), 100.0 * slot as f32);
        }
        let wanted = |slot: usize, layer: usize, head: usize, d: usize| {
            100.0 * slot as f32 + layer as f32 + (head * head_dim + d) as f32
        };
        let found = read::<S>(&mut pages, at(1, 7));
        for (i, pair) in found.chunks_exact(2).enumerate() {
            let (layer, head, d) = (i / (kv_heads * head_dim), i / head_dim % kv_heads, i % head_dim);
            let key = wanted(7, layer, head, d);
            assert!((pair[0] - key).abs() < 4.0 && (pair[1] + 2.0 * key).abs() < 8.0, "{pair:?} for {key}");
        }
        for tokens in [1, 7, PAGE] {
            pages.copy(1, 2, tokens);
            for slot in 0..tokens {
                assert_eq!(
                    read::<S>(&mut pages, at(2, slot)),
                    read::<S>(&mut pages, at(1, slot)),
                    "{slot} of {tokens}"
                );
            }
        }
        let before = read::<S>(&mut pages, at(1, 3));
        fill::<S>(&mut pages, at(2, 3), -5.0);
        assert_eq!(read::<S>(&mut pages, at(1, 3)), before);
        assert_ne!(read::<S>(&mut pages, at(2, 3)), before);
        assert_eq!(read::<S>(&mut pages, at(2, 4)), read::<S>(&mut pages, at(1, 4)));
    }

    #[test]
    fn a_copied_page_has_its_tokens_and_a_life_of_its_own() {
        a_copy_has_its_tokens_and_a_life_of_its_own::<i8>(Kept::Int8);
        a_copy_has_its_tokens_and_a_life_of_its_own::<u16>(Kept::Bf16);
    }
}

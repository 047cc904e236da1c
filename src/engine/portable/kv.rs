//! The KV cache: one buffer, a row for every sequence, bound in place as past and present.

use memmap2::MmapMut;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::value::{DynTensor, DynValue, Shape, TensorElementType};

use crate::config::Provider;
use crate::engine::{EngineError, tensor};

/// Sizes of the cache.
#[derive(Debug, Clone, Copy)]
pub struct KvShape {
    pub layers: usize,
    pub rows: usize,
    pub heads: usize,
    /// Tokens in a row.
    pub context: usize,
    pub head_dim: usize,
    pub element: TensorElementType,
}

impl KvShape {
    fn element_bytes(&self) -> usize {
        if self.element == TensorElementType::Float16 { 2 } else { 4 }
    }

    fn token_bytes(&self) -> usize {
        self.layers * 2 * self.heads * self.head_dim * self.element_bytes()
    }

    fn row_bytes(&self) -> usize {
        self.heads * self.context * self.head_dim * self.element_bytes()
    }
}

enum Storage {
    /// Anonymous memory: a page costs nothing until a token is written to it.
    Host(MmapMut),
    /// One tensor for each layer's keys and one for its values, in the device's memory.
    Device(Vec<DynTensor>),
}

/// Keys and values, `[rows, heads, context, head_dim]` for each layer and kind.
pub struct KvCache {
    shape: KvShape,
    storage: Storage,
    info: MemoryInfo<'static>,
    allocator: Allocator,
}

impl KvCache {
    pub fn new(session: &Session, device: Provider, shape: KvShape) -> Result<Self, EngineError> {
        let bytes = shape.row_bytes() * shape.rows * shape.layers * 2;
        let (storage, info, allocator) = if device == Provider::Cpu {
            let map = MmapMut::map_anon(bytes).map_err(|error| {
                EngineError::Runtime(format!(
                    "cannot reserve {bytes} bytes for the KV cache (engine.rows × engine.context): {error}"
                ))
            })?;
            (Storage::Host(map), MemoryInfo::default(), Allocator::default())
        } else {
            let info =
                || MemoryInfo::new(AllocationDevice::CUDA, 0, AllocatorType::Device, MemoryType::Default);
            let allocator = Allocator::new(session, info()?)?;
            let dims = [shape.rows, shape.heads, shape.context, shape.head_dim];
            let tensors = (0..shape.layers * 2)
                .map(|_| DynTensor::new(&allocator, shape.element, dims))
                .collect::<Result<_, _>>()?;
            (Storage::Device(tensors), info()?, allocator)
        };
        Ok(Self { shape, storage, info, allocator })
    }

    /// Keys and values of one token, all layers.
    pub fn token_bytes(&self) -> usize {
        self.shape.token_bytes()
    }

    /// Copies the first `tokens` tokens of a row. `false`: the cache is in a device's memory, where it cannot.
    pub fn copy(&mut self, from: usize, to: usize, tokens: usize) -> bool {
        let shape = self.shape;
        let Storage::Host(map) = &mut self.storage else { return false };
        let head_bytes = shape.context * shape.head_dim * shape.element_bytes();
        let length = tokens.min(shape.context) * shape.head_dim * shape.element_bytes();
        for plane in 0..shape.layers * 2 {
            for head in 0..shape.heads {
                let at = |row: usize| ((plane * shape.rows + row) * shape.heads + head) * head_bytes;
                map.copy_within(at(from)..at(from) + length, at(to));
            }
        }
        true
    }

    /// A tensor over rows `start..start + rows` of a layer's keys (`kind` 0) or values (`kind` 1).
    ///
    /// # Safety
    /// The tensor aliases the cache: it must be dropped before the cache, and no two runs may use
    /// overlapping tensors at the same time.
    pub unsafe fn view(
        &mut self,
        layer: usize,
        kind: usize,
        start: usize,
        rows: usize,
    ) -> Result<DynValue, EngineError> {
        assert!(layer < self.shape.layers && kind < 2 && start + rows <= self.shape.rows);
        let row_bytes = self.shape.row_bytes();
        let plane = layer * 2 + kind;
        let base = match &mut self.storage {
            Storage::Host(map) => {
                let offset = plane * self.shape.rows * row_bytes;
                map[offset..offset + self.shape.rows * row_bytes].as_mut_ptr()
            }
            Storage::Device(tensors) => tensors[plane].data_ptr_mut().cast::<u8>(),
        };
        let dims = Shape::new(
            [rows, self.shape.heads, self.shape.context, self.shape.head_dim].map(|dim| dim as i64),
        );
        // SAFETY: `start + rows` lie inside the plane (asserted above), whose memory is as large as the
        // shape says; the caller keeps the cache alive longer than the tensor.
        unsafe {
            let memory = (base.add(start * row_bytes), rows * row_bytes);
            tensor::over(memory, (self.shape.element, &dims), &self.info, &self.allocator)
        }
    }
}

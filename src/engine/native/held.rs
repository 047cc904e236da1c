//! The weights in memory of their own, where the kernel may give pages of 2 MiB: a step reads all of them, and from a
//! mapped file it would look up every 4 KiB anew.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use memmap2::MmapMut;
use npc_onnx::{NATIVE_WEIGHTS_FILE, PackedTensor, packed_tensors};
use ort::memory::{Allocator, MemoryInfo};
use ort::value::{DynValue, Shape, TensorElementType};

use crate::engine::{EngineError, tensor};

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// Bytes that a matrix begins at a multiple of: lines of memory, as in the file.
const ALIGNMENT: usize = 64;

/// A copy of a folder's packed matrices.
pub struct Held {
    map: MmapMut,
    /// Where each begins.
    tensors: Vec<(PackedTensor, usize)>,
}

/// Whether this kernel gives huge pages to whoever asks. It says which of `always`, `madvise` and `never` is chosen.
fn has_huge_pages() -> bool {
    let chosen = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    chosen.is_ok_and(|chosen| is_given(&chosen))
}

fn is_given(chosen: &str) -> bool {
    chosen.contains("[always]") || chosen.contains("[madvise]")
}

impl Held {
    /// Reads the packed matrices of a model folder; `None` if the kernel would not give huge pages for them.
    ///
    /// # Errors
    /// [`EngineError::BadModel`] if they are not all in their file, [`EngineError::Runtime`] if there is no room for them.
    pub fn read(dir: &Path) -> Result<Option<Self>, EngineError> {
        if !has_huge_pages() {
            return Ok(None);
        }
        let bad = |reason: String| EngineError::BadModel { path: dir.to_owned(), reason };
        let path = dir.join(NATIVE_WEIGHTS_FILE);
        let io = |error: std::io::Error| bad(format!("cannot read {NATIVE_WEIGHTS_FILE}: {error}"));
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();

        let mut tensors: Vec<(PackedTensor, usize)> = Vec::new();
        let mut end = 0_usize;
        for tensor in packed_tensors(dir).map_err(|error| bad(error.to_string()))? {
            let name = &tensor.name;
            if tensor.range.end > length {
                return Err(bad(format!("{NATIVE_WEIGHTS_FILE} ends before tensor {name} does")));
            }
            // Several may share the same bytes.
            let same = tensors.iter().find(|(other, _)| other.range == tensor.range);
            let start = same.map_or(end, |(_, start)| *start);
            if same.is_none() {
                // No longer than the file, so they fit.
                end += (tensor.range.end - tensor.range.start) as usize;
                end = end.next_multiple_of(ALIGNMENT);
            }
            tensors.push((tensor, start));
        }

        let room = |error: std::io::Error| {
            EngineError::Runtime(format!(
                "no room for {end} bytes of weights ({error}); engine.huge_pages = false reads them from their file"
            ))
        };
        let mut map = MmapMut::map_anon(end + HUGE).map_err(room)?;
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            tracing::debug!(%error, "no huge pages for the weights");
        }
        // Huge pages begin at multiples of their size.
        let first = map.as_ptr().align_offset(HUGE);
        let mut read = 0;
        for (tensor, start) in &mut tensors {
            *start += first;
            // Those that share bytes with one before are there.
            if *start < first + read {
                continue;
            }
            let length = (tensor.range.end - tensor.range.start) as usize;
            file.seek(SeekFrom::Start(tensor.range.start)).map_err(io)?;
            file.read_exact(&mut map[*start..*start + length]).map_err(io)?;
            read = *start - first + length;
        }
        Ok(Some(Self { map, tensors }))
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.map.len() - HUGE
    }

    /// The matrices as tensors, by their names in the graph.
    ///
    /// # Safety
    /// They must be dropped before this.
    pub unsafe fn tensors(&mut self) -> Result<Vec<(String, DynValue)>, EngineError> {
        let (info, allocator) = (MemoryInfo::default(), Allocator::default());
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (PackedTensor { name, dims, range }, start) in &self.tensors {
            let bytes = &mut self.map[*start..][..(range.end - range.start) as usize];
            let shape = Shape::new(dims.iter().copied());
            let (memory, element) = ((bytes.as_mut_ptr(), bytes.len()), TensorElementType::Uint8);
            // SAFETY: the caller drops them before the map; nobody writes them.
            let tensor = unsafe { tensor::over(memory, (element, &shape), &info, &allocator) }?;
            tensors.push((name.clone(), tensor));
        }
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_huge_pages_is_understood() {
        assert!(is_given("[always] madvise never\n"));
        assert!(is_given("always [madvise] never\n"));
        assert!(!is_given("always madvise [never]\n"));
        assert!(!is_given(""));
    }
}

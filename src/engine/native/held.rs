//! The weights in memory of their own, on pages of 2 MiB: a step reads all of them, and from a mapped file it would look up
//! every 4 KiB anew.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use memmap2::{Mmap, MmapMut};
use npc_onnx::{NATIVE_WEIGHTS_FILE, PackedTensor, packed_tensors};
use ort::memory::{Allocator, MemoryInfo};
use ort::value::{DynValue, Shape, TensorElementType};

use super::kernel::Line;
use crate::engine::{EngineError, tensor};

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// Bytes that a matrix begins at a multiple of: what lies elsewhere, the products copy first.
const ALIGNMENT: usize = align_of::<Line>();

/// A copy of a folder's packed matrices.
pub struct Held {
    /// Nobody can write to it.
    map: Mmap,
    /// Where each begins.
    tensors: Vec<(PackedTensor, usize)>,
}

/// Whether this kernel gives huge pages to whoever asks. It says which of `always`, `madvise` and `never` is chosen.
pub fn has_huge_pages() -> bool {
    let chosen = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    chosen.is_ok_and(|chosen| is_given(&chosen))
}

fn is_given(chosen: &str) -> bool {
    chosen.contains("[always]") || chosen.contains("[madvise]")
}

impl Held {
    /// Reads the packed matrices of a model folder. `None`: there is no room, and they are better read from their file.
    ///
    /// # Errors
    /// [`EngineError::BadModel`] if they are not all in their file.
    pub fn read(dir: &Path) -> Result<Option<Self>, EngineError> {
        let bad = |reason: String| EngineError::BadModel { path: dir.to_owned(), reason };
        let io = |error: std::io::Error| bad(format!("cannot read {NATIVE_WEIGHTS_FILE}: {error}"));
        let mut file = File::open(dir.join(NATIVE_WEIGHTS_FILE)).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();

        let mut tensors = Vec::new();
        let mut end = 0_usize;
        for tensor in packed_tensors(dir).map_err(|error| bad(error.to_string()))? {
            let PackedTensor { name, range, .. } = &tensor;
            if range.end > length {
                return Err(bad(format!("{NATIVE_WEIGHTS_FILE} ends before tensor {name} does")));
            }
            let start = end;
            let bytes = usize::try_from(range.end - range.start).ok();
            end = bytes
                .and_then(|bytes| start.checked_add(bytes)?.checked_next_multiple_of(ALIGNMENT))
                .ok_or_else(|| bad(format!("tensor {name} is too large for this machine")))?;
            tensors.push((tensor, start));
        }

        let mut map = match MmapMut::map_anon(end.saturating_add(HUGE)) {
            Ok(map) => map,
            Err(error) => {
                tracing::warn!(%error, bytes = end, "no memory for a copy of the weights; their file is mapped");
                return Ok(None);
            }
        };
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            tracing::warn!(%error, "no huge pages for the weights; their file is mapped");
            return Ok(None);
        }
        // Huge pages begin at multiples of their size.
        let first = map.as_ptr().align_offset(HUGE);
        for (PackedTensor { range, .. }, start) in &mut tensors {
            *start += first;
            file.seek(SeekFrom::Start(range.start)).map_err(io)?;
            file.read_exact(&mut map[*start..][..bytes(range)]).map_err(io)?;
        }
        Ok(Some(Self { map: map.make_read_only().map_err(io)?, tensors }))
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.tensors.iter().map(|(tensor, _)| bytes(&tensor.range)).sum()
    }

    fn matrices(&self) -> impl Iterator<Item = (&PackedTensor, &[u8])> {
        self.tensors.iter().map(|(tensor, start)| (tensor, &self.map[*start..][..bytes(&tensor.range)]))
    }

    /// The matrices as tensors, by their names in the graph.
    ///
    /// # Safety
    /// They must be dropped before this, and nobody may write to them.
    pub unsafe fn tensors(&self) -> Result<Vec<(String, DynValue)>, EngineError> {
        let (info, allocator) = (MemoryInfo::default(), Allocator::default());
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (PackedTensor { name, dims, .. }, bytes) in self.matrices() {
            let shape = Shape::new(dims.iter().copied());
            let (memory, element) = ((bytes.as_ptr().cast_mut(), bytes.len()), TensorElementType::Uint8);
            // SAFETY: the caller drops them before the map, and nobody writes them.
            let tensor = unsafe { tensor::over(memory, (element, &shape), &info, &allocator) }?;
            tensors.push((name.clone(), tensor));
        }
        Ok(tensors)
    }
}

/// How many they are, of what was found to fit.
fn bytes(range: &std::ops::Range<u64>) -> usize {
    (range.end - range.start) as usize
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use npc_onnx::NATIVE_GRAPH_FILE;

    use super::*;

    fn model_dir() -> PathBuf {
        let dir = std::env::var_os("NPC_GATEWAY_TEST_MODEL").map(PathBuf::from);
        dir.expect("NPC_GATEWAY_TEST_MODEL is not set: run the tests with `cargo xtask test`")
    }

    #[test]
    fn what_the_kernel_says_of_huge_pages_is_understood() {
        assert!(is_given("[always] madvise never\n"));
        assert!(is_given("always [madvise] never\n"));
        assert!(!is_given("always madvise [never]\n"));
        assert!(!is_given(""));
    }
    #[test]
    fn every_matrix_is_what_its_file_has() {
        let file = std::fs::read(model_dir().join(NATIVE_WEIGHTS_FILE)).unwrap();
        let held = Held::read(&model_dir()).unwrap().expect("there is room");
        let mut total = 0;
        for (PackedTensor { name, range, .. }, bytes) in held.matrices() {
            assert!(bytes == &file[range.start as usize..range.end as usize], "{name}");
            assert!(bytes.as_ptr().addr().is_multiple_of(ALIGNMENT), "{name}");
            total += bytes.len();
        }
        assert!(held.tensors.len() > 4 && total == held.bytes());
    }

    #[test]
    fn a_file_that_is_missing_or_ends_early_is_named() {
        let (whole, cut) = (model_dir(), tempfile::tempdir().unwrap());
        let error = || Held::read(cut.path()).err().unwrap().to_string();
        assert!(error().contains("cannot read native.bin"), "{}", error());
        std::fs::copy(whole.join(NATIVE_GRAPH_FILE), cut.path().join(NATIVE_GRAPH_FILE)).unwrap();
        let mut bytes = std::fs::read(whole.join(NATIVE_WEIGHTS_FILE)).unwrap();
        bytes.truncate(bytes.len() / 2);
        std::fs::write(cut.path().join(NATIVE_WEIGHTS_FILE), bytes).unwrap();
        assert!(
            error().contains("native.bin ends before tensor") && error().contains(".weight"),
            "{}",
            error()
        );
    }
}

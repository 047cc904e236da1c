//! Where a graph's large tensors lie in the file beside it.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use prost::Message;

use crate::proto::{self, DataType, Tensor};
use crate::{ImportError, NATIVE_GRAPH_FILE, NATIVE_WEIGHTS_FILE};

/// Largest graph that is read; the names and small tensors of the largest models have a few megabytes.
const MAX_GRAPH: u64 = 256 << 20;

/// A packed matrix of `native.onnx`, in [`NATIVE_WEIGHTS_FILE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedTensor {
    pub name: String,
    /// Its shape in the graph; its elements are bytes.
    pub dims: Vec<i64>,
    /// Where its bytes are in the file.
    pub range: Range<u64>,
}

/// The packed matrices of a folder's `native.onnx`, in the graph's order.
///
/// # Errors
/// [`ImportError::Io`] and [`ImportError::Invalid`], with the file.
pub fn packed_tensors(dir: &Path) -> Result<Vec<PackedTensor>, ImportError> {
    let path = dir.join(NATIVE_GRAPH_FILE);
    let packed = |tensor: Tensor| {
        let is_packed = tensor.data_type == Some(DataType::Uint8 as i32)
            && entry(&tensor, "location") == Some(NATIVE_WEIGHTS_FILE);
        let range = is_packed.then(|| range(&tensor))??;
        let wanted =
            tensor.dims.iter().try_fold(1_u64, |all, dim| all.checked_mul(u64::try_from(*dim).ok()?));
        let name = tensor.name.unwrap_or_default();
        Some(if wanted == Some(range.end - range.start) {
            Ok(PackedTensor { name, dims: tensor.dims, range })
        } else {
            let reason = format!("tensor {name} has another size than its bytes in the weights' file");
            Err(ImportError::Invalid { path: path.clone(), reason })
        })
    };
    initializers(&path)?.into_iter().filter_map(packed).collect()
}

/// A graph's tensors.
pub fn initializers(graph: &Path) -> Result<Vec<Tensor>, ImportError> {
    let invalid = |reason: String| ImportError::Invalid { path: graph.to_owned(), reason };
    let io = |source| ImportError::Io { path: graph.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(graph).map_err(io)?.take(MAX_GRAPH + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_GRAPH {
        return Err(invalid(format!("has more than {MAX_GRAPH} bytes, and no more are read")));
    }
    let model = proto::Model::decode(&*bytes).map_err(|error| invalid(error.to_string()))?;
    Ok(model.graph.map(|graph| graph.initializer).unwrap_or_default())
}

/// A tensor's bytes in the file beside its graph, if they are there.
pub fn range(tensor: &Tensor) -> Option<Range<u64>> {
    let number = |key: &str| entry(tensor, key)?.parse::<u64>().ok();
    let (offset, length) = (number("offset")?, number("length")?);
    Some(offset..offset.checked_add(length)?)
}

/// What a graph says of where a tensor lies.
fn entry<'a>(tensor: &'a Tensor, key: &str) -> Option<&'a str> {
    tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key))?.value.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Draft, LAYERS};
    use crate::{Precision, import};

    #[test]
    fn every_packed_matrix_lies_in_the_weights_file() {
        let dir = tempfile::tempdir().unwrap();
        let gguf = dir.path().join("tiny.gguf");
        std::fs::write(&gguf, Draft::new().bytes()).unwrap();
        let model = dir.path().join("model");
        import(&gguf, &model, Precision::Int8, &mut |_| {}).unwrap();

        let tensors = packed_tensors(&model).unwrap();
        let length = std::fs::metadata(model.join(NATIVE_WEIGHTS_FILE)).unwrap().len();
        for layer in 0..LAYERS {
            for group in ["qkv", "o", "gate_up", "down"] {
                let name = format!("{layer}.{group}.weight");
                assert!(tensors.iter().any(|tensor| tensor.name == name), "{name}");
            }
        }
        for (i, tensor) in tensors.iter().enumerate() {
            let PackedTensor { name, dims, range } = tensor;
            assert!(range.start < range.end && range.end <= length, "{name}: {range:?} of {length}");
            assert_eq!(dims.iter().product::<i64>(), (range.end - range.start) as i64, "{name}");
            for other in &tensors[..i] {
                let are_apart = other.range.end <= range.start || range.end <= other.range.start;
                assert!(are_apart, "{name} and {}", other.name);
            }
        }

        std::fs::write(model.join(NATIVE_GRAPH_FILE), b"no graph").unwrap();
        let error = packed_tensors(&model).unwrap_err().to_string();
        assert!(error.contains(NATIVE_GRAPH_FILE), "{error}");
    }
}

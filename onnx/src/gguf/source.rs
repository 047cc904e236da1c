//! The weights of a GGUF file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::header::TensorEntry;
use super::names::hugging_face_name;
use super::{Header, Value, config};
use crate::ImportError;
use crate::checkpoint::{Checkpoint, Source, Tensor, files};
use crate::dequant::dequantize_rows;
use crate::error::Refusal;
use crate::tokenizer_export;

/// Llama 3's factors for the rotary frequencies: no weight of the decoder, but part of its configuration.
const ROPE_FREQS: &str = "rope_freqs.weight";

/// A mapped file and where its tensors lie.
struct GgufFile {
    path: PathBuf,
    map: Mmap,
    /// By Hugging Face name.
    tensors: BTreeMap<String, TensorEntry>,
    head_dim: usize,
}

impl std::fmt::Debug for GgufFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GgufFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Opens a GGUF file.
pub(crate) fn open(path: &Path) -> Result<Checkpoint, ImportError> {
    let map = files::map(path)?;
    let sha256 = files::sha256_hex(&map);
    let (config, name, chat_template, tensors) = {
        let header = Header::parse(&map).map_err(|refusal| refusal.of(path))?;
        let freqs = rope_freqs(&header, &map);
        let config = config::read(&header, freqs.as_deref()).map_err(|refusal| refusal.of(path))?;
        let text = |key| header.metadata.get(key).and_then(Value::as_text).map(ToOwned::to_owned);
        (config, text("general.name"), text("tokenizer.chat_template"), tensors(&header))
    };
    let name = name
        .unwrap_or_else(|| path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default());
    let source = GgufFile { path: path.to_owned(), map, tensors, head_dim: config.head_dim };
    Ok(Checkpoint { path: path.to_owned(), name, sha256, config, chat_template, source: Box::new(source) })
}

fn rope_freqs(header: &Header, file: &[u8]) -> Option<Vec<f32>> {
    let entry = header.tensors.get(ROPE_FREQS)?;
    Some(decode(entry, file, |row| row).data)
}

fn tensors(header: &Header) -> BTreeMap<String, TensorEntry> {
    header
        .tensors
        .iter()
        .filter(|(name, _)| **name != ROPE_FREQS)
        .map(|(name, entry)| (hugging_face_name(name).unwrap_or_else(|| (*name).to_owned()), entry.clone()))
        .collect()
}

/// Decodes a tensor; all but its innermost dimension count as rows.
fn decode(entry: &TensorEntry, file: &[u8], source_row: impl Fn(usize) -> usize + Sync) -> Tensor {
    let columns = entry.shape.last().copied().unwrap_or(1);
    let rows = entry.shape.iter().rev().skip(1).product();
    let data = dequantize_rows(entry.element, &file[entry.bytes.clone()], rows, columns, source_row);
    Tensor { shape: entry.shape.clone(), data }
}

/// Where row `row` of a half-split q or k lies in a GGUF file. Of a head's rows, the file has pairs of rotary
/// partners side by side (0, d/2, 1, d/2 + 1, …); Hugging Face has the first partners and then the second.
fn interleaved_row(row: usize, head_dim: usize) -> usize {
    let (head, in_head) = (row / head_dim, row % head_dim);
    let (second, pair) = (in_head / (head_dim / 2), in_head % (head_dim / 2));
    head * head_dim + 2 * pair + second
}

impl Source for GgufFile {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    fn tensor(&self, name: &str) -> Result<Tensor, ImportError> {
        let Some(entry) = self.tensors.get(name) else {
            let reason = format!("tensor `{name}` is missing");
            return Err(Refusal::Invalid(reason).of(&self.path));
        };
        let rotary = name.ends_with(".q_proj.weight") || name.ends_with(".k_proj.weight");
        Ok(decode(entry, &self.map, |row| if rotary { interleaved_row(row, self.head_dim) } else { row }))
    }

    fn tokenizer_json(&self) -> Result<String, ImportError> {
        Header::parse(&self.map)
            .and_then(|header| tokenizer_export::from_gguf(&header.metadata))
            .map_err(|refusal| refusal.of(&self.path))
    }
}

//! The safetensors files of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::ImportError;
use crate::checkpoint::{Tensor, files};
use crate::dequant::{ElementType, dequantize_rows};
use crate::error::Refusal;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Largest index, in bytes: some tens of thousands of names.
const MAX_INDEX: u64 = 16 << 20;
/// Most files of a model.
const MAX_SHARDS: usize = 1024;
/// Bytes of the length that stands before a safetensors header.
const LENGTH: usize = 8;
/// Old checkpoints carry the rotary frequencies as if they were weights.
const FREQUENCIES: &str = ".rotary_emb.inv_freq";

/// The mapped files and where their tensors lie.
pub(super) struct Weights {
    /// File names and contents.
    files: Vec<(String, Mmap)>,
    tensors: BTreeMap<String, Entry>,
}

struct Entry {
    /// Which of the files.
    file: usize,
    element: ElementType,
    shape: Vec<usize>,
    /// Inside of the file; safetensors has checked that they are and that they fit the shape.
    bytes: Range<usize>,
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<_> = self.files.iter().map(|(name, _)| name).collect();
        f.debug_struct("Weights").field("files", &files).field("tensors", &self.tensors.len()).finish()
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Opens `model.safetensors`, or else the files that the index names.
    pub(super) fn open(folder: &Path) -> Result<Self, ImportError> {
        let mut weights = Self { files: Vec::new(), tensors: BTreeMap::new() };
        if folder.join(SINGLE).is_file() {
            weights.add(folder, SINGLE)?;
        } else if folder.join(INDEX).is_file() {
            weights.add_sharded(folder)?;
        } else {
            let reason = format!("neither `{SINGLE}` nor `{INDEX}` is in the folder");
            return Err(Refusal::Invalid(reason).of(folder));
        }
        weights.tensors.retain(|name, _| !name.ends_with(FREQUENCIES));
        Ok(weights)
    }

    fn add_sharded(&mut self, folder: &Path) -> Result<(), ImportError> {
        let path = folder.join(INDEX);
        let index: Index = files::read_json(&path, MAX_INDEX)?;
        let shards: BTreeSet<&String> = index.weight_map.values().collect();
        if shards.len() > MAX_SHARDS {
            let reason = format!("{} files, at most {MAX_SHARDS} are allowed", shards.len());
            return Err(Refusal::Invalid(reason).of(&path));
        }
        for shard in shards {
            // A name with a path in it could lead out of the folder.
            if Path::new(shard).file_name() != Some(shard.as_ref()) {
                return Err(Refusal::Invalid(format!("`{shard}` is no plain file name")).of(&path));
            }
            self.add(folder, shard)?;
        }
        for (tensor, shard) in &index.weight_map {
            let found = self.tensors.get(tensor).map(|entry| &self.files[entry.file].0);
            if found != Some(shard) {
                let reason = format!("tensor `{tensor}` is missing in `{shard}`, where the index has it");
                return Err(Refusal::Invalid(reason).of(&path));
            }
        }
        Ok(())
    }

    fn add(&mut self, folder: &Path, name: &str) -> Result<(), ImportError> {
        let path = folder.join(name);
        let map = files::map(&path)?;
        let file = self.files.len();
        let (header, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|error| Refusal::Invalid(format!("no whole safetensors file: {error}")).of(&path))?;
        for (tensor, info) in metadata.tensors() {
            let element = match info.dtype {
                Dtype::F32 => ElementType::F32,
                Dtype::F16 => ElementType::F16,
                Dtype::BF16 => ElementType::BF16,
                other => {
                    let reason = format!("tensor `{tensor}` is {other:?}; F32, F16 and BF16 are read");
                    return Err(Refusal::Unsupported(reason).of(&path));
                }
            };
            let start = LENGTH + header;
            let bytes = start + info.data_offsets.0..start + info.data_offsets.1;
            let entry = Entry { file, element, shape: info.shape.clone(), bytes };
            if self.tensors.insert(tensor.clone(), entry).is_some() {
                let reason = format!("tensor `{tensor}` is in two files");
                return Err(Refusal::Invalid(reason).of(&path));
            }
        }
        self.files.push((name.to_owned(), map));
        Ok(())
    }

    /// Forgets the output layer where it is tied to the embedding: some files store it twice.
    pub(super) fn without_copies(mut self, tied: bool) -> Self {
        if tied {
            self.tensors.remove("lm_head.weight");
        }
        self
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Every file with its SHA-256.
    pub(super) fn hashes(&self) -> impl Iterator<Item = (&str, String)> {
        self.files.iter().map(|(name, map)| (name.as_str(), files::sha256_hex(map)))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    pub(super) fn tensor(&self, name: &str) -> Option<Tensor> {
        let entry = self.tensors.get(name)?;
        let bytes = &self.files[entry.file].1[entry.bytes.clone()];
        let columns = entry.shape.last().copied().unwrap_or(1);
        let rows = entry.shape.iter().rev().skip(1).product();
        let data = dequantize_rows(entry.element, bytes, rows, columns, |row| row);
        Some(Tensor { shape: entry.shape.clone(), data })
    }
}

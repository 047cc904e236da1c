//! The head of a GGUF file: metadata and tensor table.

use std::collections::BTreeMap;
use std::ops::Range;

use super::cursor::Cursor;
use super::value::Value;
use crate::dequant::{ElementType, unsupported_gguf_name};
use crate::error::Refusal;

/// The first bytes of every GGUF file.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";

/// Most metadata keys of a file; real ones have some tens.
const MAX_KEYS: u64 = 1 << 16;
/// Most tensors of a file; a Llama layer has nine.
const MAX_TENSORS: u64 = 1 << 16;
/// Longest metadata key, in bytes, as the format has it.
const MAX_KEY: usize = (1 << 16) - 1;
/// Longest tensor name, in bytes. The format says 64; some writers go past it.
const MAX_TENSOR_NAME: usize = 256;
const MAX_DIMENSIONS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;
/// Largest alignment of tensors, in bytes.
const MAX_ALIGNMENT: u64 = 1 << 16;

/// A tensor of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorEntry {
    pub(crate) element: ElementType,
    /// Outermost dimension first: a linear weight is `[out, in]`.
    pub(crate) shape: Vec<usize>,
    /// Where its bytes are in the file; checked to lie inside.
    pub(crate) bytes: Range<usize>,
}

/// Metadata and tensor table.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) metadata: BTreeMap<&'a str, Value<'a>>,
    pub(crate) tensors: BTreeMap<&'a str, TensorEntry>,
}

impl<'a> Header<'a> {
    /// Reads the head of a whole file. Nothing that it claims about lengths, counts or offsets is believed
    /// before it is compared with the file's size.
    pub(crate) fn parse(file: &'a [u8]) -> Result<Self, Refusal> {
        let mut cursor = Cursor::new(file);
        check_version(&mut cursor)?;
        let tensor_count = count(&mut cursor, "number of tensors", MAX_TENSORS)?;
        let key_count = count(&mut cursor, "number of metadata keys", MAX_KEYS)?;
        let metadata = read_metadata(&mut cursor, key_count)?;
        let alignment = alignment(&metadata)?;
        let entries = read_entries(&mut cursor, tensor_count)?;
        let data_start = (cursor.position() as u64).next_multiple_of(alignment);
        let mut tensors = BTreeMap::new();
        for (name, entry) in entries {
            let placed = entry.place(name, data_start, alignment, file.len())?;
            if tensors.insert(name, placed).is_some() {
                return Refusal::invalid(format!("tensor `{name}` is there twice"));
            }
        }
        Ok(Self { metadata, tensors })
    }
}

fn check_version(cursor: &mut Cursor) -> Result<(), Refusal> {
    if cursor.take(4).ok() != Some(MAGIC.as_slice()) {
        return Refusal::invalid("no GGUF file: it does not begin with `GGUF`");
    }
    match cursor.u32() {
        Ok(2 | 3) => Ok(()),
        // A big-endian file has its version in the upper bytes.
        Ok(version) if matches!(version.swap_bytes(), 1..=3) => {
            Refusal::unsupported("a big-endian GGUF file; only little-endian ones are read")
        }
        Ok(version) => Refusal::unsupported(format!("GGUF version {version}; versions 2 and 3 are read")),
        Err(fault) => Refusal::invalid(format!("version: {fault}")),
    }
}

fn count(cursor: &mut Cursor, what: &str, limit: u64) -> Result<u64, Refusal> {
    match cursor.u64() {
        Ok(n) if n > limit => Refusal::invalid(format!("{what}: {n}, at most {limit} are allowed")),
        Ok(n) => Ok(n),
        Err(fault) => Refusal::invalid(format!("{what}: {fault}")),
    }
}

fn read_metadata<'a>(cursor: &mut Cursor<'a>, n: u64) -> Result<BTreeMap<&'a str, Value<'a>>, Refusal> {
    let mut metadata = BTreeMap::new();
    for i in 0..n {
        let key = match cursor.text(MAX_KEY) {
            Ok(key) => key,
            Err(fault) => return Refusal::invalid(format!("metadata key {i}: {fault}")),
        };
        let value = match Value::read(cursor) {
            Ok(value) => value,
            Err(fault) => return Refusal::invalid(format!("metadata `{key}`: {fault}")),
        };
        if metadata.insert(key, value).is_some() {
            return Refusal::invalid(format!("metadata `{key}` is there twice"));
        }
    }
    Ok(metadata)
}

/// Tensors begin at multiples of this many bytes.
fn alignment(metadata: &BTreeMap<&str, Value>) -> Result<u64, Refusal> {
    let Some(value) = metadata.get("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
    match value.as_unsigned() {
        Some(n) if n.is_power_of_two() && n <= MAX_ALIGNMENT => Ok(n),
        _ => Refusal::invalid(format!(
            "metadata `general.alignment`: must be a power of two up to {MAX_ALIGNMENT}, found {value:?}"
        )),
    }
}

/// A line of the tensor table as it stands in the file.
struct RawEntry {
    shape: Vec<usize>,
    element: ElementType,
    offset: u64,
}

fn read_entries<'a>(cursor: &mut Cursor<'a>, n: u64) -> Result<Vec<(&'a str, RawEntry)>, Refusal> {
    let mut entries = Vec::new();
    for i in 0..n {
        let name = match cursor.text(MAX_TENSOR_NAME) {
            Ok(name) => name,
            Err(fault) => return Refusal::invalid(format!("name of tensor {i}: {fault}")),
        };
        entries.push((name, read_entry(cursor, name)?));
    }
    Ok(entries)
}

fn read_entry(cursor: &mut Cursor, name: &str) -> Result<RawEntry, Refusal> {
    let fault = |fault| Refusal::Invalid(format!("tensor `{name}`: {fault}"));
    let dimensions = cursor.u32().map_err(fault)?;
    if dimensions > MAX_DIMENSIONS {
        return Refusal::invalid(format!(
            "tensor `{name}`: {dimensions} dimensions, at most {MAX_DIMENSIONS} are allowed"
        ));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        match usize::try_from(cursor.u64().map_err(fault)?) {
            Ok(dim) if dim > 0 => shape.push(dim),
            _ => return Refusal::invalid(format!("tensor `{name}`: a dimension is zero or too large")),
        }
    }
    // The file has the innermost dimension first.
    shape.reverse();
    let id = cursor.u32().map_err(fault)?;
    let element = ElementType::from_gguf(id).ok_or_else(|| {
        Refusal::Unsupported(format!(
            "tensor `{name}` has element type {}, which is not read; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, \
             Q8_0, Q4_K, Q5_K and Q6_K are",
            unsupported_gguf_name(id)
        ))
    })?;
    let offset = cursor.u64().map_err(fault)?;
    Ok(RawEntry { shape, element, offset })
}

impl RawEntry {
    fn place(
        self,
        name: &str,
        data_start: u64,
        alignment: u64,
        file_len: usize,
    ) -> Result<TensorEntry, Refusal> {
        let Self { shape, element, offset } = self;
        if offset % alignment != 0 {
            return Refusal::invalid(format!(
                "tensor `{name}`: offset {offset} is no multiple of {alignment}"
            ));
        }
        let Some(len) = element.byte_len(&shape) else {
            return Refusal::invalid(format!(
                "tensor `{name}`: shape {shape:?} does not fit element type {element:?}"
            ));
        };
        let end = data_start.checked_add(offset).and_then(|start| start.checked_add(len as u64));
        match end {
            Some(end) if end <= file_len as u64 => {
                let end = end as usize;
                Ok(TensorEntry { element, shape, bytes: end - len..end })
            }
            _ => Refusal::invalid(format!(
                "tensor `{name}`: {len} bytes at offset {offset} reach past the end of the file ({file_len} \
                 bytes): is the file whole?"
            )),
        }
    }
}

//! The files of a checkpoint.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memmap2::Mmap;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::ImportError;
use crate::error::Refusal;

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ImportError {
    move |source| ImportError::Io { path: path.to_owned(), source }
}

/// Maps a file into memory.
pub(crate) fn map(path: &Path) -> Result<Mmap, ImportError> {
    let file = File::open(path).map_err(io(path))?;
    // SAFETY: the mapping is only read, as plain bytes; whoever changes the file meanwhile breaks the
    // contract that `Checkpoint` states.
    unsafe { Mmap::map(&file) }.map_err(io(path))
}

/// Reads a text of at most `limit` bytes.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, ImportError> {
    let invalid = |reason| ImportError::Invalid { path: path.to_owned(), reason };
    let file = File::open(path).map_err(io(path))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io(path))?;
    if bytes.len() as u64 > limit {
        return Err(invalid(format!("longer than {limit} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| invalid("not UTF-8".into()))
}

/// Reads a JSON file of at most `limit` bytes. What does not fit is named by its key.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T, ImportError> {
    parse_json(&read_text(path, limit)?).map_err(|refusal| refusal.of(path))
}

/// As `read_json`, from a text.
pub(crate) fn parse_json<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        // The whole file is a dot; a place before the first key a question mark.
        match error.path().to_string().as_str() {
            "." | "?" => Refusal::Invalid(error.inner().to_string()),
            key => Refusal::Invalid(format!("`{key}`: {}", error.inner())),
        }
    })?;
    match json.end() {
        Ok(()) => Ok(parsed),
        Err(error) => Refusal::invalid(error.to_string()),
    }
}

/// SHA-256 in lowercase hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing into a `String` cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

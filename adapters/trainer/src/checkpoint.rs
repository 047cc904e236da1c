//! Where a training is, in one file that is whole or not there.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use candle_core::{Tensor, safetensors as tensors};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

use crate::training::State;
use crate::{Base, Data, Lora, LoraConfig, Settings, TrainError};

const FILE: &str = "checkpoint.safetensors";

/// The form of what is stored: one in another form is another training's.
const FORM: u32 = 2;

/// Largest checkpoint that is read.
const MAX_BYTES: u64 = 4 << 30;

/// A checkpoint that was read.
pub(crate) struct Stored {
    pub state: State,
    pub lora: Lora,
    pub best: Lora,
    /// Of the optimizer.
    pub moments: (Tensor, Tensor),
}

/// What a training is made of, as a digest: another one's checkpoint is not gone on with.
pub fn identity(base: &Base, config: &LoraConfig, settings: &Settings, data: &Data) -> String {
    let mut digest = Sha256::new();
    let Data { examples, held_out } = data;
    digest.update(format!("{FORM} {:?} {config:?} {settings:?} {}", base.identity(), examples.len()));
    for example in examples.iter().chain(held_out) {
        digest.update((example.tokens.len() as u64).to_le_bytes());
        digest.update((example.group as u64).to_le_bytes());
        for (token, learned) in example.tokens.iter().zip(&example.learned) {
            digest.update(token.to_le_bytes());
            digest.update([u8::from(*learned)]);
        }
    }
    let mut hex = String::new();
    for byte in digest.finalize() {
        // Writing into a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

pub(crate) fn save(
    folder: &Path,
    identity: &str,
    state: &State,
    lora: &Lora,
    best: &Lora,
    (mean, square): &(Tensor, Tensor),
) -> Result<(), TrainError> {
    let mut named: Vec<(String, Tensor)> = Vec::new();
    for (kind, lora) in [("lora", lora), ("best", best)] {
        let vars = lora.vars().into_iter().enumerate();
        named.extend(vars.map(|(at, var)| (format!("{kind}.{at}"), var.as_tensor().clone())));
    }
    named.extend([("mean".to_owned(), mean.clone()), ("square".to_owned(), square.clone())]);
    let state = serde_json::to_string(state).map_err(|error| TrainError::Bad(error.to_string()))?;
    let notes = HashMap::from([("identity".to_owned(), identity.to_owned()), ("state".to_owned(), state)]);
    let bytes =
        safetensors::serialize(named, Some(notes)).map_err(|error| TrainError::Bad(error.to_string()))?;
    let (path, new) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
    std::fs::write(&new, bytes).map_err(TrainError::io(&new))?;
    std::fs::File::open(&new).and_then(|file| file.sync_all()).map_err(TrainError::io(&new))?;
    std::fs::rename(&new, &path).map_err(TrainError::io(&path))
}

/// `None`: there is none, or it is another training's.
pub(crate) fn load(
    folder: &Path,
    wanted: &str,
    base: &Base,
    config: &LoraConfig,
) -> Result<Option<Stored>, TrainError> {
    let path = folder.join(FILE);
    let bytes = match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Ok(meta) if meta.len() > MAX_BYTES => {
            return Err(TrainError::Invalid { reason: format!("has {} bytes", meta.len()), path });
        }
        _ => std::fs::read(&path).map_err(TrainError::io(&path))?,
    };
    let invalid = |reason: String| TrainError::Invalid { path: path.clone(), reason };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| invalid(error.to_string()))?;
    let notes = header.metadata().clone().unwrap_or_default();
    if notes.get("identity").is_none_or(|identity| identity != wanted) {
        return Ok(None);
    }
    let state = notes.get("state").ok_or_else(|| invalid("says no state".into()))?;
    let state = serde_json::from_str(state).map_err(|error| invalid(error.to_string()))?;
    let stored = tensors::load_buffer(&bytes, &base.device)?;
    let tensor = |name: String| stored.get(&name).ok_or_else(|| invalid(format!("tensor {name} is missing")));
    let read = |kind: &str| -> Result<Lora, TrainError> {
        // What is drawn is overwritten.
        let lora = Lora::new(base, config.clone(), &mut ChaCha8Rng::seed_from_u64(0))?;
        for (at, var) in lora.vars().iter().enumerate() {
            var.set(tensor(format!("{kind}.{at}"))?)?;
        }
        Ok(lora)
    };
    let (lora, best) = (read("lora")?, read("best")?);
    let moment = |name: &str| Ok::<_, TrainError>(tensor(name.to_owned())?.clone());
    let moments = (moment("mean")?, moment("square")?);
    let count: usize = lora.vars().iter().map(|var| var.elem_count()).sum();
    if moments.0.dims() != [count] || moments.1.dims() != [count] {
        return Err(invalid(format!("its moments are not of {count} numbers")));
    }
    Ok(Some(Stored { state, lora, best, moments }))
}

//! What the files of an adapter's version say about it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::PackAdapter;
use super::discover::{CONFIG, METRICS, WEIGHTS};

/// Bytes of `adapter_config.json` and of `metrics.json`.
const CONFIG_BYTES: u64 = 1 << 20;
const METRICS_BYTES: u64 = 64 << 10;
/// Bytes of weights of which a checksum is made; what is larger is no adapter.
pub(super) const WEIGHTS_BYTES: u64 = 1 << 30;
/// Modules that are told of one adapter, and characters of each and of its base's name.
const TARGETS: usize = 64;
const NAME_CHARS: usize = 200;

/// How well an adapter does on lines that it was not trained on, as `metrics.json` beside it says. Trainers of others may say
/// less of it, and more besides.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Metrics {
    /// Answers that were learned from, and held out.
    pub examples: Option<u64>,
    pub held_out: Option<u64>,
    /// Nats a token of what was held out: of the base, and with the adapter.
    pub base_loss: Option<f64>,
    pub loss: Option<f64>,
    /// Of what is chosen: the share of the held-out questions that is answered right, that of the base, and that of the answer
    /// that is right most often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub majority: Option<f64>,
}

impl Metrics {
    /// # Errors
    /// What is wrong with them, naming the key.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let metrics: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        metrics.check()?;
        Ok(metrics)
    }

    /// How it is worse than the model without it; `None`: it is not, or that was not measured. Choices are judged by
    /// their accuracy.
    pub fn worse(&self) -> Option<String> {
        match (self.accuracy, self.base_accuracy, self.loss, self.base_loss) {
            (Some(own), Some(base), ..) => {
                (own < base).then(|| format!("its accuracy is {own}, that of the base model alone {base}"))
            }
            (_, _, Some(own), Some(base)) => {
                (own > base).then(|| format!("its loss is {own}, that of the base model alone {base}"))
            }
            _ => None,
        }
    }

    fn check(&self) -> Result<(), String> {
        let losses = [("base_loss", self.base_loss), ("loss", self.loss)];
        let shares =
            [("accuracy", self.accuracy), ("base_accuracy", self.base_accuracy), ("majority", self.majority)];
        for (key, value) in losses {
            if let Some(value) = value.filter(|value| !value.is_finite() || *value < 0.0) {
                return Err(format!("{key} is {value}, but must be a number from 0 on"));
            }
        }
        for (key, value) in shares {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                return Err(format!("{key} is {value}, but must be from 0 to 1"));
            }
        }
        Ok(())
    }
}

/// What its files say of a version, before a model has looked at it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionFiles {
    /// Of the weights' file.
    pub bytes: u64,
    /// The largest rank that its configuration names.
    pub rank: u64,
    pub targets: Vec<String>,
    /// The model that it was trained on, as its configuration names it.
    pub trained_on: Option<String>,
    pub metrics: Option<Metrics>,
    /// Of the weights' file, in hexadecimal.
    pub sha256: String,
}

/// The keys of `adapter_config.json` that are told. Whether they can be computed the engine checks.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    r: u64,
    #[serde(default)]
    rank_pattern: std::collections::BTreeMap<String, u64>,
    #[serde(default)]
    target_modules: Value,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
}

impl VersionFiles {
    /// Reads them. Blocks; takes as long as a checksum of the weights. Memory does not grow with their size.
    ///
    /// # Errors
    /// What is wrong with them, naming the file.
    pub fn read(adapter: &PackAdapter) -> Result<Self, String> {
        let dir = &adapter.dir;
        let config = bounded(dir, CONFIG, CONFIG_BYTES)?;
        let config: Config = serde_json::from_slice(&config).map_err(|e| format!("{CONFIG}: {e}"))?;
        let metrics = if dir.join(METRICS).exists() {
            let text = bounded(dir, METRICS, METRICS_BYTES)?;
            Some(Metrics::parse(&text).map_err(|error| format!("{METRICS}: {error}"))?)
        } else {
            None
        };
        let targets = match config.target_modules {
            Value::Array(names) => names.iter().filter_map(Value::as_str).take(TARGETS).map(short).collect(),
            Value::String(pattern) => vec![short(&pattern)],
            _ => Vec::new(),
        };
        let (bytes, sha256) = checksum(dir)?;
        Ok(Self {
            bytes,
            rank: config.rank_pattern.values().copied().fold(config.r, u64::max),
            targets,
            trained_on: config.base_model_name_or_path.as_deref().filter(|name| !name.is_empty()).map(short),
            metrics,
            sha256,
        })
    }
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect()
}

fn bounded(dir: &Path, name: &str, limit: u64) -> Result<Vec<u8>, String> {
    let (file, _) = open(dir, name, limit)?;
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    file.take(limit).read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    Ok(bytes)
}

fn checksum(dir: &Path) -> Result<(u64, String), String> {
    let (file, _) = open(dir, WEIGHTS, WEIGHTS_BYTES)?;
    let mut digest = Sha256::new();
    let bytes =
        io::copy(&mut file.take(WEIGHTS_BYTES), &mut digest).map_err(|e| format!("{WEIGHTS}: {e}"))?;
    Ok((bytes, format!("{:x}", digest.finalize())))
}

/// Opens a file that is one and has at most `limit` bytes.
fn open(dir: &Path, name: &str, limit: u64) -> Result<(File, u64), String> {
    let path = dir.join(name);
    let io = |error: io::Error| format!("{name}: {error}");
    // Before it is opened: a pipe would wait for a writer.
    let meta = std::fs::metadata(&path).map_err(io)?;
    if !meta.is_file() {
        return Err(format!("{name} is no file"));
    }
    if meta.len() > limit {
        return Err(format!("{name} has {} bytes; at most {limit} are read", meta.len()));
    }
    Ok((File::open(&path).map_err(io)?, meta.len()))
}

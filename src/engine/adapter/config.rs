//! `adapter_config.json`, as Hugging Face PEFT writes it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

use serde::Deserialize;

use super::read_file;

/// Largest `adapter_config.json` that is read; real ones have about 1 KB.
const MAX_BYTES: u64 = 1 << 20;

/// Largest rank that is accepted: beyond it an adapter is no longer small beside its base.
pub const MAX_RANK: usize = 512;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// Names of modules, or paths that end in one.
    List(Vec<String>),
    /// A regular expression over module paths, or `all-linear`.
    Pattern(String),
}

/// The keys that change what an adapter computes; all others are for training and are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // They are PEFT's keys.
pub struct PeftConfig {
    pub peft_type: String,
    pub r: usize,
    pub lora_alpha: f64,
    #[serde(default)]
    pub use_rslora: bool,
    #[serde(default)]
    pub use_dora: bool,
    #[serde(default)]
    pub fan_in_fan_out: bool,
    #[serde(default)]
    pub bias: Option<String>,
    #[serde(default)]
    pub lora_bias: bool,
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    #[serde(default)]
    pub target_modules: Option<TargetModules>,
    /// Ranks of modules whose path ends in the key.
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Alphas of modules whose path ends in the key.
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, f64>,
}

impl PeftConfig {
    /// Reads and checks the file in `dir`, and adds it to the digest.
    pub fn read(dir: &Path, digest: &mut DefaultHasher) -> Result<Self, String> {
        const FILE: &str = "adapter_config.json";
        let text = read_file(dir, FILE, MAX_BYTES)?;
        digest.write(&text);
        let config: Self = serde_json::from_slice(&text).map_err(|e| format!("{FILE}: {e}"))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if !self.peft_type.eq_ignore_ascii_case("lora") {
            return Err(format!("peft_type is {:?}, but only \"LORA\" can be mixed", self.peft_type));
        }
        for rank in std::iter::once(&self.r).chain(self.rank_pattern.values()) {
            if !(1..=MAX_RANK).contains(rank) {
                return Err(format!("r is {rank}, but must be 1 to {MAX_RANK}"));
            }
        }
        for alpha in std::iter::once(&self.lora_alpha).chain(self.alpha_pattern.values()) {
            if !alpha.is_finite() {
                return Err(format!("lora_alpha is {alpha}, but must be a finite number"));
            }
        }
        if self.use_dora {
            return Err(
                "use_dora is true, but DoRA is not a sum of low-rank products and cannot be mixed".into()
            );
        }
        if self.fan_in_fan_out {
            return Err("fan_in_fan_out is true, but the base model's layers are not transposed".into());
        }
        if self.lora_bias || self.bias.as_deref().is_some_and(|bias| bias != "none") {
            return Err("the adapter trains biases, but only bias = \"none\" can be mixed".into());
        }
        if self.modules_to_save.as_ref().is_some_and(|modules| !modules.is_empty()) {
            return Err("modules_to_save is not empty, but whole modules cannot be mixed per request".into());
        }
        Ok(())
    }

    /// s of a module: alpha/r, or alpha/√r for rslora.
    ///
    /// `path` is the module's, such as `model.layers.3.self_attn.q_proj`; `rank` that of its tensors.
    pub fn scale(&self, path: &str, rank: usize) -> f64 {
        let alpha = lookup(&self.alpha_pattern, path).copied().unwrap_or(self.lora_alpha);
        if self.use_rslora { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 }
    }

    /// r that the configuration gives a module.
    pub fn rank(&self, path: &str) -> usize {
        lookup(&self.rank_pattern, path).copied().unwrap_or(self.r)
    }
}

/// PEFT matches a pattern's key against the end of the module path, at a dot.
fn lookup<'a, T>(pattern: &'a BTreeMap<String, T>, path: &str) -> Option<&'a T> {
    pattern.iter().find_map(|(key, value)| {
        let rest = path.strip_suffix(key.trim_start_matches('^').trim_end_matches('$'))?;
        (rest.is_empty() || rest.ends_with('.')).then_some(value)
    })
}

//! Opens a model folder with the decoder that the settings and the machine allow.

use std::path::Path;
use std::sync::Arc;

use npc_onnx::ModelFile;

use super::adapter::Reader;
use super::decoder::{Decoder, Step, StepToken};
use super::logits::Logits;
use super::{EngineError, Native, Portable, Tokenizer, native, runtime};
use crate::config::{self, DecoderKind, Provider};

/// Sequences of the native decoder for the options of choices, each for one step. They cost nothing while unused.
pub const OPTION_SEQUENCES: usize = 64;

/// What was opened.
pub struct Opened {
    pub decoder: Box<dyn Decoder>,
    /// Never `Auto`.
    pub kind: DecoderKind,
    pub tokenizer: Tokenizer,
    pub model: Arc<ModelFile>,
}

impl Opened {
    /// Blocks while the model is read. The errors are those of [`Engine::start`](super::Engine::start).
    pub fn open(model_dir: &Path, library: &Path, config: &config::Engine) -> Result<Self, EngineError> {
        let bad = |reason: String| EngineError::BadModel { path: model_dir.to_owned(), reason };
        let model = Arc::new(ModelFile::read(model_dir).map_err(|error| bad(error.to_string()))?);
        let tokenizer = Tokenizer::load(model_dir, &model.model)?;
        if tokenizer.vocab_size() > model.model.vocab_size {
            return Err(bad(format!(
                "tokenizer.json has {} tokens, but the model only {}",
                tokenizer.vocab_size(),
                model.model.vocab_size
            )));
        }
        let environment = runtime::load(library)?;
        let kind = choose_decoder(model_dir, config);
        let mut decoder: Box<dyn Decoder> = match kind {
            DecoderKind::Native => {
                if config.providers != [Provider::Cpu] {
                    return Err(EngineError::Provider {
                        provider: "native".to_owned(),
                        reason: "engine.decoder = \"native\" computes on the CPU alone".to_owned(),
                        found: "engine.providers with others than \"cpu\"".to_owned(),
                    });
                }
                let kept_conversations = config.kept_conversations + OPTION_SEQUENCES;
                let config = config::Engine { kept_conversations, ..config.clone() };
                Box::new(Native::open(&environment, model_dir, Arc::clone(&model), &config)?)
            }
            DecoderKind::Portable | DecoderKind::Auto => {
                Box::new(Portable::open(&environment, model_dir, Arc::clone(&model), config)?)
            }
        };
        try_out(decoder.as_mut())
            .map_err(|error| bad(format!("its graph does not compute what model.toml says: {error}")))?;
        Ok(Self { decoder, kind, tokenizer, model })
    }

    /// How adapters are read for it.
    pub fn reader(&self, config: &config::Engine) -> Reader {
        reader(&self.model, self.kind, config)
    }

    /// What computes.
    pub fn decoder_name(&self) -> &'static str {
        name(self.kind)
    }
}

/// How adapters are read for a decoder.
pub fn reader(model: &Arc<ModelFile>, kind: DecoderKind, config: &config::Engine) -> Reader {
    let precision = (kind == DecoderKind::Native).then_some(config.adapter_precision);
    Reader { model: Arc::clone(model), precision }
}

/// `native` or `portable`.
pub fn name(kind: DecoderKind) -> &'static str {
    if kind == DecoderKind::Native { "native" } else { "portable" }
}

/// Computes one token: a graph that is not the one of `model.toml` fails now, and not with the first request.
fn try_out(decoder: &mut dyn Decoder) -> Result<(), EngineError> {
    let tokens = [StepToken { sequence: 0, position: 0, token: 0, wants_logits: true }];
    let mixes = vec![Arc::default(); decoder.sequences()];
    let mut logits = Logits::default();
    decoder.step(Step { tokens: &tokens, mixes: &mixes }, &mut logits)?;
    decoder.release(0);
    Ok(())
}

/// What `auto` means here.
fn choose_decoder(model_dir: &Path, config: &config::Engine) -> DecoderKind {
    match config.decoder {
        DecoderKind::Auto => {
            let possible = config.providers == [Provider::Cpu]
                && native::is_fast()
                && model_dir.join(npc_onnx::NATIVE_GRAPH_FILE).is_file();
            if possible { DecoderKind::Native } else { DecoderKind::Portable }
        }
        kind => kind,
    }
}

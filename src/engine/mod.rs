//! Tokens in, tokens out: the scheduler, the KV slots, the adapter pool, the sampler and the ONNX session.
//!
//! An [`Engine`] is a handle to one thread, which owns the decoder and the queue (ARCHITECTURE.md says why).

mod adapter;
mod decoder;
mod error;
mod native;
mod portable;
mod request;
mod runtime;
mod sampler;
mod scheduler;
mod tokenizer;
mod worker;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use npc_onnx::ModelFile;
use tokio::sync::{mpsc, oneshot};

pub use self::adapter::{Adapter, AdapterInfo};
pub use self::decoder::{Decoder, ResolvedMix, Step, StepToken};
pub use self::error::EngineError;
pub use self::native::{Native, int8_ceiling};
pub use self::portable::Portable;
pub use self::request::{
    Choice, Choose, Event, FinishReason, Generate, Generation, Mix, Sampling, Schedule, Usage, Weighted,
};
pub use self::runtime::{load as load_runtime, threads};
pub use self::scheduler::{MAX_STOP_CHARS, MAX_STOPS};
pub use self::tokenizer::{ChatTemplate, Message, Role, TextStream, Tokenizer};

use self::sampler::Sampler;
use self::scheduler::{ChooseWork, GenerateWork, Job, Limits, StopMatcher, Work};
use self::worker::{Command, QueueSlot, Shared, Worker};
use crate::config::{self, DecoderKind, Provider};

/// Longest list of options that one [`Choose`] may have.
pub const MAX_OPTIONS: usize = 256;

/// Adapters that one mix may name.
pub const MAX_MIX: usize = 16;

/// What the engine is doing now, and has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineStats {
    /// Requests without a row.
    pub waiting: usize,
    /// Requests with a row.
    pub live: usize,
    pub steps: u64,
    /// Tokens computed, prompts and answers.
    pub tokens: u64,
    /// Requests that ended because their caller went away.
    pub abandoned: u64,
}

/// A handle to the engine; a clone is cheap. The thread ends when the last handle is gone.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    commands: crossbeam_channel::Sender<Command>,
    shared: Arc<Shared>,
    tokenizer: Tokenizer,
    model: Arc<ModelFile>,
    config: config::Engine,
    /// What computes: never `Auto`.
    kind: DecoderKind,
    context: usize,
    adapters: Mutex<Registry>,
    /// Taken by whoever waits for its end.
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Registry {
    loaded: HashMap<Arc<str>, Arc<Adapter>>,
    /// Ids that are being read, so that two loads of one id cannot race.
    loading: Vec<Arc<str>>,
}

impl Engine {
    /// Opens the model folder and starts the engine's thread. Blocks while the model is read.
    ///
    /// # Errors
    /// [`EngineError::BadModel`] if the folder is no model folder, [`EngineError::Runtime`] if ONNX Runtime
    /// cannot be loaded or refuses the graph, [`EngineError::Provider`] if a provider cannot be loaded.
    pub fn start(model_dir: &Path, library: &Path, config: &config::Engine) -> Result<Self, EngineError> {
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
        let decoder: Box<dyn Decoder> = match kind {
            DecoderKind::Native => {
                if config.providers != [Provider::Cpu] {
                    return Err(EngineError::Provider {
                        provider: "native".to_owned(),
                        reason: "engine.decoder = \"native\" computes on the CPU alone".to_owned(),
                        found: "engine.providers with others than \"cpu\"".to_owned(),
                    });
                }
                Box::new(Native::open(&environment, model_dir, Arc::clone(&model), config)?)
            }
            DecoderKind::Portable | DecoderKind::Auto => {
                Box::new(Portable::open(&environment, model_dir, Arc::clone(&model), config)?)
            }
        };
        tracing::info!(
            decoder = ?kind,
            model = model.name,
            precision = ?model.precision,
            rows = config.rows,
            context = decoder.context(),
            "engine ready"
        );
        Self::start_with(decoder, kind, tokenizer, model, config)
    }

    fn start_with(
        decoder: Box<dyn Decoder>,
        kind: DecoderKind,
        tokenizer: Tokenizer,
        model: Arc<ModelFile>,
        config: &config::Engine,
    ) -> Result<Self, EngineError> {
        // Room for every request that the queue's bound lets in, and for adapters beside them.
        let (commands, receiver) = crossbeam_channel::bounded(config.queue + 64);
        let shared = Arc::new(Shared::default());
        shared.running.store(true, std::sync::atomic::Ordering::Release);
        let context = decoder.context();
        let limits = Limits {
            rows: config.rows.min(decoder.sequences()),
            context,
            prefill_budget: config.prefill_budget,
            vocab_size: decoder.vocab_size(),
        };
        let worker = Worker {
            decoder,
            tokenizer: tokenizer.clone(),
            commands: receiver,
            shared: Arc::clone(&shared),
            limits,
            resident: Vec::new(),
            leaving: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || worker.run())
            .map_err(|error| EngineError::Runtime(format!("the engine's thread did not start: {error}")))?;
        let adapters = Mutex::default();
        let thread = Mutex::new(Some(thread));
        let config = config.clone();
        Ok(Self {
            inner: Arc::new(Inner {
                commands,
                shared,
                tokenizer,
                model,
                config,
                kind,
                context,
                adapters,
                thread,
            }),
        })
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.inner.tokenizer
    }

    /// What `model.toml` says of the model.
    pub fn model(&self) -> &ModelFile {
        &self.inner.model
    }

    /// Tokens that one request may hold, prompt and answer together.
    pub fn context(&self) -> usize {
        self.inner.context
    }

    /// What computes: `native` or `portable`.
    pub fn decoder(&self) -> &'static str {
        if self.inner.kind == DecoderKind::Native { "native" } else { "portable" }
    }

    pub fn stats(&self) -> EngineStats {
        self.inner.shared.stats()
    }

    /// Starts a generation.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`], [`EngineError::PromptTooLong`], [`EngineError::BadRequest`],
    /// [`EngineError::UnknownAdapter`], [`EngineError::Stopped`].
    pub fn generate(&self, request: Generate) -> Result<Generation, EngineError> {
        request.sampling.check()?;
        if request.max_tokens == 0 {
            return Err(bad("max_tokens", 0, "at least 1"));
        }
        check_stops(&request.stop)?;
        self.check_prompt(&request.prompt, 1)?;
        let mix = self.resolve(&request.mix)?;
        let slot = self.queue_slot()?;
        let max_tokens = request.max_tokens.min(self.inner.context as u32);
        // One event for each token at most, the first, the held-back text and the last.
        let (sender, events) = mpsc::channel(max_tokens as usize + 3);
        let work = GenerateWork {
            sampler: Sampler::new(request.sampling),
            text: self.inner.tokenizer.stream(),
            stop: StopMatcher::new(request.stop),
            max_tokens,
            ignore_end: request.ignore_end,
            events: sender,
        };
        self.submit(request.prompt, mix, slot, request.schedule, Work::Generate(Box::new(work)))?;
        Ok(Generation { events })
    }

    /// Scores a closed list of texts: P(text | prompt), made to sum to 1 over the list.
    ///
    /// A text that begins another one of the list is scored with the end of the answer behind it, so that
    /// the longer one's probability is not counted in the shorter one's.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub async fn choose(&self, request: Choose) -> Result<Choice, EngineError> {
        let options = self.option_tokens(&request.options)?;
        let longest = options.iter().map(Vec::len).max().unwrap_or(0);
        self.check_prompt(&request.prompt, longest)?;
        let mix = self.resolve(&request.mix)?;
        let slot = self.queue_slot()?;
        let (reply, answer) = oneshot::channel();
        let work = Work::Choose(ChooseWork { options, reply: Some(reply) });
        self.submit(request.prompt, mix, slot, request.schedule, work)?;
        answer.await.map_err(|_| EngineError::Stopped)?
    }

    /// Computes the keys and values of a prompt in the background, so that a request that begins like it need not.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn warm(&self, prompt: Vec<u32>, mix: &Mix) -> Result<(), EngineError> {
        self.check_prompt(&prompt, 1)?;
        let mix = self.resolve(mix)?;
        let slot = self.queue_slot()?;
        let schedule = Schedule { owner: 0, background: true };
        self.submit(prompt, mix, slot, schedule, Work::Warm)
    }

    /// Reads a PEFT adapter and makes it usable in mixes under `id`.
    ///
    /// # Errors
    /// [`EngineError::BadAdapter`], also if the id is taken or the pool is full.
    pub async fn load_adapter(&self, id: &str, dir: &Path) -> Result<AdapterInfo, EngineError> {
        let id: Arc<str> = Arc::from(id);
        let engine = self.clone();
        let path = dir.to_owned();
        // A task of its own: a caller that goes away in the middle leaves nothing half-registered.
        let task = tokio::spawn(async move {
            engine.inner.reserve(&id, &path)?;
            let result = engine.read_adapter(Arc::clone(&id), path).await;
            let mut registry = engine.inner.registry();
            registry.loading.retain(|loading| *loading != id);
            let adapter = result?;
            let info = adapter.info.clone();
            registry.loaded.insert(id, adapter);
            Ok(info)
        });
        task.await.unwrap_or_else(|error| {
            Err(EngineError::BadAdapter { path: dir.to_owned(), reason: error.to_string() })
        })
    }

    async fn read_adapter(&self, id: Arc<str>, dir: PathBuf) -> Result<Arc<Adapter>, EngineError> {
        let model = Arc::clone(&self.inner.model);
        let path = dir.clone();
        let precision =
            (self.inner.kind == DecoderKind::Native).then_some(self.inner.config.adapter_precision);
        let read = tokio::task::spawn_blocking(move || {
            let adapter = Adapter::load(&id, &path, &model.graph, model.model.layers)?;
            if let Some(precision) = precision {
                adapter.pack(precision);
            }
            Ok::<_, EngineError>(adapter)
        });
        let adapter = read
            .await
            .map_err(|error| EngineError::BadAdapter { path: dir.clone(), reason: error.to_string() })??;
        let adapter = Arc::new(adapter);
        self.inner.check_pool(&adapter, &dir)?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Add(Arc::clone(&adapter), reply))?;
        answer.await.map_err(|_| EngineError::Stopped)??;
        Ok(adapter)
    }

    /// Lets go of an adapter: new requests cannot name it, running ones finish with it.
    ///
    /// # Errors
    /// [`EngineError::UnknownAdapter`].
    pub fn drop_adapter(&self, id: &str) -> Result<(), EngineError> {
        let mut registry = self.inner.registry();
        let adapter = registry.loaded.get(id).cloned();
        let adapter = adapter.ok_or_else(|| EngineError::UnknownAdapter(id.to_owned()))?;
        // Sent first: if the thread cannot be told, the adapter stays usable and can be dropped later.
        self.send(Command::Drop(adapter))?;
        registry.loaded.remove(id);
        Ok(())
    }

    /// The adapters that mixes may name, by id.
    pub fn adapters(&self) -> Vec<AdapterInfo> {
        let mut list: Vec<_> = self.inner.registry().loaded.values().map(|a| a.info.clone()).collect();
        list.sort_by(|a, b| a.id.cmp(&b.id));
        list
    }

    /// Whether the engine's thread takes requests.
    pub fn is_running(&self) -> bool {
        self.inner.shared.running.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Ends every request with [`EngineError::Stopped`], and the thread; waits for the step that it is in.
    ///
    /// A process that ends while ONNX Runtime computes may crash on its way out.
    pub fn stop(&self) {
        self.inner.shared.running.store(false, std::sync::atomic::Ordering::Release);
        // Fails only if the thread has already ended.
        drop(self.inner.commands.send(Command::Stop));
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the engine's thread had panicked");
        }
    }

    fn send(&self, command: Command) -> Result<(), EngineError> {
        if !self.is_running() {
            return Err(EngineError::Stopped);
        }
        self.inner.commands.try_send(command).map_err(|error| match error {
            crossbeam_channel::TrySendError::Full(_) => self.overloaded(),
            crossbeam_channel::TrySendError::Disconnected(_) => EngineError::Stopped,
        })
    }

    fn submit(
        &self,
        prompt: Vec<u32>,
        mix: ResolvedMix,
        slot: QueueSlot,
        schedule: Schedule,
        work: Work,
    ) -> Result<(), EngineError> {
        let (mix, submitted) = (Arc::new(mix), Instant::now());
        let job = Job { prompt, mix, submitted, slot: Some(slot), schedule, work };
        self.send(Command::Run(job))
    }

    fn queue_slot(&self) -> Result<QueueSlot, EngineError> {
        QueueSlot::take(&self.inner.shared, self.inner.config.queue).ok_or_else(|| self.overloaded())
    }

    /// When a place in the queue should be free again: a row is freed every (mean time in a row ÷ rows).
    fn overloaded(&self) -> EngineError {
        let row_ms = self.inner.shared.row_ms.load(std::sync::atomic::Ordering::Relaxed);
        let retry_after_ms = (row_ms / self.inner.config.rows.max(1) as u64).clamp(50, 30_000);
        EngineError::Overloaded { retry_after_ms }
    }

    fn check_prompt(&self, prompt: &[u32], answer: usize) -> Result<(), EngineError> {
        let limit = self.inner.context.saturating_sub(answer);
        if prompt.is_empty() {
            return Err(bad("prompt", "empty", "at least one token"));
        }
        if prompt.len() > limit {
            return Err(EngineError::PromptTooLong { tokens: prompt.len(), limit });
        }
        let vocab = self.inner.model.model.vocab_size;
        if let Some(token) = prompt.iter().find(|token| **token as usize >= vocab) {
            return Err(bad("prompt", format!("token {token}"), format!("token ids below {vocab}")));
        }
        Ok(())
    }

    fn resolve(&self, mix: &Mix) -> Result<ResolvedMix, EngineError> {
        if mix.len() > MAX_MIX {
            return Err(bad("mix", mix.len(), format!("at most {MAX_MIX} adapters")));
        }
        let registry = self.inner.registry();
        let mut resolved = ResolvedMix::with_capacity(mix.len());
        for Weighted { adapter, weight } in mix {
            if !weight.is_finite() {
                return Err(bad("mix", weight, "finite weights"));
            }
            let loaded = registry.loaded.get(adapter);
            let loaded = loaded.ok_or_else(|| EngineError::UnknownAdapter(adapter.to_string()))?;
            // A weight of 0 adds nothing: the row is then the base model's, bit for bit.
            if *weight != 0.0 {
                resolved.push((Arc::clone(loaded), *weight));
            }
        }
        Ok(resolved)
    }

    fn option_tokens(&self, options: &[String]) -> Result<Vec<Vec<u32>>, EngineError> {
        if options.is_empty() || options.len() > MAX_OPTIONS {
            return Err(bad("options", options.len(), format!("1 to {MAX_OPTIONS} texts")));
        }
        let mut tokens: Vec<Vec<u32>> =
            options.iter().map(|option| self.inner.tokenizer.encode_text(option)).collect();
        if let Some(at) = tokens.iter().position(Vec::is_empty) {
            return Err(bad("options", format!("empty at {at}"), "texts that are not empty"));
        }
        if let Some(at) = (1..tokens.len()).find(|i| tokens[..*i].contains(&tokens[*i])) {
            return Err(bad("options", format!("{:?} twice", options[at]), "texts that differ"));
        }
        let begins = |short: &Vec<u32>| tokens.iter().any(|t| t.len() > short.len() && t.starts_with(short));
        let closed: Vec<bool> = tokens.iter().map(begins).collect();
        if let Some(end) = self.inner.model.model.eos_tokens.first() {
            for (option, _) in tokens.iter_mut().zip(closed).filter(|(_, closed)| *closed) {
                option.push(*end);
            }
        }
        Ok(tokens)
    }
}

impl Inner {
    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        // A panic while it was held cannot leave it half-changed: every change is one call.
        self.adapters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self, id: &Arc<str>, dir: &Path) -> Result<(), EngineError> {
        let mut registry = self.registry();
        let refuse = |reason| Err(EngineError::BadAdapter { path: dir.to_owned(), reason });
        if registry.loaded.contains_key(id) || registry.loading.contains(id) {
            return refuse(format!("an adapter {id:?} is already loaded"));
        }
        if registry.loaded.len() + registry.loading.len() >= self.config.max_adapters {
            let limit = self.config.max_adapters;
            return refuse(format!("{limit} adapters are loaded, as many as engine.max_adapters allows"));
        }
        registry.loading.push(Arc::clone(id));
        Ok(())
    }

    fn check_pool(&self, adapter: &Adapter, dir: &Path) -> Result<(), EngineError> {
        let used: usize = self.registry().loaded.values().map(|a| a.info.bytes).sum();
        let limit = self.config.adapter_memory_mb << 20;
        if used + adapter.info.bytes > limit {
            let reason = format!(
                "it takes {} bytes beside the {used} that are loaded, but engine.adapter_memory_mb allows {limit}",
                adapter.info.bytes
            );
            return Err(EngineError::BadAdapter { path: dir.to_owned(), reason });
        }
        Ok(())
    }
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

fn bad(field: &'static str, value: impl std::fmt::Display, allowed: impl Into<String>) -> EngineError {
    EngineError::BadRequest { field, value: value.to_string(), allowed: allowed.into() }
}

fn check_stops(stops: &[String]) -> Result<(), EngineError> {
    if stops.len() > MAX_STOPS {
        return Err(bad("stop", stops.len(), format!("at most {MAX_STOPS} texts")));
    }
    match stops.iter().find(|stop| stop.chars().count() > MAX_STOP_CHARS) {
        Some(stop) => {
            Err(bad("stop", stop.chars().count(), format!("texts of at most {MAX_STOP_CHARS} characters")))
        }
        None => Ok(()),
    }
}

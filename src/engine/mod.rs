//! Tokens in, tokens out: the scheduler, the KV slots, the adapter pool, the sampler and the ONNX session.
//!
//! An [`Engine`] is a handle to one thread, which owns the decoder and the queue (ARCHITECTURE.md says why).

mod adapter;
mod backend;
mod checks;
mod decoder;
mod error;
mod load;
mod logits;
mod native;
mod open;
mod pace;
mod pool;
mod portable;
mod post;
mod pressure;
mod rehearsal;
mod request;
mod runtime;
mod sampler;
mod scheduler;
mod script;
mod spans;
mod tensor;
mod timer;
mod tokenizer;
mod watch;
mod worker;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use npc_onnx::ModelFile;
use tokio::sync::{mpsc, oneshot};

pub use self::adapter::{Adapter, AdapterInfo};
pub use self::backend::Backend;
pub use self::decoder::{Decoder, KvUse, ResolvedMix, Step, StepToken, StepWork};
pub use self::error::EngineError;
pub use self::logits::Logits;
pub use self::native::{Ceiling, Native, int8_ceiling};
pub use self::open::OPTION_SEQUENCES;
pub use self::portable::Portable;
pub use self::rehearsal::{Rehearsal, RehearsalOptions, Rehearsed};
pub use self::request::{
    Choice, Choose, Event, FinishReason, Generate, Generation, Mix, Sampling, Schedule, Usage, Weighted,
};
pub use self::runtime::{load as load_runtime, threads};
pub use self::scheduler::{MAX_STOP_CHARS, MAX_STOPS};
pub use self::script::Script;
#[cfg(test)]
pub use self::script::watch::secrets;
pub use self::timer::{StepPart, StepTimer};
pub use self::tokenizer::{ChatTemplate, Message, Role, TextStream, Tokenizer};
pub use self::watch::{EngineLimits, RowState, Watched};

use self::adapter::{Reader, Registry};
use self::checks::{bad, check_stops};
use self::open::{Opened, reader};
use self::pace::{Pace, Patience};
use self::post::Post;
use self::sampler::Sampler;
use self::scheduler::{ChooseWork, GenerateWork, Job, Limits, StopMatcher, Work};
use self::spans::RequestSpans;
use self::watch::Poster;
use self::worker::{Command, QueueSlot, Shared, Worker};
use crate::config::{self, DecoderKind};
use crate::metrics::Refused;

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
    /// Time that steps took.
    pub busy: Duration,
    /// Requests that ended because their caller went away.
    pub abandoned: u64,
    /// Requests that ended because they had no row at their deadline.
    pub late: u64,
    /// Adapters that mixes may name.
    pub adapters: usize,
    /// Adapters in memory, and the bytes that they take: never more than `engine.adapter_memory_mb`.
    pub resident_adapters: usize,
    pub adapter_bytes: usize,
    /// Adapters that were read from disk because a request named them.
    pub adapter_reads: u64,
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
    registry: Arc<Registry>,
    reader: Reader,
    post: Post,
    /// Taken by whoever waits for its end.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The thread that reads adapters would wait for ever, and the engine's for it.
        self.registry.close();
    }
}

impl Engine {
    /// Opens the model folder and starts the engine's thread. Blocks while the model is read.
    ///
    /// # Errors
    /// [`EngineError::BadModel`] if the folder is no model folder, [`EngineError::Runtime`] if ONNX Runtime
    /// cannot be loaded or refuses the graph, [`EngineError::Provider`] if a provider cannot be loaded.
    pub fn start(model_dir: &Path, library: &Path, config: &config::Engine) -> Result<Self, EngineError> {
        let Opened { decoder, kind, tokenizer, model } = Opened::open(model_dir, library, config)?;
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
        shared.running.store(true, Ordering::Release);
        let context = decoder.context();
        let limits = Limits {
            rows: config.rows.min(decoder.sequences()),
            kept: config.kept_conversations,
            context,
            prefill_budget: config.prefill_budget,
            vocab_size: decoder.vocab_size(),
        };
        let registry = Arc::new(Registry::new(config.max_adapters, config.adapter_memory_mb << 20));
        let reader = reader(&model, kind, config);
        let post = Post::start();
        let worker = Worker {
            decoder,
            tokenizer: tokenizer.clone(),
            commands: receiver,
            registry: Arc::clone(&registry),
            limits,
            resident: HashMap::new(),
            dropped: Vec::new(),
            pace: Pace::new(Arc::clone(&shared), Duration::from_millis(config.overload_after_ms)),
            poster: Poster::new(limits.rows),
            post: post.clone(),
        };
        let failed = |error: std::io::Error| {
            EngineError::Runtime(format!("the engine's thread did not start: {error}"))
        };
        let thread = std::thread::Builder::new().name("engine".into());
        let thread = thread.spawn(move || worker.run()).map_err(failed)?;
        let (reading, reads, sender) = (Arc::clone(&registry), reader.clone(), commands.clone());
        let counting = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("adapters".into())
            .spawn(move || adapter::run_loader(&reading, &reads, &sender, &counting.metrics))
            .map_err(failed)?;
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
                registry,
                reader,
                post,
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
        open::name(self.inner.kind)
    }

    pub fn stats(&self) -> EngineStats {
        let shared = &self.inner.shared;
        let (adapters, resident_adapters, adapter_bytes, adapter_reads) = self.inner.registry.counts();
        EngineStats {
            waiting: shared.waiting.load(Ordering::Relaxed),
            live: shared.live.load(Ordering::Relaxed),
            steps: shared.steps.load(Ordering::Relaxed),
            tokens: shared.tokens.load(Ordering::Relaxed),
            busy: Duration::from_nanos(shared.busy_ns.load(Ordering::Relaxed)),
            abandoned: shared.abandoned.load(Ordering::Relaxed),
            late: shared.late.load(Ordering::Relaxed),
            adapters,
            resident_adapters,
            adapter_bytes,
            adapter_reads,
        }
    }

    /// Starts a generation. If an adapter of its mix is not in memory it is read first, while others go on.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] if the queue is full, if its deadline would pass before it had a row, or if adapters
    /// in use leave no memory for its own; [`EngineError::PromptTooLong`], [`EngineError::BadRequest`],
    /// [`EngineError::UnknownAdapter`], [`EngineError::Stopped`]. Its events end with
    /// [`EngineError::DeadlineExceeded`], or with [`EngineError::BadAdapter`] if an adapter could not be read again.
    pub fn generate(&self, request: Generate) -> Result<Generation, EngineError> {
        request.sampling.check()?;
        if request.max_tokens == 0 {
            return Err(bad("max_tokens", 0, "at least 1"));
        }
        check_stops(&request.stop)?;
        self.check_prompt(&request.prompt, 1)?;
        let max_tokens = request.max_tokens.min(self.inner.context as u32);
        // One event for each token at most, the first, the held-back text and the last.
        let (sender, events) = mpsc::channel(max_tokens as usize + 3);
        let work = GenerateWork {
            sampler: Sampler::new(request.sampling),
            text: self.inner.tokenizer.stream(),
            stop: StopMatcher::new(request.stop),
            max_tokens,
            ignore_end: request.ignore_end,
            events: self.inner.post.events(sender),
        };
        self.submit(request.prompt, &request.mix, request.schedule, Work::Generate(Box::new(work)))?;
        Ok(events.into())
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
        let (reply, answer) = oneshot::channel();
        let work = Work::Choose(ChooseWork { options, reply: Some(reply) });
        self.submit(request.prompt, &request.mix, request.schedule, work)?;
        answer.await.map_err(|_| EngineError::Stopped)?
    }

    /// Computes the keys and values of a prompt, so that a request that begins like it need not; answers when that
    /// is done. Dropping the future stops it.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub async fn warm(&self, prompt: Vec<u32>, mix: &Mix, schedule: Schedule) -> Result<Usage, EngineError> {
        self.check_prompt(&prompt, 1)?;
        let (reply, answer) = oneshot::channel();
        self.submit(prompt, mix, schedule, Work::Warm(Some(reply)))?;
        answer.await.map_err(|_| EngineError::Stopped)?
    }

    /// Forgets what is kept of all conversations, so that nothing of a player who was erased is left in it. The next
    /// line of each computes its whole prompt.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`], [`EngineError::Stopped`].
    pub async fn forget_conversations(&self) -> Result<(), EngineError> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Forget(done))?;
        answer.await.map_err(|_| EngineError::Stopped)
    }

    /// Whether the engine's thread takes requests.
    pub fn is_running(&self) -> bool {
        self.inner.shared.running.load(Ordering::Acquire)
    }

    /// Ends every request with [`EngineError::Stopped`], and the thread; waits for the step that it is in.
    ///
    /// A process that ends while ONNX Runtime computes may crash on its way out.
    pub fn stop(&self) {
        self.inner.shared.running.store(false, Ordering::Release);
        self.inner.registry.close();
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
            crossbeam_channel::TrySendError::Full(_) => {
                self.inner.shared.refuse(Refused::QueueFull, false);
                self.overloaded()
            }
            crossbeam_channel::TrySendError::Disconnected(_) => EngineError::Stopped,
        })
    }

    /// Takes a place in the queue and the adapters, and hands the request to the engine's thread.
    fn submit(&self, prompt: Vec<u32>, mix: &Mix, schedule: Schedule, work: Work) -> Result<(), EngineError> {
        let tokens = prompt.len() + work.answer_tokens();
        let slot = Some(self.queue_slot(tokens, schedule)?);
        let mix = self.job_mix(mix).inspect_err(|error| {
            if matches!(error, EngineError::Overloaded { .. }) {
                self.inner.shared.refuse(Refused::AdapterMemory, schedule.background);
            }
        })?;
        self.inner.shared.metrics.requests.of(work.counted()).inc();
        let spans = RequestSpans::begin(work.kind(), prompt.len(), schedule.background);
        let job = Job { prompt, mix, submitted: Instant::now(), step: 0, slot, schedule, work, spans };
        self.send(Command::Run(Box::new(job)))
    }

    fn queue_slot(&self, tokens: usize, schedule: Schedule) -> Result<QueueSlot, EngineError> {
        let config = &self.inner.config;
        let patience = Patience { queue: config.queue, overload_wait_ms: config.overload_wait_ms };
        let slot = patience.admit(&self.inner.shared, tokens, schedule, Instant::now());
        slot.ok_or_else(|| self.overloaded())
    }

    fn overloaded(&self) -> EngineError {
        EngineError::Overloaded { retry_after_ms: self.inner.shared.load.drain_ms() }
    }
}

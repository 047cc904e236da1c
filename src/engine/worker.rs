//! The thread that owns the decoder, the KV cache and the queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use tokio::sync::oneshot;

use super::EngineError;
use super::adapter::{Adapter, Registry, Version};
use super::decoder::{Decoder, Step};
use super::load::Load;
use super::logits::Logits;
use super::pace::Pace;
use super::post::Post;
use super::scheduler::{Job, Limits, Scheduler};
use super::spans::number;
use super::tokenizer::Tokenizer;
use super::watch::{Board, Poster};
use crate::metrics::{Class, EngineMetrics, Refused};

/// While nothing can be computed but somebody waits for adapters: how often to look for deadlines and callers that
/// have gone.
const PARKED: Duration = Duration::from_millis(10);

/// What the engine's handle asks of its thread.
pub enum Command {
    Run(Box<Job>),
    /// An adapter was read.
    Add(Arc<Adapter>, Option<oneshot::Sender<Result<(), EngineError>>>),
    /// An adapter that requests wait for could not be read.
    Failed(Version, EngineError),
    /// Nobody can name an adapter any more: what is kept of it goes as soon as no request uses it.
    Drop(Version),
    /// What is kept of conversations goes.
    Forget(oneshot::Sender<()>),
    Stop,
}

/// Shared between the thread and the handles.
#[derive(Debug, Default)]
pub struct Shared {
    /// Requests that were accepted and have no row yet.
    pub waiting: AtomicUsize,
    pub live: AtomicUsize,
    pub steps: AtomicU64,
    pub tokens: AtomicU64,
    /// Nanoseconds that steps took.
    pub busy_ns: AtomicU64,
    pub abandoned: AtomicU64,
    pub late: AtomicU64,
    /// Cleared by `stop` and when the thread ends, also by a panic: nothing new is taken.
    pub running: AtomicBool,
    pub load: Load,
    pub board: Board,
    pub metrics: EngineMetrics,
}

impl Shared {
    /// A request found no place.
    pub fn refuse(&self, cause: Refused, background: bool) {
        self.metrics.refused.of(cause, Class::of(background)).inc();
    }
}

/// A place in the queue, given back when the request gets its row or is dropped.
#[derive(Debug)]
pub struct QueueSlot {
    shared: Arc<Shared>,
    tokens: usize,
    background: bool,
}

impl QueueSlot {
    /// Takes a place for a request of so many tokens, if fewer than `limit` are taken.
    pub fn take(shared: &Arc<Shared>, limit: usize, tokens: usize, background: bool) -> Option<Self> {
        let taken = shared
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1));
        taken.ok()?;
        shared.load.queue(tokens, background, false);
        Some(Self { shared: Arc::clone(shared), tokens, background })
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        self.shared.load.queue(self.tokens, self.background, true);
        self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Tells the handles when the thread ends, however it ends.
struct Running(Arc<Shared>, Arc<Registry>, Post);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
        self.1.close();
        // What was said last still has to be sent.
        self.2.flush();
    }
}

/// The thread's state.
pub struct Worker {
    pub decoder: Box<dyn Decoder>,
    pub tokenizer: Tokenizer,
    pub commands: Receiver<Command>,
    pub registry: Arc<Registry>,
    pub limits: Limits,
    /// The adapters in memory.
    pub resident: HashMap<Version, Arc<Adapter>>,
    /// Adapters that nobody can name any more, but that requests may still use.
    pub dropped: Vec<Version>,
    pub pace: Pace,
    pub poster: Poster,
    pub post: Post,
}

impl Worker {
    /// Runs until the last handle is gone or [`Command::Stop`] comes.
    pub fn run(mut self) {
        let shared = Arc::clone(&self.pace.shared);
        let _running = Running(Arc::clone(&shared), Arc::clone(&self.registry), self.post.clone());
        let mut scheduler = Scheduler::new(self.limits, self.decoder.sequences());
        let mut tokens = Vec::new();
        let mut logits = Logits::default();
        while self.take_commands(&mut scheduler) {
            self.release_adapters(&mut scheduler);
            scheduler.set_retry_after(shared.load.drain_ms());
            let now = Instant::now();
            let changes = scheduler.admit(self.decoder.as_mut(), now);
            self.pace.admitted(&scheduler, &changes, now);
            self.post.flush();
            scheduler.plan(&mut tokens);
            if tokens.is_empty() {
                self.pace.idle();
                continue;
            }
            let full = scheduler.is_full();
            scheduler.count_phases(&tokens, |phase, count| shared.metrics.tokens.of(phase).add(count as u64));
            let start = self.pace.begins(Instant::now());
            let step = Step { tokens: &tokens, mixes: scheduler.mixes() };
            let span =
                tracing::trace_span!("step", tokens = number(tokens.len()), rows = number(scheduler.live()));
            scheduler.trace(&span);
            let result = span.in_scope(|| self.decoder.step(step, &mut logits));
            shared.steps.fetch_add(1, Ordering::Relaxed);
            shared.tokens.fetch_add(tokens.len() as u64, Ordering::Relaxed);
            let changes = match result {
                Ok(()) => {
                    let tokenizer = &self.tokenizer;
                    scheduler.complete(&tokens, &mut logits, &|id| tokenizer.is_end(id), Instant::now())
                }
                Err(error) => {
                    tracing::error!(%error, rows = scheduler.live(), "a step failed; its requests end");
                    shared.metrics.steps_failed.inc();
                    scheduler.fail(&tokens, &error, self.decoder.as_mut())
                }
            };
            self.post.flush();
            let now = Instant::now();
            let took = now.saturating_duration_since(start);
            shared.busy_ns.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
            shared.metrics.step.observe(took);
            self.pace.stepped(&scheduler, &changes, (tokens.len(), full), (start, now));
            self.poster.stepped(&shared.board, &scheduler, self.decoder.as_ref(), tokens.len(), (start, now));
        }
        scheduler.stop();
    }

    /// Takes what has come; waits if there is nothing to compute. `false`: stop.
    fn take_commands(&mut self, scheduler: &mut Scheduler) -> bool {
        loop {
            // What a command had to say; it may be long until the next one.
            self.post.flush();
            let command = if scheduler.is_idle() && self.dropped.is_empty() {
                self.poster.settle(&self.pace.shared.board, scheduler, self.decoder.as_ref());
                // Waiting is no part of the step that comes next.
                self.pace.idle();
                match self.commands.recv() {
                    Ok(command) => command,
                    Err(_) => return false,
                }
            } else if scheduler.is_parked() {
                self.pace.idle();
                match self.commands.recv_timeout(PARKED) {
                    Ok(command) => command,
                    Err(RecvTimeoutError::Timeout) => return true,
                    Err(RecvTimeoutError::Disconnected) => return false,
                }
            } else {
                match self.commands.try_recv() {
                    Ok(command) => command,
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                }
            };
            match command {
                Command::Run(job) => self.take_job(*job, scheduler),
                Command::Add(adapter, reply) => {
                    let version = adapter.version;
                    let result = self.add(adapter);
                    let resident = &self.resident;
                    match &result {
                        Ok(()) => scheduler.resolve(&|version| resident.get(&version).cloned()),
                        Err(error) => scheduler.adapter_failed(version, error),
                    }
                    if let Some(reply) = reply {
                        // Fails only if the caller is gone.
                        drop(reply.send(result));
                    }
                }
                Command::Failed(version, error) => scheduler.adapter_failed(version, &error),
                Command::Drop(version) => self.dropped.push(version),
                Command::Forget(done) => {
                    let changes = scheduler.forget_all(self.decoder.as_mut());
                    self.pace.apply(scheduler, &changes);
                    self.poster.touch();
                    // Fails only if the caller is gone.
                    let _ = done.send(());
                }
                Command::Stop => return false,
            }
            if !scheduler.is_idle() && scheduler.is_parked() {
                // Adapters may have to leave before anything else can go on.
                return true;
            }
        }
    }

    fn take_job(&self, mut job: Job, scheduler: &mut Scheduler) {
        if let Err(version) = job.mix.resolve(&|version| self.resident.get(&version).cloned())
            && let Some(error) = self.registry.failure(version)
        {
            // It failed between the caller's look-up and now: this request ends, nobody else's.
            job.fail(error);
            return;
        }
        scheduler.submit(job);
    }

    fn add(&mut self, adapter: Arc<Adapter>) -> Result<(), EngineError> {
        let version = adapter.version;
        self.resident.insert(version, adapter);
        let result = self.set_adapters();
        match &result {
            Ok(()) => self.registry.arrived(version),
            Err(error) => {
                self.resident.remove(&version);
                self.registry.failed(version, error);
            }
        }
        result
    }

    fn set_adapters(&mut self) -> Result<(), EngineError> {
        let mut resident: Vec<_> = self.resident.values().cloned().collect();
        resident.sort_by_key(|adapter| adapter.version);
        self.decoder.set_adapters(&resident)
    }

    /// Lets go of the adapters whose memory is wanted, and of what is kept of those that nobody can name any more.
    fn release_adapters(&mut self, scheduler: &mut Scheduler) {
        let before = self.resident.len();
        let resident = &mut self.resident;
        self.registry.let_go(|leaving| resident.retain(|version, _| !leaving.contains(version)));
        let left = before - self.resident.len();
        self.pace.shared.metrics.adapter_evictions.add(left as u64);
        if left > 0
            && let Err(error) = self.set_adapters()
        {
            tracing::error!(%error, "the adapter pool could not be rebuilt");
        }
        let (registry, decoder) = (&self.registry, self.decoder.as_mut());
        self.dropped.retain(|version| {
            let used = registry.knows(*version);
            if !used {
                scheduler.forget(*version, decoder);
            }
            used
        });
    }
}

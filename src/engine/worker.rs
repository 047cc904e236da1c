//! The thread that owns the decoder, the KV cache and the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, TryRecvError};
use tokio::sync::oneshot;

use super::adapter::Adapter;
use super::decoder::{Decoder, Step};
use super::scheduler::{Changes, Job, Limits, Scheduler};
use super::tokenizer::Tokenizer;
use super::{EngineError, EngineStats};

/// What the engine's handle asks of its thread.
pub enum Command {
    Run(Job),
    /// Makes an adapter resident.
    Add(Arc<Adapter>, oneshot::Sender<Result<(), EngineError>>),
    /// Lets go of an adapter as soon as no request uses it.
    Drop(Arc<Adapter>),
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
    pub abandoned: AtomicU64,
    /// Cleared by `stop` and when the thread ends, also by a panic: nothing new is taken.
    pub running: AtomicBool,
    /// Moving average of the time a request has its row, in milliseconds.
    pub row_ms: AtomicU64,
}

impl Shared {
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            waiting: self.waiting.load(Ordering::Relaxed),
            live: self.live.load(Ordering::Relaxed),
            steps: self.steps.load(Ordering::Relaxed),
            tokens: self.tokens.load(Ordering::Relaxed),
            abandoned: self.abandoned.load(Ordering::Relaxed),
        }
    }
}

/// A place in the queue, given back when the request gets its row or is dropped.
#[derive(Debug)]
pub struct QueueSlot(Arc<Shared>);

impl QueueSlot {
    /// Takes a place if fewer than `limit` are taken.
    pub fn take(shared: &Arc<Shared>, limit: usize) -> Option<Self> {
        let taken = shared
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1));
        taken.is_ok().then(|| Self(Arc::clone(shared)))
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Tells the handles when the thread ends, however it ends.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
    }
}

/// The thread's state.
pub struct Worker {
    pub decoder: Box<dyn Decoder>,
    pub tokenizer: Tokenizer,
    pub commands: Receiver<Command>,
    pub shared: Arc<Shared>,
    pub limits: Limits,
    pub resident: Vec<Arc<Adapter>>,
    /// Adapters to let go of.
    pub leaving: Vec<Arc<Adapter>>,
}

impl Worker {
    /// Runs until the last handle is gone or [`Command::Stop`] comes.
    pub fn run(mut self) {
        let _running = Running(Arc::clone(&self.shared));
        let mut scheduler = Scheduler::new(self.limits, self.decoder.sequences());
        let mut tokens = Vec::new();
        let mut logits = Vec::new();
        while self.take_commands(&mut scheduler) {
            let changes = scheduler.admit(self.decoder.as_mut(), Instant::now());
            self.apply(&scheduler, &changes);
            self.release_adapters(&mut scheduler);
            scheduler.plan(&mut tokens);
            if tokens.is_empty() {
                continue;
            }
            let step = Step { tokens: &tokens, mixes: scheduler.mixes() };
            let result = self.decoder.step(step, &mut logits);
            self.shared.steps.fetch_add(1, Ordering::Relaxed);
            self.shared.tokens.fetch_add(tokens.len() as u64, Ordering::Relaxed);
            let changes = match result {
                Ok(()) => {
                    let tokenizer = &self.tokenizer;
                    scheduler.complete(&tokens, &logits, &|id| tokenizer.is_end(id), Instant::now())
                }
                Err(error) => {
                    tracing::error!(%error, rows = scheduler.live(), "a step failed; its requests end");
                    scheduler.fail(&tokens, &error, self.decoder.as_mut(), Instant::now())
                }
            };
            self.apply(&scheduler, &changes);
        }
        scheduler.stop();
    }

    /// Takes what has come; waits if there is nothing to compute. `false`: stop.
    fn take_commands(&mut self, scheduler: &mut Scheduler) -> bool {
        loop {
            let command = if scheduler.is_idle() && self.leaving.is_empty() {
                match self.commands.recv() {
                    Ok(command) => command,
                    Err(_) => return false,
                }
            } else {
                match self.commands.try_recv() {
                    Ok(command) => command,
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                }
            };
            match command {
                Command::Run(mut job) => match self.missing(&job) {
                    None => scheduler.submit(job),
                    // Dropped between the caller's look-up and now: this request ends, not its whole step.
                    Some(id) => job.fail(EngineError::UnknownAdapter(id)),
                },
                Command::Add(adapter, reply) => {
                    let result = self.add(adapter);
                    // Fails only if the caller is gone; the adapter is then dropped with its handle's entry.
                    drop(reply.send(result));
                }
                Command::Drop(adapter) => self.leaving.push(adapter),
                Command::Stop => return false,
            }
        }
    }

    /// The id of an adapter of the job's mix that is not resident.
    fn missing(&self, job: &Job) -> Option<String> {
        let resident = |adapter: &Arc<Adapter>| self.resident.iter().any(|r| Arc::ptr_eq(r, adapter));
        job.mix.iter().find(|(adapter, _)| !resident(adapter)).map(|(adapter, _)| adapter.info.id.to_string())
    }

    fn add(&mut self, adapter: Arc<Adapter>) -> Result<(), EngineError> {
        self.resident.push(adapter);
        let result = self.decoder.set_adapters(&self.resident);
        if result.is_err() {
            self.resident.pop();
        }
        result
    }

    /// Lets go of the adapters that leave and are no longer used.
    fn release_adapters(&mut self, scheduler: &mut Scheduler) {
        let before = self.resident.len();
        let (stay, free): (Vec<_>, Vec<_>) = self.leaving.drain(..).partition(|a| scheduler.uses(a));
        self.leaving = stay;
        for adapter in &free {
            scheduler.forget(adapter, self.decoder.as_mut());
        }
        self.resident.retain(|a| !free.iter().any(|f| Arc::ptr_eq(a, f)));
        if self.resident.len() != before
            && let Err(error) = self.decoder.set_adapters(&self.resident)
        {
            tracing::error!(%error, "the adapter pool could not be rebuilt");
        }
    }

    fn apply(&mut self, scheduler: &Scheduler, changes: &Changes) {
        for duration in &changes.durations_ms {
            let mean = self.shared.row_ms.load(Ordering::Relaxed);
            let next = if mean == 0 { *duration } else { (mean * 7 + duration) / 8 };
            self.shared.row_ms.store(next, Ordering::Relaxed);
        }
        self.shared.abandoned.fetch_add(changes.abandoned as u64, Ordering::Relaxed);
        self.shared.live.store(scheduler.live(), Ordering::Relaxed);
    }
}

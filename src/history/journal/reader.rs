//! The threads that read, so that no query blocks the server's own.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

use super::JournalError;
use super::store::Store;
use crate::metrics::JournalMetrics;

/// SQLite lets them read side by side.
const THREADS: usize = 2;
/// Questions that wait at most.
const QUEUE: usize = 1024;

type Question = Box<dyn FnOnce(&mut Store) + Send>;

/// Answers questions about what is stored.
pub(super) struct Reader {
    questions: Sender<Question>,
    metrics: Arc<JournalMetrics>,
}

impl Reader {
    /// Opens the connections and starts the threads, which end with the reader.
    pub fn start(
        path: &Path,
        metrics: &Arc<JournalMetrics>,
    ) -> Result<(Self, Vec<JoinHandle<()>>), JournalError> {
        let (questions, asked) = bounded(QUEUE);
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            let store = Store::reader(path)?;
            let asked = asked.clone();
            threads.push(super::thread("journal-read", path, move || answer(store, &asked))?);
        }
        Ok((Self { questions, metrics: Arc::clone(metrics) }, threads))
    }

    /// Questions that wait.
    pub fn waiting(&self) -> usize {
        self.questions.len()
    }

    /// Asks, and waits for the answer.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Store) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let began = Instant::now();
        let answer = self.answer(question).await;
        match &answer {
            Ok(_) => self.metrics.read.observe(began.elapsed()),
            Err(_) => self.metrics.read_failures.inc(),
        }
        answer
    }

    async fn answer<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Store) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (sender, answer) = oneshot::channel();
        let asked = Box::new(move |store: &mut Store| {
            // Who has gone needs no answer.
            if !sender.is_closed() {
                let _ = sender.send(question(store));
            }
        });
        self.questions.try_send(asked).map_err(|error| {
            if error.is_full() { JournalError::Busy(QUEUE) } else { JournalError::Closed }
        })?;
        answer.await.unwrap_or(Err(JournalError::Closed))
    }
}

fn answer(mut store: Store, questions: &Receiver<Question>) {
    while let Ok(question) = questions.recv() {
        question(&mut store);
    }
}

//! A script that reads what it is asked, for tests of prompts: it keeps every prompt, and its answer says again whatever
//! it was told that is marked as a secret.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use parking_lot::Mutex;

use super::text::Lines;
use super::{Arc, Choose, Generate, Script, Shared};
use crate::engine::Tokenizer;

/// What a word begins with that is a secret.
pub const SECRET: &str = "zq";

/// The prompts so far, as text.
#[derive(Debug)]
pub(super) struct Watch {
    tokenizer: Tokenizer,
    prompts: Mutex<Vec<String>>,
    /// Those of choices.
    asked: Mutex<Vec<String>>,
}

impl Script {
    /// A script that keeps prompts.
    pub fn watched(tokenizer: Tokenizer, context: u32) -> Self {
        let shared = Shared::new("I know nothing.", context);
        let watch = Some(Watch { tokenizer, prompts: Mutex::default(), asked: Mutex::default() });
        Self { shared: Arc::new(Shared { watch, ..shared }) }
    }

    /// The prompts since this was asked last.
    pub fn prompts(&self) -> Vec<String> {
        self.shared.watch.as_ref().map(|watch| std::mem::take(&mut *watch.prompts.lock())).unwrap_or_default()
    }

    /// The prompts of choices since this was asked last.
    pub fn asked(&self) -> Vec<String> {
        self.shared.watch.as_ref().map(|watch| std::mem::take(&mut *watch.asked.lock())).unwrap_or_default()
    }

    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.shared.watch.as_ref().map(|watch| &watch.tokenizer)
    }
}

impl Shared {
    fn new(line: &str, context: u32) -> Self {
        Self {
            lines: Lines::parse(line).expect("a line"),
            tokens_per_second: 0.0,
            delta_tokens: 1,
            max_turns: 1000,
            context,
            running: AtomicBool::new(true),
            live: AtomicUsize::new(0),
            tokens: AtomicU64::new(0),
            unseeded: AtomicU64::new(0),
            metrics: crate::metrics::EngineMetrics::default(),
            watch: None,
        }
    }

    /// Notes the prompt of a choice.
    pub(super) fn watch_choice(&self, request: &Choose) {
        if let Some(watch) = &self.watch {
            watch.asked.lock().push(watch.tokenizer.decode(&request.prompt));
        }
    }

    /// Notes a prompt; returns what answers it.
    pub(super) fn watched(&self, request: &Generate) -> Option<Arc<Self>> {
        let watch = self.watch.as_ref()?;
        let prompt = watch.tokenizer.decode(&request.prompt);
        let mut answer = "I heard of".to_owned();
        for secret in secrets(&prompt) {
            answer = format!("{answer} {secret}");
        }
        watch.prompts.lock().push(prompt);
        Some(Arc::new(Self::new(&answer, self.context)))
    }
}

/// The secrets in a text, each once.
pub fn secrets(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let mut all: Vec<_> = words.filter(|word| word.starts_with(SECRET)).map(str::to_owned).collect();
    all.sort();
    all.dedup();
    all
}

//! What is checked of a request before it waits.

use super::scheduler::{MAX_STOP_CHARS, MAX_STOPS};
use super::{Engine, EngineError, MAX_OPTIONS};

pub fn bad(field: &'static str, value: impl std::fmt::Display, allowed: impl Into<String>) -> EngineError {
    EngineError::BadRequest { field, value: value.to_string(), allowed: allowed.into() }
}

pub fn check_stops(stops: &[String]) -> Result<(), EngineError> {
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

impl Engine {
    /// Checks that a prompt and `answer` tokens behind it fit.
    pub(super) fn check_prompt(&self, prompt: &[u32], answer: usize) -> Result<(), EngineError> {
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

    /// The tokens of each option of a choice.
    pub(super) fn option_tokens(&self, options: &[String]) -> Result<Vec<Vec<u32>>, EngineError> {
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

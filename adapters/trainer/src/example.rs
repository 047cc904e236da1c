use crate::TrainError;

/// A token sequence and which of its tokens are learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub tokens: Vec<u32>,
    /// As long as `tokens`: whether the token counts in the loss. The first never does.
    pub learned: Vec<bool>,
    /// Examples with the same number begin alike and are computed together.
    pub group: usize,
}

impl Example {
    /// An example of which only what comes behind `prompt` is learned.
    pub fn answer(prompt: &[u32], answer: &[u32], group: usize) -> Self {
        let tokens = [prompt, answer].concat();
        let learned = (0..tokens.len()).map(|at| at >= prompt.len()).collect();
        Self { tokens, learned, group }
    }

    /// Tokens that are learned.
    pub fn targets(&self) -> usize {
        self.learned.iter().filter(|learned| **learned).count()
    }

    pub(crate) fn check(&self, vocab: usize, context: usize) -> Result<(), TrainError> {
        let bad = |reason: String| Err(TrainError::Bad(reason));
        if self.learned.len() != self.tokens.len() || self.learned.first() != Some(&false) {
            return bad("an example must say of each token but the first whether it is learned".into());
        }
        if self.tokens.len() > context {
            return bad(format!(
                "an example has {} tokens, and the model reads {context}",
                self.tokens.len()
            ));
        }
        if let Some(token) = self.tokens.iter().find(|token| **token as usize >= vocab) {
            return bad(format!("an example holds token {token}, and the vocabulary ends at {}", vocab - 1));
        }
        if self.targets() == 0 {
            return bad("an example has no token that is learned".into());
        }
        Ok(())
    }
}

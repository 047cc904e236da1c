//! A line begins and ends with a word.

/// Takes the white space off both ends of a line while it streams.
#[derive(Default)]
pub(super) struct Trimmer {
    began: bool,
    held: String,
    tokens: u32,
}

impl Trimmer {
    /// Adds text; returns what is sure to stay.
    pub fn push(&mut self, text: String, tokens: u32) -> Option<String> {
        self.tokens += tokens;
        if self.began && self.held.is_empty() && !text.ends_with(char::is_whitespace) {
            // Most text: nothing is taken off.
            return (!text.is_empty()).then_some(text);
        }
        self.held.push_str(&text);
        if !self.began {
            self.held.drain(..self.held.len() - self.held.trim_start().len());
        }
        let end = self.held.trim_end().len();
        if end == 0 {
            // White space inside a line is a few characters; a model that writes nothing else is not
            // kept in memory.
            self.held.truncate(self.held.char_indices().nth(256).map_or(self.held.len(), |(i, _)| i));
            return None;
        }
        self.began = true;
        let rest = self.held.split_off(end);
        Some(std::mem::replace(&mut self.held, rest))
    }

    /// The tokens of what was returned since this was asked last.
    pub fn take_tokens(&mut self) -> u32 {
        std::mem::take(&mut self.tokens)
    }
}

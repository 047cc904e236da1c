//! The lines that a script plays, cut into tokens: words, with the space before them.

use std::fmt;

/// Largest script, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// Longest token, in characters: text without spaces streams too.
const MAX_TOKEN_CHARS: usize = 16;

/// Played when no file is given.
const BUILT_IN: &str = include_str!("lines.txt");

/// The answers of a script; there is at least one.
#[derive(Debug, PartialEq, Eq)]
pub struct Lines(Vec<Line>);

/// One answer, not empty.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    /// Where each token ends, in bytes.
    pub ends: Vec<usize>,
}

/// A script without a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Empty;

impl fmt::Display for Empty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it has no line with text in it")
    }
}

impl Lines {
    /// Every line of the text that is not empty is an answer.
    pub fn parse(text: &str) -> Result<Self, Empty> {
        let lines: Vec<Line> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Line::new).collect();
        if lines.is_empty() { Err(Empty) } else { Ok(Self(lines)) }
    }

    /// What stands in for a file.
    pub fn built_in() -> Result<Self, Empty> {
        Self::parse(BUILT_IN)
    }

    /// The same line for the same number.
    pub fn pick(&self, number: u64) -> &Line {
        &self.0[(number % self.0.len() as u64) as usize]
    }
}

impl Line {
    fn new(text: &str) -> Self {
        let mut ends = Vec::new();
        let (mut chars, mut in_word) = (0, false);
        for (at, c) in text.char_indices() {
            let begins_next = c.is_whitespace() && in_word;
            if at > 0 && (begins_next || chars == MAX_TOKEN_CHARS) {
                ends.push(at);
                chars = 0;
            }
            in_word = !c.is_whitespace();
            chars += 1;
        }
        ends.push(text.len());
        Self { text: text.to_owned(), ends }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        let line = Line::new(text);
        let starts = std::iter::once(0).chain(line.ends.iter().copied());
        starts.zip(&line.ends).map(|(start, end)| text[start..*end].to_owned()).collect()
    }

    #[test]
    fn tokens_are_words_with_the_space_before_them() {
        assert_eq!(tokens("Good evening, traveller."), ["Good", " evening,", " traveller."]);
        assert_eq!(tokens("a  b"), ["a", "  b"]);
        assert_eq!(
            tokens("日本語の文には空白がありませんから切る"),
            ["日本語の文には空白がありませんか", "ら切る"]
        );
    }

    #[test]
    fn a_script_has_a_line_for_every_line_that_is_not_empty() {
        let lines = Lines::parse("\n one \n\n two\r\n").unwrap();
        assert_eq!([0, 1, 2].map(|n| lines.pick(n).text.as_str()), ["one", "two", "one"]);
        assert_eq!(Lines::parse(" \n\n"), Err(Empty));
        assert!(Lines::built_in().unwrap().0.len() > 1);
    }

    proptest! {
        #[test]
        fn tokens_join_to_the_line(text in "\\S(.{0,80}\\S)?") {
            let tokens = tokens(&text);
            prop_assert_eq!(tokens.concat(), text);
            prop_assert!(tokens.iter().all(|t| (1..=MAX_TOKEN_CHARS).contains(&t.chars().count())));
        }
    }
}

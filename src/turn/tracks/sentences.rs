//! Where the sentences of a line end, while it streams.

/// Ends of sentences: the full stop and its kin in the scripts that players write.
const TERMINATORS: [char; 10] = ['.', '!', '?', '…', '。', '！', '？', '؟', '।', '‽'];

/// What may close a quotation or a bracket behind a terminator, and still belongs to the sentence.
const CLOSERS: [char; 8] = ['"', '\'', '”', '’', '»', ')', ']', '」'];

/// Finds the ends of sentences in a text that comes in pieces.
///
/// A sentence ends behind a terminator (and what closes a quotation) when white space follows, or at once where the
/// script has no spaces. "3.5" goes on; an abbreviation such as "Mr." ends one, which costs a question and no more.
#[derive(Debug, Default)]
pub struct Sentences {
    /// Characters seen.
    chars: u64,
    /// The sentence so far.
    text: String,
    /// A terminator was the last but closers.
    ending: bool,
}

/// A finished sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    pub text: String,
    /// Where it ends, in characters from the start of the line.
    pub end: u64,
}

impl Sentences {
    /// Characters taken so far.
    pub fn chars(&self) -> u64 {
        self.chars
    }

    /// Takes more text; returns the sentences that are finished in it.
    pub fn push(&mut self, text: &str) -> Vec<Sentence> {
        let mut finished = Vec::new();
        for c in text.chars() {
            if self.ending && c.is_whitespace() {
                finished.push(self.finish());
            }
            self.chars += 1;
            self.text.push(c);
            if TERMINATORS.contains(&c) {
                self.ending = true;
                if matches!(c, '。' | '！' | '？') {
                    finished.push(self.finish());
                }
            } else if !(self.ending && CLOSERS.contains(&c)) {
                self.ending = false;
            }
        }
        finished
    }

    fn finish(&mut self) -> Sentence {
        self.ending = false;
        let text = std::mem::take(&mut self.text);
        Sentence { text: text.trim().to_owned(), end: self.chars }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(pieces: &[&str]) -> Vec<(String, u64)> {
        let mut sentences = Sentences::default();
        let all = pieces.iter().flat_map(|piece| sentences.push(piece)).collect::<Vec<_>>();
        all.into_iter().map(|sentence| (sentence.text, sentence.end)).collect()
    }

    fn of(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
        pairs.iter().map(|(text, end)| ((*text).to_owned(), *end)).collect()
    }

    #[test]
    fn a_sentence_ends_where_white_space_follows() {
        assert_eq!(ends(&["Good. Evening! Who"]), of(&[("Good.", 5), ("Evening!", 14)]));
        assert_eq!(ends(&["It is 3.5 miles"]), of(&[]));
        assert_eq!(ends(&["\"Go!\" he said. And"]), of(&[("\"Go!\"", 5), ("he said.", 14)]));
        assert_eq!(ends(&["Wait... what?! "]), of(&[("Wait...", 7), ("what?!", 14)]));
        assert_eq!(ends(&["夜は長い。君は？"]), of(&[("夜は長い。", 5), ("君は？", 8)]));
    }

    #[test]
    fn the_last_one_is_not_finished_before_more_follows() {
        assert_eq!(ends(&["Good evening."]), of(&[]));
    }

    #[test]
    fn pieces_make_no_difference() {
        let text = "Héllo there. \"Who?\" I… wait! Go";
        let whole = ends(&[text]);
        assert_eq!(whole.len(), 4);
        for at in text.char_indices().map(|(at, _)| at) {
            let (a, b) = text.split_at(at);
            assert_eq!(ends(&[a, b]), whole, "{a:?} {b:?}");
        }
    }
}

//! Ends a stream of text before the first stop text in it.

/// Longest stop text and how many one request may name.
pub const MAX_STOP_CHARS: usize = 64;
pub const MAX_STOPS: usize = 8;

/// Holds back text that may be the beginning of a stop text. Holds at most the longest of them.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

impl StopMatcher {
    /// Empty stop texts are left out: they would end everything before it began.
    pub fn new(stops: Vec<String>) -> Self {
        Self { stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(), held: String::new() }
    }

    /// Takes more text. Returns what is sure to come before any stop text, and whether one was reached.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, when no more text comes.
    pub fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Length in bytes of the longest end of `text` that begins `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    stop.char_indices()
        .map(|(i, c)| i + c.len_utf8())
        .rev()
        .find(|n| text.ends_with(&stop[..*n]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops.iter().map(|s| (*s).to_owned()).collect());
        let mut out = String::new();
        for piece in pieces {
            let (text, stopped) = matcher.push(piece);
            out += &text;
            if stopped {
                return (out, true);
            }
        }
        out += &matcher.flush();
        (out, false)
    }

    #[test]
    fn a_stop_text_split_over_pieces_is_found() {
        assert_eq!(run(&["\nPlayer:"], &["Hello.", "\nPla", "yer: hi"]), ("Hello.".into(), true));
    }

    #[test]
    fn a_false_beginning_is_released() {
        assert_eq!(run(&["\nPlayer:"], &["Hello.", "\nPla", "ce"]), ("Hello.\nPlace".into(), false));
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".into(), true));
    }

    #[test]
    fn the_earliest_stop_wins() {
        assert_eq!(run(&["world", "o w"], &["hello world"]), ("hell".into(), true));
    }

    #[test]
    fn an_empty_stop_text_is_none() {
        assert_eq!(run(&[""], &["hi"]), ("hi".into(), false));
    }

    proptest! {
        /// However the text is cut, the outcome is that of searching it whole.
        #[test]
        fn cuts_do_not_matter(
            text in "[abé]{0,24}",
            stops in proptest::collection::vec("[abé]{1,4}", 0..3),
            cuts in proptest::collection::vec(0_usize..24, 0..6),
        ) {
            let chars: Vec<char> = text.chars().collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(chars.len())).collect();
            cuts.extend([0, chars.len()]);
            cuts.sort_unstable();
            let pieces: Vec<String> = cuts.windows(2).map(|w| chars[w[0]..w[1]].iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let names: Vec<&str> = stops.iter().map(String::as_str).collect();
            let (out, stopped) = run(&names, &pieces);
            if let Some(at) = stops.iter().filter_map(|s| text.find(s.as_str())).min() {
                // A stop text is acted on once whole; an overlapping earlier one may end later in the text.
                prop_assert!(stopped && text.starts_with(&out) && out.len() >= at);
            } else {
                prop_assert_eq!((out, stopped), (text, false));
            }
        }
    }
}

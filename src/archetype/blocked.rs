//! What a character is not to hear and not to say.

use std::collections::HashMap;

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// `[blocked]` of a `pack.toml`: words and phrases, at most 256 in each list, of at most 64 characters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// A player's line with one of them is not answered.
    #[serde(default)]
    pub input: Vec<String>,
    /// An answer ends before one of them.
    #[serde(default)]
    pub output: Vec<String>,
}

/// Phrases that are looked for word by word: whatever stands between the words, and in whichever case and width they are
/// written, is the same. A letter of a script without spaces is a word of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Phrases {
    /// By their first word; each has at least one.
    by_first: HashMap<String, Vec<Vec<String>>>,
}

/// A word in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    /// As it is compared.
    folded: String,
    /// Where it stands, in bytes.
    start: usize,
    end: usize,
}

/// What a piece of text is, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Up to this byte there is nothing, and what is behind may be the beginning of a phrase.
    Nothing(usize),
    /// A phrase begins at this byte.
    Phrase(usize),
}

impl Phrases {
    pub(super) fn new(phrases: &[String]) -> Self {
        let mut by_first: HashMap<String, Vec<Vec<String>>> = HashMap::new();
        for phrase in phrases {
            let words: Vec<String> = words(phrase).into_iter().map(|word| word.folded).collect();
            if let Some(first) = words.first() {
                by_first.entry(first.clone()).or_default().push(words);
            }
        }
        Self { by_first }
    }

    pub fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    /// Whether a phrase is in a text.
    pub fn are_in(&self, text: &str) -> bool {
        matches!(self.find(text, true), Found::Phrase(_))
    }

    /// The first phrase in a text that may go on unless it is `whole`.
    pub fn find(&self, text: &str, whole: bool) -> Found {
        if self.is_empty() {
            return Found::Nothing(text.len());
        }
        let words = words(text);
        // The last word may go on, unless something that is no letter is behind it.
        let open =
            !whole && words.last().is_some_and(|last| last.end == text.len() && !stands_alone(&last.folded));
        let mut settled = text.len();
        for (i, first) in words.iter().enumerate() {
            let rest = &words[i..];
            if self
                .by_first
                .get(&first.folded)
                .is_some_and(|phrases| phrases.iter().any(|phrase| matches(phrase, rest, open)))
            {
                return Found::Phrase(first.start);
            }
            if !whole && settled == text.len() && self.may_begin(rest, open) {
                settled = first.start;
            }
        }
        Found::Nothing(settled)
    }

    /// Whether a phrase may begin with these words, the last of which may go on.
    fn may_begin(&self, words: &[Word], open: bool) -> bool {
        let begins = |phrase: &Vec<String>| {
            // All of it would have been found.
            words.len() <= phrase.len()
                && words.iter().zip(phrase).enumerate().all(|(i, (word, wanted))| {
                    if open && i + 1 == words.len() {
                        wanted.starts_with(&word.folded)
                    } else {
                        *wanted == word.folded
                    }
                })
        };
        if words.len() == 1 && open {
            return self.by_first.values().flatten().any(begins);
        }
        self.by_first.get(&words[0].folded).is_some_and(|phrases| phrases.iter().any(begins))
    }
}

/// Whether the words begin with the phrase, all of its words being finished.
fn matches(phrase: &[String], words: &[Word], open: bool) -> bool {
    let finished = words.len() - usize::from(open);
    phrase.len() <= finished && phrase.iter().zip(words).all(|(wanted, word)| *wanted == word.folded)
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut joins = false;
    for (at, c) in text.char_indices() {
        if is_mark(c) {
            // What nobody sees by itself ends no word.
            if let Some(word) = words.last_mut().filter(|_| joins) {
                word.end = at + c.len_utf8();
                if !is_ignorable(c) {
                    word.folded.push(c);
                }
            }
            continue;
        }
        if !c.is_alphanumeric() {
            joins = false;
            continue;
        }
        let folded: String = c.nfkc().flat_map(char::to_lowercase).collect();
        let (end, alone) = (at + c.len_utf8(), is_unspaced(c));
        match words.last_mut().filter(|_| joins && !alone) {
            Some(word) => {
                word.folded.push_str(&folded);
                word.end = end;
            }
            None => words.push(Word { folded, start: at, end }),
        }
        joins = !alone;
    }
    for word in &mut words {
        // A letter and its accent are one, whether they come as one or as two.
        word.folded = word.folded.nfkc().collect();
    }
    words
}

/// Accents, and what is not shown at all.
fn is_mark(c: char) -> bool {
    is_combining_mark(c) || is_ignorable(c)
}

/// Soft hyphen, joiners and the like: what Unicode calls default-ignorable, as far as texts have it.
fn is_ignorable(c: char) -> bool {
    matches!(u32::from(c), 0x00AD | 0x034F | 0x061C | 0x180B..=0x180E | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x206F | 0xFE00..=0xFE0F | 0xFEFF | 0xE0000..=0xE0FFF)
}

fn stands_alone(word: &str) -> bool {
    word.chars().next().is_some_and(is_unspaced)
}

/// Letters of scripts that are written without spaces: Thai, Lao, Burmese, Khmer, kana, Han (Unicode blocks).
fn is_unspaced(c: char) -> bool {
    matches!(
        u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn phrases(all: &[&str]) -> Phrases {
        Phrases::new(&all.iter().map(|phrase| (*phrase).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_found_however_they_are_written() {
        let blocked = phrases(&["Silver bullet", "馬鹿", "é", "..."]);
        for text in [
            "a silver bullet",
            "SILVER, bullet!",
            "ｓｉｌｖｅｒ bullet",
            "silver\nbullet",
            "この馬鹿者",
            "É",
            "e\u{301}",
            "sil\u{ad}ver bul\u{200b}let",
        ] {
            assert!(blocked.are_in(text), "{text:?}");
        }
        for text in ["silver bullets", "silvery bullet", "bullet silver", "silver", "...", "馬 車", "été", ""]
        {
            assert!(!blocked.are_in(text), "{text:?}");
        }
        assert!(phrases(&[]).is_empty() && phrases(&["!?"]).is_empty());
    }

    #[test]
    fn what_may_become_a_phrase_is_held() {
        let blocked = phrases(&["silver bullet", "sun"]);
        let held = |text: &str| match blocked.find(text, false) {
            Found::Nothing(settled) => text[settled..].to_owned(),
            Found::Phrase(at) => panic!("{at}"),
        };
        assert_eq!(
            ["a", "a s", "a si", "a sx", "a silver", "a silver bul", "a silver bulk", "sun", "no sun"]
                .map(held),
            ["", "s", "si", "", "silver", "silver bul", "", "sun", "sun"]
        );
        assert_eq!(held("sunny "), "");
        assert_eq!(blocked.find("the sun.", false), Found::Phrase(4));
        assert_eq!(blocked.find("the silver bullet", false), Found::Nothing(4));
        assert_eq!(blocked.find("the silver bullet", true), Found::Phrase(4));
    }

    proptest! {
        /// However a text comes, what is let through is what stands before the first phrase.
        #[test]
        fn pieces_make_no_difference(
            words in prop::collection::vec(prop::sample::select(vec!["a", "silver", "bullet", "Sun", "sunny", "馬", "鹿", ",", "é"]), 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let blocked = phrases(&["silver bullet", "sun", "馬鹿"]);
            let text = words.join(" ");
            let mut ends: Vec<usize> = cuts.iter().map(|cut| {
                let at = cut.index(text.len() + 1);
                (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap()
            }).chain([text.len()]).collect();
            ends.sort_unstable();
            let (mut held, mut passed, mut from, mut stopped) = (String::new(), String::new(), 0, false);
            for end in ends {
                held.push_str(&text[from..end]);
                from = end;
                match blocked.find(&held, false) {
                    Found::Nothing(settled) => { passed.extend(held.drain(..settled)); }
                    Found::Phrase(at) => { passed.push_str(&held[..at]); stopped = true; break; }
                }
            }
            if !stopped {
                match blocked.find(&held, true) {
                    Found::Nothing(settled) => passed.push_str(&held[..settled]),
                    Found::Phrase(at) => passed.push_str(&held[..at]),
                }
            }
            let expected = match blocked.find(&text, true) {
                Found::Nothing(settled) => { prop_assert_eq!(settled, text.len()); text.as_str() }
                Found::Phrase(at) => &text[..at],
            };
            prop_assert_eq!(passed, expected);
        }
    }
}

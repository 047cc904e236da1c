//! Text as the words that it is looked for by.

use rust_stemmers::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

/// Words of a text that are looked at.
const MAX_WORDS: usize = 512;

/// English words that say nothing about what a line is about, as they are before stemming; sorted.
const STOP_WORDS: [&str; 131] = [
    "a", "about", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because",
    "been", "before", "but", "by", "can", "cannot", "could", "did", "do", "does", "doing", "don't", "for",
    "from", "get", "go", "had", "has", "have", "having", "he", "hello", "her", "here", "hers", "hi", "him",
    "his", "how", "i", "i'd", "i'll", "i'm", "i've", "if", "in", "into", "is", "it", "it's", "its", "just",
    "know", "let", "like", "me", "mine", "more", "most", "my", "no", "nor", "not", "now", "of", "off", "oh",
    "on", "only", "or", "our", "ours", "out", "please", "really", "said", "say", "she", "should", "so",
    "some", "such", "tell", "than", "that", "that's", "the", "their", "theirs", "them", "then", "there",
    "these", "they", "thing", "this", "those", "to", "told", "too", "up", "us", "very", "was", "we", "were",
    "what", "what's", "when", "where", "which", "while", "who", "whom", "why", "will", "with", "would",
    "yes", "yet", "you", "you'd", "you'll", "you're", "you've", "your", "yours",
];

/// A word, as a number. Two words may share one, in a chance of 2⁻³²; then one is found for the other.
pub type Term = u32;

/// The words of a text that say something, as often as they occur. In scripts without spaces a word is what Unicode's
/// rules make of it, often one character.
pub fn terms(text: &str) -> Vec<Term> {
    let stemmer = Stemmer::create(Algorithm::English);
    text.unicode_words()
        .take(MAX_WORDS)
        .filter_map(|word| {
            let word = word.to_lowercase().replace('\u{2019}', "'");
            if STOP_WORDS.binary_search(&word.as_str()).is_ok() {
                return None;
            }
            Some(if word.is_ascii() { hash(&stemmer.stem(&word)) } else { hash(&word) })
        })
        .collect()
}

/// FNV-1a: the same everywhere and always.
fn hash(word: &str) -> Term {
    word.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ Term::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_are_one_and_small_words_are_none() {
        let is = |one: &str, other: &str| assert_eq!(terms(one), terms(other));
        is("Did you find my RINGS?", "Finding a ring!");
        is("What is it that you’re asking me? I don't know.", "asking");
        assert!(terms(" …?! ").is_empty());
        assert_eq!(terms("日本").len(), 2);
        assert_eq!(terms(&"ring ".repeat(10_000)).len(), MAX_WORDS);
    }

    #[test]
    fn stop_words_are_found() {
        assert!(STOP_WORDS.is_sorted());
        assert!(STOP_WORDS.iter().all(|word| terms(word).is_empty()));
    }

    #[test]
    fn terms_are_the_same_everywhere() {
        assert_eq!(hash(""), 0x811c_9dc5);
        assert_eq!(hash("foobar"), 0xbf9c_f968);
    }
}

//! Characters on their way to sounds.

use std::collections::VecDeque;

use crate::face::tables::Speech;

/// A sound that the mouth shows, and when it is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    pub viseme: usize,
    pub start: u64,
    /// It ends a stretch of speech: the mouth comes to rest.
    pub stop: bool,
}

/// A letter that is not a sound yet.
#[derive(Debug, Clone, Copy)]
struct Letter {
    c: char,
    start: u64,
    end: u64,
}

/// Holds the letters of the word that is being spoken until it is clear how they are spoken: one more than the longest
/// spelling. So the sounds of a text do not depend on the pieces it comes in.
#[derive(Debug, Clone, Default)]
pub struct Words {
    letters: VecDeque<Letter>,
    /// Whether the word had a vowel so far.
    vowel: bool,
    /// Reused: a spelling that is looked up.
    spelling: String,
}

impl Words {
    /// Takes a character that is spoken from `start` to `end`; what becomes clear is added to `sounds`.
    pub fn hear(&mut self, speech: &Speech, c: char, start: u64, end: u64, sounds: &mut Vec<Sound>) {
        if c.is_alphanumeric() {
            self.letters.push_back(Letter { c: speech.letter(c), start, end });
            if self.letters.len() > speech.longest {
                self.take(speech, false, sounds);
            }
            return;
        }
        // An accent that is written as a character of its own, behind its letter.
        if ('\u{300}'..='\u{36f}').contains(&c) {
            return;
        }
        self.end(speech, sounds);
        if speech.stops.contains(&c) {
            sounds.push(Sound { viseme: speech.rest, start, stop: true });
        }
    }

    /// The word is over.
    pub fn end(&mut self, speech: &Speech, sounds: &mut Vec<Sound>) {
        while !self.letters.is_empty() {
            self.take(speech, true, sounds);
        }
        self.vowel = false;
    }

    /// When the first letter starts that is not a sound yet.
    pub fn waiting(&self) -> Option<u64> {
        self.letters.front().map(|letter| letter.start)
    }

    /// Takes one spelling off the front; `whole`: the word ends with the letters that are here.
    fn take(&mut self, speech: &Speech, whole: bool, sounds: &mut Vec<Sound>) {
        let most = self.letters.len().min(speech.longest);
        let (mut taken, mut found) = (1, &speech.other);
        for count in (1..=most).rev() {
            self.spelling.clear();
            self.spelling.extend(self.letters.iter().take(count).map(|letter| letter.c));
            let ends = whole && self.vowel && count == self.letters.len();
            let ending = speech.ending(&self.spelling).filter(|_| ends);
            if let Some(spelling) = ending.or_else(|| speech.spelling(&self.spelling)) {
                (taken, found) = (count, spelling);
                break;
            }
        }
        let (Some(first), Some(last)) = (self.letters.front(), self.letters.get(taken - 1)) else { return };
        let (start, length, parts) = (first.start, last.end - first.start, found.len() as u64);
        for (i, &viseme) in found.iter().enumerate() {
            self.vowel |= speech.viseme(viseme).vowel;
            sounds.push(Sound { viseme, start: start + length * i as u64 / parts, stop: false });
        }
        self.letters.drain(..taken);
    }
}

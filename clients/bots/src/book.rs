//! Keeps account of turns: each begins once, its text joins without a gap, and it ends exactly once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::wire::{Body, Delta, Done, Frame};

/// The turns that a session hears.
#[derive(Debug, Default)]
pub struct Book {
    /// Those that run.
    lines: Vec<Line>,
    texts: Option<Arc<Texts>>,
}

/// One turn on its way.
#[derive(Debug)]
struct Line {
    player: String,
    turn: String,
    text: String,
    chars: u64,
    deltas: u32,
    cut: bool,
    first: Option<Instant>,
    last: Instant,
}

/// A turn that has ended.
#[derive(Debug)]
pub struct Ended {
    pub player: String,
    pub turn: String,
    pub reason: String,
    pub text: String,
    pub fallback: bool,
    pub deltas: u32,
    pub first: Option<Instant>,
}

/// What a frame was to the book.
#[derive(Debug)]
pub enum Entry {
    /// Nothing of a turn.
    Other,
    Began,
    /// More text, and when the text before it came.
    Grew {
        since: Option<Instant>,
    },
    Ended(Box<Ended>),
}

/// What turns said that several sessions hear: each of them must hear the same, and all of it.
#[derive(Debug, Default)]
pub struct Texts {
    by_turn: Mutex<HashMap<String, Said>>,
}

#[derive(Debug)]
struct Said {
    text: Option<String>,
    /// Sessions that are still to hear it.
    left: usize,
}

impl Texts {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Said>> {
        self.by_turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn is about to be said that so many sessions hear, the speaker's among them.
    pub fn expect(&self, player: &str, turn: &str, sessions: usize) {
        self.lock().insert(format!("{player}/{turn}"), Said { text: None, left: sessions });
    }

    /// The turn was refused: nobody hears it.
    pub fn forget(&self, player: &str, turn: &str) {
        self.lock().remove(&format!("{player}/{turn}"));
    }

    /// Turns that somebody has still to hear.
    pub fn unheard(&self) -> usize {
        self.lock().len()
    }

    fn hear(&self, player: &str, turn: &str, text: &str) -> Result<(), String> {
        let key = format!("{player}/{turn}");
        let mut turns = self.lock();
        let Some(said) = turns.get_mut(&key) else {
            return Err(format!("turn {turn} of {player} was heard by somebody who was not to hear it"));
        };
        let known = said.text.get_or_insert_with(|| text.to_owned());
        if known != text {
            return Err(format!("turn {turn} of {player}: one heard {known:?}, another {text:?}"));
        }
        said.left -= 1;
        if said.left == 0 {
            turns.remove(&key);
        }
        Ok(())
    }
}

impl Book {
    /// A book of somebody who hears turns that others hear too.
    pub fn shared(texts: Arc<Texts>) -> Self {
        Self { lines: Vec::new(), texts: Some(texts) }
    }

    /// Turns that have begun and not ended.
    pub fn open(&self) -> usize {
        self.lines.len()
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// A broken promise in words.
    pub fn take(&mut self, frame: &Frame) -> Result<Entry, String> {
        match &frame.body {
            Body::Started(started) => {
                if self.find(&started.player, &started.turn).is_ok() {
                    return Err(format!("turn {} began twice", started.turn));
                }
                let now = Instant::now();
                self.lines.push(Line {
                    player: started.player.clone(),
                    turn: started.turn.clone(),
                    text: String::new(),
                    chars: 0,
                    deltas: 0,
                    cut: false,
                    first: None,
                    last: now,
                });
                Ok(Entry::Began)
            }
            Body::Delta(delta) => self.grow(delta),
            Body::Cancelled(cancelled) => {
                // A turn that has ended may be cancelled too.
                if let Ok(at) = self.find(&cancelled.player, &cancelled.turn) {
                    self.lines[at].cut = true;
                }
                Ok(Entry::Other)
            }
            Body::Done(done) => self.end(done),
            _ => Ok(Entry::Other),
        }
    }

    fn find(&self, player: &str, turn: &str) -> Result<usize, String> {
        let at = self.lines.iter().position(|line| line.turn == turn && line.player == player);
        at.ok_or_else(|| format!("a frame of turn {turn} of {player} came, which does not run"))
    }

    fn grow(&mut self, delta: &Delta) -> Result<Entry, String> {
        let at = self.find(&delta.player, &delta.turn)?;
        let line = &mut self.lines[at];
        if line.cut {
            return Err(format!("turn {} went on after turn.cancelled", delta.turn));
        }
        if delta.offset != line.chars {
            return Err(format!(
                "turn {}: a delta at {} came after {} characters",
                delta.turn, delta.offset, line.chars
            ));
        }
        if delta.text.is_empty() {
            return Err(format!("turn {}: an empty delta came", delta.turn));
        }
        line.text.push_str(&delta.text);
        line.chars += delta.text.chars().count() as u64;
        line.deltas += 1;
        let now = Instant::now();
        let since = line.first.is_some().then_some(line.last);
        line.first.get_or_insert(now);
        line.last = now;
        Ok(Entry::Grew { since })
    }

    fn end(&mut self, done: &Done) -> Result<Entry, String> {
        let at = self.find(&done.player, &done.turn)?;
        let line = self.lines.swap_remove(at);
        let whole = match done.reason.as_str() {
            "cancelled" => line.text.starts_with(&done.text),
            _ => done.text == line.text,
        };
        if !whole {
            return Err(format!(
                "turn {}: turn.done has {:?}, but its deltas are {:?}",
                done.turn, done.text, line.text
            ));
        }
        if let Some(texts) = &self.texts {
            texts.hear(&done.player, &done.turn, &done.text)?;
        }
        Ok(Entry::Ended(Box::new(Ended {
            player: line.player,
            turn: line.turn,
            reason: done.reason.clone(),
            text: line.text,
            fallback: done.fallback,
            deltas: line.deltas,
            first: line.first,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Cancelled, Started};

    fn frame(body: Body) -> Frame {
        Frame { op: String::new(), s: None, cid: None, body }
    }

    fn started(turn: &str) -> Frame {
        frame(Body::Started(Started { turn: turn.into(), player: "p".into() }))
    }

    fn delta(turn: &str, text: &str, offset: u64) -> Frame {
        frame(Body::Delta(Delta { turn: turn.into(), player: "p".into(), text: text.into(), offset }))
    }

    fn done(turn: &str, text: &str, reason: &str) -> Frame {
        let (turn, player) = (turn.into(), "p".into());
        frame(Body::Done(Done { turn, player, reason: reason.into(), text: text.into(), fallback: false }))
    }

    /// Whether a book takes all of these frames.
    fn holds(frames: &[Frame]) -> bool {
        let mut book = Book::default();
        frames.iter().all(|frame| book.take(frame).is_ok()) && book.open() == 0
    }

    #[test]
    fn a_turn_that_keeps_the_promises_is_taken() {
        let whole = [started("1"), delta("1", "é", 0), delta("1", " a", 1), done("1", "é a", "stop")];
        assert!(holds(&whole));
        assert!(holds(&[started("1"), done("1", "", "error")]));
        assert!(holds(&[started("1"), delta("1", "abc", 0), done("1", "ab", "cancelled")]));
    }

    #[test]
    fn every_broken_promise_is_seen() {
        let begun = || started("1");
        for (what, frames) in [
            ("no start", vec![delta("1", "a", 0)]),
            ("two starts", vec![begun(), begun()]),
            ("a gap", vec![begun(), delta("1", "a", 0), delta("1", "b", 2)]),
            ("a repeat", vec![begun(), delta("1", "a", 0), delta("1", "a", 0)]),
            ("an empty delta", vec![begun(), delta("1", "", 0)]),
            ("two ends", vec![begun(), done("1", "", "stop"), done("1", "", "stop")]),
            ("more after the end", vec![begun(), done("1", "", "stop"), delta("1", "a", 0)]),
            ("another text", vec![begun(), delta("1", "a", 0), done("1", "b", "stop")]),
            ("no end", vec![begun(), delta("1", "a", 0)]),
            ("another turn's end", vec![begun(), done("2", "", "stop")]),
        ] {
            assert!(!holds(&frames), "{what}");
        }
        let cut = frame(Body::Cancelled(Cancelled { turn: "1".into(), player: "p".into() }));
        assert!(!holds(&[begun(), cut, delta("1", "a", 0)]));
    }

    #[test]
    fn listeners_must_hear_the_same() {
        let texts = Arc::new(Texts::default());
        let hear = |text: &str| {
            let mut book = Book::shared(Arc::clone(&texts));
            book.take(&started("1")).unwrap();
            book.take(&delta("1", text, 0)).unwrap();
            book.take(&done("1", text, "stop")).map(|_| ())
        };
        assert!(hear("a").is_err(), "nobody was to hear it");
        texts.expect("p", "1", 3);
        assert!(hear("a").is_ok());
        assert!(hear("b").is_err());
        assert!(hear("a").is_ok());
        assert_eq!(texts.unheard(), 1);
        assert!(hear("a").is_ok());
        assert_eq!(texts.unheard(), 0);
    }
}

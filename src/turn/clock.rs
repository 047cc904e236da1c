//! When each piece of a line is to be presented.

use std::collections::VecDeque;

/// Places text on the turn's clock at the pace of speech.
///
/// A piece starts when the one before it has been spoken, or when it was generated, whichever is later:
/// t = max(end of the last piece, now).
#[derive(Debug, Clone)]
pub struct SpeechClock {
    /// Characters per second.
    rate: f64,
    /// When everything placed so far has been spoken, in milliseconds.
    end_ms: f64,
    /// Start of each piece: offset and time. Bounded by the tokens of one answer.
    pieces: VecDeque<(u64, u64)>,
    chars: u64,
}

impl SpeechClock {
    pub fn new(rate: f32) -> Self {
        Self { rate: f64::from(rate.max(0.1)), end_ms: 0.0, pieces: VecDeque::new(), chars: 0 }
    }

    /// Characters placed so far.
    pub fn chars(&self) -> u64 {
        self.chars
    }

    /// What the pieces take in memory.
    pub fn bytes(&self) -> usize {
        self.pieces.capacity() * size_of::<(u64, u64)>()
    }

    /// Places a piece generated at `now_ms`; returns its offset and its time.
    pub fn place(&mut self, text: &str, now_ms: u64) -> (u64, u64) {
        let offset = self.chars;
        let start = self.end_ms.max(now_ms as f64);
        let chars = text.chars().count() as u64;
        self.chars += chars;
        self.end_ms = start + chars as f64 / self.rate * 1e3;
        self.pieces.push_back((offset, start as u64));
        (offset, start as u64)
    }

    /// How many characters are spoken at a time.
    pub fn spoken_at(&self, t_ms: u64) -> u64 {
        let begun = self.pieces.partition_point(|(_, start)| *start <= t_ms);
        let Some((offset, start)) = begun.checked_sub(1).map(|i| self.pieces[i]) else { return 0 };
        let end = self.pieces.get(begun).map_or(self.chars, |(next, _)| *next);
        (offset + ((t_ms - start) as f64 * self.rate / 1e3) as u64).min(end)
    }

    /// When the character before `offset` has been spoken.
    pub fn end_before(&self, offset: u64) -> u64 {
        let before = self.pieces.partition_point(|(start, _)| *start < offset);
        let Some((start, t_ms)) = before.checked_sub(1).map(|i| self.pieces[i]) else { return 0 };
        t_ms + ((offset - start) as f64 / self.rate * 1e3) as u64
    }

    /// When the character at `offset` is spoken.
    pub fn time_of(&self, offset: u64) -> u64 {
        let after = self.pieces.partition_point(|(start, _)| *start <= offset);
        let Some((start, t_ms)) = after.checked_sub(1).map(|i| self.pieces[i]) else { return 0 };
        t_ms + ((offset - start) as f64 / self.rate * 1e3) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_faster_than_speech_lies_ahead() {
        let mut clock = SpeechClock::new(10.0);
        assert_eq!(clock.place("hello", 100), (0, 100));
        assert_eq!(clock.place(" world", 120), (5, 600));
        assert_eq!(clock.place("é", 130), (11, 1200));
        assert_eq!(clock.chars(), 12);
    }

    #[test]
    fn speech_waits_for_late_text() {
        let mut clock = SpeechClock::new(10.0);
        clock.place("hi", 0);
        assert_eq!(clock.place("there", 5000), (2, 5000));
    }

    #[test]
    fn a_time_has_its_offset() {
        let mut clock = SpeechClock::new(10.0);
        assert_eq!(clock.spoken_at(1000), 0);
        clock.place("hello", 100);
        clock.place("there", 5000);
        for (t_ms, chars) in [(0, 0), (99, 0), (100, 0), (350, 2), (600, 5), (4999, 5), (5200, 7), (9000, 10)]
        {
            assert_eq!(clock.spoken_at(t_ms), chars, "{t_ms}");
        }
    }

    #[test]
    fn an_offset_has_its_time() {
        let mut clock = SpeechClock::new(10.0);
        clock.place("hello", 100);
        clock.place("there", 5000);
        assert_eq!(clock.time_of(0), 100);
        assert_eq!(clock.time_of(3), 400);
        assert_eq!([0, 3, 5, 6, 10].map(|offset| clock.end_before(offset)), [0, 400, 600, 5100, 5500]);
        assert_eq!(clock.time_of(5), 5000);
        assert_eq!(clock.time_of(10), 5500);
        assert_eq!(SpeechClock::new(10.0).time_of(3), 0);
    }
}

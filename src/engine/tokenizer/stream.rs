//! Tokens to text while they are generated.

use std::sync::Arc;

use super::pieces::Pieces;

/// Turns tokens into text as they come, whole characters only: the bytes of a character that is not complete
/// yet are held back until it is.
///
/// What all `push` and the final [`TextStream::flush`] return, joined, is the text of all tokens; bytes that
/// are no UTF-8 become U+FFFD. Never holds more than three bytes.
#[derive(Debug, Clone)]
pub struct TextStream {
    pieces: Arc<Pieces>,
    /// The beginning of a character: at most three bytes.
    held: Vec<u8>,
}

impl TextStream {
    pub(super) fn new(pieces: Arc<Pieces>) -> Self {
        Self { pieces, held: Vec::with_capacity(4) }
    }

    /// A stream in which no token has any text.
    pub(in crate::engine) fn silent() -> Self {
        Self::new(Arc::new(Pieces::new(std::iter::empty())))
    }

    /// Adds a token and returns the characters that are complete now; `None` if there are none. Marks and
    /// unknown ids add nothing.
    pub fn push(&mut self, id: u32) -> Option<String> {
        let piece = self.pieces.bytes(id);
        if piece.is_empty() {
            return None;
        }
        self.held.extend_from_slice(piece);
        let complete = self.held.len() - unfinished(&self.held);
        let text = String::from_utf8_lossy(&self.held[..complete]).into_owned();
        self.held.drain(..complete);
        (!text.is_empty()).then_some(text)
    }

    /// Ends the text: a character that never became complete is returned as U+FFFD. The stream is then as new.
    pub fn flush(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        text
    }
}

/// How many bytes at the end are the beginning of a character that more bytes could complete: 0 to 3.
fn unfinished(bytes: &[u8]) -> usize {
    let Some(last) = bytes.utf8_chunks().last() else { return 0 };
    let rest = last.invalid();
    // Bytes that no continuation can save have an error length; a cut character has none.
    let cut = std::str::from_utf8(rest).is_err_and(|e| e.error_len().is_none());
    if cut { rest.len() } else { 0 }
}

#[cfg(test)]
impl TextStream {
    /// A stream over a vocabulary whose token ids are bytes.
    pub(in crate::engine) fn of_bytes() -> Self {
        Self::new(Arc::new(Pieces::new((0..=255u8).map(|b| (u32::from(b), vec![b])))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One token for each byte (its id), one for nothing (256).
    fn byte_pieces() -> Arc<Pieces> {
        Arc::new(Pieces::new((0..=255u8).map(|b| (u32::from(b), vec![b])).chain([(256, vec![])])))
    }

    fn run(ids: impl IntoIterator<Item = u32>) -> (String, Vec<String>) {
        let mut stream = TextStream::new(byte_pieces());
        let pushed: Vec<String> = ids
            .into_iter()
            .filter_map(|id| {
                let text = stream.push(id);
                assert!(stream.held.len() <= 3);
                text
            })
            .collect();
        let tail = stream.flush();
        assert_eq!(stream.flush(), "");
        (pushed.concat() + &tail, pushed)
    }

    #[test]
    fn a_character_comes_whole_or_not_at_all() {
        let mut stream = TextStream::new(byte_pieces());
        let bytes = "é🧛".as_bytes();
        let out: Vec<Option<String>> = bytes.iter().map(|&b| stream.push(u32::from(b))).collect();
        assert_eq!(out, [None, Some("é".to_owned()), None, None, None, Some("🧛".to_owned())]);
        assert_eq!(stream.push(0xF0), None);
        assert_eq!(stream.push(256), None);
        assert_eq!(stream.push(9999), None);
        assert_eq!(stream.flush(), "\u{FFFD}");
        assert_eq!(stream.push(u32::from(b'x')).as_deref(), Some("x"));
    }

    proptest! {
        #[test]
        fn text_comes_back_byte_by_byte(text in any::<String>()) {
            let (joined, pushed) = run(text.bytes().map(u32::from));
            prop_assert_eq!(&joined, &text);
            prop_assert_eq!(pushed.len(), text.chars().count());
        }

        #[test]
        fn any_bytes_come_out_as_the_standard_library_reads_them(bytes in any::<Vec<u8>>()) {
            let (joined, _) = run(bytes.iter().map(|&b| u32::from(b)));
            prop_assert_eq!(joined, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn any_split_of_a_text_into_pieces_joins_to_it(text in any::<String>(), cuts in any::<Vec<prop::sample::Index>>()) {
            let bytes = text.as_bytes();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            ends.push(bytes.len());
            ends.sort_unstable();
            let mut start = 0;
            let pieces = ends.iter().map(|&end| bytes[std::mem::replace(&mut start, end)..end].to_vec());
            let pieces: Vec<(u32, Vec<u8>)> = (0..).zip(pieces).collect();
            let count = pieces.len() as u32;
            let mut stream = TextStream::new(Arc::new(Pieces::new(pieces.into_iter())));
            let mut joined: String = (0..count).filter_map(|id| stream.push(id)).collect();
            joined.push_str(&stream.flush());
            prop_assert_eq!(joined, text);
        }
    }
}

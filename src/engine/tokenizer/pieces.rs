//! The bytes that each token stands for.

/// Token id → bytes. One buffer for the whole vocabulary.
#[derive(Debug)]
pub(super) struct Pieces {
    bytes: Vec<u8>,
    /// Token `i` is `bytes[ends[i - 1]..ends[i]]`.
    ends: Vec<usize>,
}

impl Pieces {
    /// Ids may come in any order and have gaps, which stand for nothing; of an id that comes twice the last
    /// counts.
    pub(super) fn new(pieces: impl Iterator<Item = (u32, Vec<u8>)>) -> Self {
        let mut all: Vec<(u32, Vec<u8>)> = pieces.collect();
        all.sort_by_key(|(id, _)| *id);
        let mut result = Self { bytes: Vec::new(), ends: Vec::new() };
        for (id, bytes) in all {
            let id = id as usize;
            if id < result.ends.len() {
                // The sort keeps the order of equal ids, so this is the last token again.
                result.ends.truncate(id);
                result.bytes.truncate(result.ends.last().copied().unwrap_or(0));
            }
            result.ends.resize(id, result.bytes.len());
            result.bytes.extend_from_slice(&bytes);
            result.ends.push(result.bytes.len());
        }
        result
    }

    /// The largest id plus one.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a token; none for an id that there is not.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start..end]
    }
}

/// How a vocabulary spells bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// One printable character for each byte (GPT-2).
    ByteLevel,
    /// Plain characters, `▁` for a space, `<0x0A>` for a byte that has no token (SentencePiece).
    Metaspace,
}

impl Spelling {
    /// The bytes of a vocabulary entry.
    pub(super) fn bytes(self, entry: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel => {
                let bytes: Option<Vec<u8>> = entry.chars().map(byte_of).collect();
                bytes.unwrap_or_else(|| entry.as_bytes().to_vec())
            }
            Self::Metaspace => match named_byte(entry) {
                Some(byte) => vec![byte],
                None => entry.replace('▁', " ").into_bytes(),
            },
        }
    }
}

/// `<0x0A>` → 10.
pub(super) fn named_byte(entry: &str) -> Option<u8> {
    let hex = entry.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_byte = hex.len() == 2 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_byte.then(|| u8::from_str_radix(hex, 16).ok()).flatten()
}

/// The byte that a character stands for in a byte-level vocabulary: printable Latin-1 stands for itself, the
/// other 68 bytes stand in order behind U+0100.
fn byte_of(c: char) -> Option<u8> {
    const OTHERS: [(u8, u8); 3] = [(0x00, 0x20), (0x7F, 0xA0), (0xAD, 0xAD)];
    let code = u32::from(c);
    if let Ok(byte) = u8::try_from(code) {
        let shifted = OTHERS.iter().any(|&(low, high)| (low..=high).contains(&byte));
        return (!shifted).then_some(byte);
    }
    let mut index = code - 0x100;
    for (low, high) in OTHERS {
        let count = u32::from(high - low) + 1;
        if index < count {
            return Some(low + index as u8);
        }
        index -= count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_have_gaps_and_come_twice() {
        let list = [(3, b"c".to_vec()), (0, b"aa".to_vec()), (3, b"dd".to_vec()), (5, vec![])];
        let pieces = Pieces::new(list.into_iter());
        let all: Vec<&[u8]> = (0..8).map(|id| pieces.bytes(id)).collect();
        assert_eq!(all, [b"aa" as &[u8], b"", b"", b"dd", b"", b"", b"", b""]);
        assert_eq!(pieces.len(), 6);
    }

    #[test]
    fn byte_level_characters_cover_every_byte_once() {
        let mut bytes: Vec<u8> = (0..0x200).filter_map(char::from_u32).filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(Spelling::ByteLevel.bytes("ĠhÃ©Ċ"), " hé\n".as_bytes());
        assert_eq!(Spelling::ByteLevel.bytes("a b"), b"a b", "an entry that is no byte-level text is itself");
    }

    #[test]
    fn sentencepiece_entries() {
        assert_eq!(Spelling::Metaspace.bytes("▁the"), b" the");
        assert_eq!(Spelling::Metaspace.bytes("<0xF0>"), [0xF0]);
        for not_a_byte in ["<0xF>", "<0x+1>", "<0xGG>", "0x0A", "<0x0A"] {
            assert_eq!(Spelling::Metaspace.bytes(not_a_byte), not_a_byte.as_bytes());
        }
    }
}

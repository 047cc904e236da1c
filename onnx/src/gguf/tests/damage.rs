//! Files that lie about their lengths.

use std::fs;

use proptest::prelude::*;

use crate::error::Refusal;
use crate::gguf::Header;
use crate::testing::Draft;
use crate::{Checkpoint, ImportError};

/// The head of a file by hand.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn head(version: u32, tensors: u64, keys: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(version).u64(tensors).u64(keys)
    }

    fn u32(mut self, n: u32) -> Self {
        self.0.extend(n.to_le_bytes());
        self
    }

    fn u64(mut self, n: u64) -> Self {
        self.0.extend(n.to_le_bytes());
        self
    }

    fn text(mut self, text: &str) -> Self {
        self = self.u64(text.len() as u64);
        self.0.extend(text.as_bytes());
        self
    }
}

#[track_caller]
fn is_invalid(bytes: &Bytes, expected: &str) {
    match Header::parse(&bytes.0) {
        Err(Refusal::Invalid(reason)) if reason.contains(expected) => {}
        other => panic!("not invalid with `{expected}`: {other:?}"),
    }
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;
const F32: u32 = 0;

#[test]
fn counts_and_lengths_beyond_the_file() {
    let huge = 1 << 60;
    is_invalid(&Bytes::head(3, huge, 0), "number of tensors: 1152921504606846976");
    is_invalid(&Bytes::head(3, 0, huge), "number of metadata keys: 1152921504606846976");
    is_invalid(&Bytes::head(3, 60_000, 0), "name of tensor 0: the file ends there");
    is_invalid(&Bytes::head(3, 0, 60_000), "metadata key 0: the file ends there");
    is_invalid(&Bytes::head(3, 0, 1).u64(huge), "metadata key 0: 1152921504606846976 bytes long");
    is_invalid(
        &Bytes::head(3, 0, 1).text("k").u32(TEXT).u64(huge),
        "metadata `k`: 1152921504606846976 bytes",
    );
    is_invalid(
        &Bytes::head(3, 0, 1).text("k").u32(TEXT).u64(9),
        "metadata `k`: the file ends there: 9 bytes",
    );
    for element in [0, 4, 7, 8, 12] {
        for len in [5, huge, u64::MAX] {
            let array = Bytes::head(3, 0, 1).text("k").u32(ARRAY).u32(element).u64(len);
            is_invalid(&array, "metadata `k`: the file ends there");
        }
    }
    is_invalid(&Bytes::head(3, 0, 1).text("k").u32(ARRAY).u32(ARRAY).u64(1), "array of arrays");
    is_invalid(&Bytes::head(3, 0, 1).text("k").u32(13), "value type 13 does not exist");
}

#[test]
fn tensors_beyond_the_file() {
    let tensor = |dims: &[u64], offset: u64| {
        let mut bytes = Bytes::head(3, 1, 0).text("t").u32(dims.len() as u32);
        for &dim in dims {
            bytes = bytes.u64(dim);
        }
        bytes = bytes.u32(F32).u64(offset);
        bytes.0.resize(bytes.0.len().next_multiple_of(32) + 64, 0);
        bytes
    };
    assert!(Header::parse(&tensor(&[16], 0).0).is_ok());
    is_invalid(&tensor(&[17], 0), "tensor `t`: 68 bytes at offset 0 reach past the end");
    is_invalid(&tensor(&[16], 32), "reach past the end");
    is_invalid(&tensor(&[16], u64::MAX - 31), "reach past the end");
    is_invalid(&tensor(&[16], 4), "offset 4 is no multiple of 32");
    is_invalid(&tensor(&[0], 0), "a dimension is zero");
    is_invalid(&tensor(&[1 << 40, 1 << 40], 0), "does not fit");
    is_invalid(&tensor(&[1; 5], 0), "5 dimensions");
}

#[test]
fn doubles() {
    let key = |bytes: Bytes| bytes.text("k").u32(4).u32(7);
    is_invalid(&key(key(Bytes::head(2, 0, 2))), "metadata `k` is there twice");
    let tensor = |bytes: Bytes| bytes.text("t").u32(1).u64(1).u32(F32).u64(0);
    let mut two = tensor(tensor(Bytes::head(2, 2, 0)));
    two.0.resize(two.0.len() + 64, 0);
    is_invalid(&two, "tensor `t` is there twice");
}

#[test]
fn other_versions() {
    let refusal = |bytes: &Bytes| Header::parse(&bytes.0).unwrap_err();
    let reason = "GGUF version 1; versions 2 and 3 are read";
    assert_eq!(refusal(&Bytes::head(1, 0, 0)), Refusal::Unsupported(reason.into()));
    assert!(matches!(refusal(&Bytes::head(4, 0, 0)), Refusal::Unsupported(_)));
    let big_endian = refusal(&Bytes::head(3_u32.swap_bytes(), 0, 0));
    assert!(matches!(big_endian, Refusal::Unsupported(reason) if reason.contains("big-endian")));
    assert!(Header::parse(&Bytes::head(2, 0, 0).0).is_ok());
    assert!(Header::parse(&Bytes::head(3, 0, 0).0).is_ok());
}

#[test]
fn a_file_cut_short_anywhere() {
    let whole = Draft::new().bytes();
    // candle pads after the last tensor; cutting into the padding takes nothing away.
    let last = Header::parse(&whole).unwrap().tensors.values().map(|t| t.bytes.end).max().unwrap();
    for len in (0..last).step_by(7).chain([last - 1]) {
        assert!(matches!(Header::parse(&whole[..len]), Err(Refusal::Invalid(_))), "{len} of {last} bytes");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, &whole[..last - 1]).unwrap();
    let cut = Checkpoint::open(file.path());
    assert!(
        matches!(&cut, Err(ImportError::Invalid { reason, .. }) if reason.contains("is the file whole?"))
    );
}

/// Opens a file and uses everything that it offers.
fn use_up(bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, bytes).unwrap();
    let Ok(checkpoint) = Checkpoint::open(file.path()) else { return };
    for name in checkpoint.source.names() {
        let tensor = checkpoint.tensor(&name).unwrap();
        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len());
    }
    let _ = checkpoint.tokenizer_json();
}

proptest! {
    /// Changed bytes give another checkpoint or an error, never a panic or a read outside of the file.
    #[test]
    fn changed_bytes(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = Draft::new().bytes();
        // Metadata and tensor table take the first part of the file: that is where changes matter.
        let head = Header::parse(&bytes).unwrap().tensors.values().map(|t| t.bytes.start).min().unwrap();
        for (at, byte) in changes {
            bytes[at.index(head)] = byte;
        }
        use_up(&bytes);
    }

    /// As above, with whole numbers replaced by ones that are easily mishandled.
    #[test]
    fn changed_numbers(at in any::<prop::sample::Index>(), wide in any::<bool>(), which in 0..6_usize) {
        let mut bytes = Draft::new().bytes();
        let head = Header::parse(&bytes).unwrap().tensors.values().map(|t| t.bytes.start).min().unwrap();
        let number = [0, 1, u64::MAX, 1 << 32, i64::MAX as u64, 1 << 20][which].to_le_bytes();
        let at = at.index(head - 8);
        let number = &number[..if wide { 8 } else { 4 }];
        bytes[at..at + number.len()].copy_from_slice(number);
        use_up(&bytes);
    }

    #[test]
    fn any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..300), version in 2..4_u8) {
        let start = [b'G', b'G', b'U', b'F', version, 0, 0, 0];
        if bytes.len() >= 24 {
            bytes[..8].copy_from_slice(&start);
            // Small counts, so that the reading goes on.
            bytes[9..16].fill(0);
            bytes[17..24].fill(0);
        }
        if let Ok(header) = Header::parse(&bytes) {
            prop_assert!(header.tensors.values().all(|tensor| tensor.bytes.end <= bytes.len()));
        }
    }
}

//! Against candle's own decoders, on blocks that candle quantized and on blocks of random bytes.

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use proptest::prelude::*;

use super::{ElementType, dequantize_rows};

fn candle_type(element: ElementType) -> GgmlDType {
    match element {
        ElementType::F32 => GgmlDType::F32,
        ElementType::F16 => GgmlDType::F16,
        ElementType::BF16 => GgmlDType::BF16,
        ElementType::Q4_0 => GgmlDType::Q4_0,
        ElementType::Q4_1 => GgmlDType::Q4_1,
        ElementType::Q5_0 => GgmlDType::Q5_0,
        ElementType::Q5_1 => GgmlDType::Q5_1,
        ElementType::Q8_0 => GgmlDType::Q8_0,
        ElementType::Q4K => GgmlDType::Q4K,
        ElementType::Q5K => GgmlDType::Q5K,
        ElementType::Q6K => GgmlDType::Q6K,
    }
}

#[track_caller]
fn assert_close(element: ElementType, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{element:?}");
    // Differences of two products (scale·q − min) may cancel: compare to the size of the block's numbers.
    for (block, (ours, theirs)) in ours.chunks(256).zip(theirs.chunks(256)).enumerate() {
        let largest = theirs.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
            let limit = 1e-6 * largest + f32::MIN_POSITIVE;
            assert!((a - b).abs() <= limit, "{element:?} block {block} element {i}: {a} for {b}");
        }
    }
}

#[test]
fn ids_and_block_sizes_are_candles() {
    for element in ElementType::ALL {
        let theirs = candle_type(element);
        assert_eq!(element.block_elements(), theirs.block_size(), "{element:?}");
        assert_eq!(element.block_bytes(), theirs.type_size(), "{element:?}");
    }
    let known: Vec<ElementType> = (0..64).filter_map(ElementType::from_gguf).collect();
    assert_eq!(known.len(), ElementType::ALL.len());
    for (id, element) in (0..64).filter_map(|id| Some((id, ElementType::from_gguf(id)?))) {
        assert_eq!(super::unsupported_gguf_name(id), format!("number {id}"), "{element:?}");
    }
}

#[test]
fn decodes_what_candle_quantized() {
    let (rows, columns) = (24, 512);
    let source = Tensor::randn(0.0_f32, 0.7, (rows, columns), &Device::Cpu).unwrap();
    for element in ElementType::ALL {
        let quantized = QTensor::quantize(&source, candle_type(element)).unwrap();
        let bytes = quantized.data().unwrap();
        assert_eq!(element.byte_len(&[rows, columns]), Some(bytes.len()), "{element:?}");
        let ours = dequantize_rows(element, &bytes, rows, columns, |r| r);
        let theirs = quantized.dequantize(&Device::Cpu).unwrap();
        assert_close(element, &ours, &theirs.flatten_all().unwrap().to_vec1().unwrap());
    }
}

#[test]
fn reorders_rows() {
    let (rows, columns) = (300, 256);
    let source = Tensor::randn(0.0_f32, 1.0, (rows, columns), &Device::Cpu).unwrap();
    let quantized = QTensor::quantize(&source, GgmlDType::Q5K).unwrap();
    let bytes = quantized.data().unwrap();
    let plain = dequantize_rows(ElementType::Q5K, &bytes, rows, columns, |r| r);
    let reversed = dequantize_rows(ElementType::Q5K, &bytes, rows, columns, |r| rows - 1 - r);
    for r in 0..rows {
        assert_eq!(plain[r * columns..][..columns], reversed[(rows - 1 - r) * columns..][..columns]);
    }
}

#[test]
fn byte_len_refuses_part_blocks_and_overflow() {
    assert_eq!(ElementType::Q4_0.byte_len(&[2, 33]), None);
    assert_eq!(ElementType::Q4_0.byte_len(&[]), None);
    assert_eq!(ElementType::F32.byte_len(&[]), Some(4));
    assert_eq!(ElementType::F32.byte_len(&[usize::MAX / 2, 3]), None);
    assert_eq!(ElementType::F32.byte_len(&[usize::MAX / 2]), None);
}

proptest! {
    /// Any bytes are a block; every bit must count as it does for candle.
    #[test]
    fn decodes_any_block(which in 0..ElementType::ALL.len(), seed in prop::collection::vec(any::<u8>(), 420)) {
        let element = ElementType::ALL[which];
        let blocks = 420 / element.block_bytes();
        let mut bytes = seed[..blocks * element.block_bytes()].to_vec();
        // Keep the half-precision scales finite: the top exponent bit off.
        let scale_ends: &[usize] = match element {
            ElementType::F32 => &[3],
            ElementType::F16 | ElementType::BF16 | ElementType::Q4_0 | ElementType::Q5_0 | ElementType::Q8_0 => &[1],
            ElementType::Q4_1 | ElementType::Q5_1 | ElementType::Q4K | ElementType::Q5K => &[1, 3],
            ElementType::Q6K => &[209],
        };
        for block in bytes.chunks_exact_mut(element.block_bytes()) {
            for &end in scale_ends {
                block[end] &= 0xbf;
            }
        }
        let elements = blocks * element.block_elements();
        let ours = dequantize_rows(element, &bytes, 1, elements, |r| r);
        let storage = QStorage::from_data(bytes.into(), &Device::Cpu, candle_type(element)).unwrap();
        let theirs = QTensor::new(storage, elements).unwrap().dequantize(&Device::Cpu).unwrap();
        assert_close(element, &ours, &theirs.to_vec1().unwrap());
    }
}

//! How a GGUF file says that its rotary frequencies are scaled for long contexts.

use std::f64::consts::TAU;

use super::Value;
use super::config::Settings;
use crate::checkpoint::{Llama3Rope, RopeScaling};
use crate::error::Refusal;

/// Largest relative difference between a stored frequency factor and the one of the formula. The stored ones
/// are rounded to f32.
const TOLERANCE: f64 = 1e-4;

/// The contexts that Llama 3 models may have been trained with before they were scaled, in tokens.
const ORIGINAL_CONTEXTS: [usize; 6] = [2048, 4096, 8192, 16_384, 32_768, 65_536];

/// The scaling of a file, which says it in settings (`llama.rope.scaling.*`) or, for Llama 3, as a tensor of
/// factors for the frequencies.
pub(super) fn scaling(
    settings: &Settings,
    rope_freqs: Option<&[f32]>,
    theta: f64,
    head_dim: usize,
) -> Result<Option<RopeScaling>, Refusal> {
    let from_settings = scaling_of_settings(settings)?;
    let from_tensor = match rope_freqs {
        None => None,
        Some(factors) => scaling_of_factors(factors, theta, head_dim)?,
    };
    match (from_settings, from_tensor) {
        (Some(_), Some(_)) => Refusal::unsupported(
            "both `llama.rope.scaling` and `rope_freqs.weight` scale the rotary frequencies",
        ),
        (one, other) => Ok(one.or(other)),
    }
}

fn scaling_of_settings(settings: &Settings) -> Result<Option<RopeScaling>, Refusal> {
    let factor = match settings.float("rope.scaling.factor")? {
        Some(factor) => Some(factor),
        // The key's name in older files.
        None => settings.float("rope.scale_linear")?,
    };
    let kind = match settings.get("rope.scaling.type").map(Value::as_text) {
        None => "linear",
        Some(Some(kind)) => kind,
        Some(None) => return Refusal::invalid("metadata `llama.rope.scaling.type`: a text was expected"),
    };
    match (kind, factor) {
        ("none", _) | ("linear", None) => Ok(None),
        // llama.cpp takes 0 for "not scaled".
        ("linear", Some(factor)) if [0.0, 1.0].contains(&factor) => Ok(None),
        ("linear", Some(factor)) => Ok(Some(RopeScaling::Linear { factor: factor as f32 })),
        (kind, _) => Refusal::unsupported(format!(
            "metadata `llama.rope.scaling.type` is `{kind}`; `none` and `linear` can be exported"
        )),
    }
}

/// Recognizes factors that divide the rotary frequencies. Llama 3's are made from four numbers, which the file
/// no longer has: they are found by trying, and factors that no formula makes are refused.
fn scaling_of_factors(factors: &[f32], theta: f64, head_dim: usize) -> Result<Option<RopeScaling>, Refusal> {
    if factors.len() != head_dim / 2 {
        return Refusal::invalid(format!(
            "tensor `rope_freqs.weight` has {} numbers; heads of {head_dim} ask for {}",
            factors.len(),
            head_dim / 2
        ));
    }
    let largest = factors.iter().fold(0.0_f32, |m, &x| m.max(x));
    let close = |stored: f32, computed: f64| (f64::from(stored) - computed).abs() <= TOLERANCE * computed;
    if factors.iter().all(|&x| close(x, 1.0)) {
        return Ok(None);
    }
    if factors.iter().all(|&x| close(x, f64::from(largest))) {
        return Ok(Some(RopeScaling::Linear { factor: largest }));
    }
    for original_max_position in ORIGINAL_CONTEXTS {
        // Every model so far has 1 and 4.
        let rope = Llama3Rope {
            factor: largest,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position,
        };
        if factors.iter().enumerate().all(|(i, &x)| close(x, llama3_factor(rope, theta, head_dim, i))) {
            return Ok(Some(RopeScaling::Llama3(rope)));
        }
    }
    Refusal::unsupported(
        "tensor `rope_freqs.weight` holds factors that Llama 3's formula does not make; they cannot be exported",
    )
}

/// What Llama 3 divides rotary frequency `i` of a head by: 1 where its wave is short, `factor` where it is
/// long, and a blend in between.
fn llama3_factor(rope: Llama3Rope, theta: f64, head_dim: usize, i: usize) -> f64 {
    let wavelength = TAU * theta.powf(2.0 * i as f64 / head_dim as f64);
    let waves = rope.original_max_position as f64 / wavelength;
    let (low, high) = (f64::from(rope.low_freq_factor), f64::from(rope.high_freq_factor));
    let smooth = ((waves - low) / (high - low)).clamp(0.0, 1.0);
    1.0 / ((1.0 - smooth) / f64::from(rope.factor) + smooth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(rope: Llama3Rope, theta: f64, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2).map(|i| llama3_factor(rope, theta, head_dim, i) as f32).collect()
    }

    #[test]
    fn finds_the_numbers_of_llama_3() {
        // Llama 3.2 1B (heads of 64, factor 32) and Llama 3.1 8B (heads of 128, factor 8).
        for (head_dim, factor) in [(64, 32.0), (128, 8.0)] {
            let rope = Llama3Rope {
                factor,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_position: 8192,
            };
            let stored = factors(rope, 500_000.0, head_dim);
            assert!((stored[0] - 1.0).abs() < 1e-6 && (stored[head_dim / 2 - 1] - factor).abs() < 1e-4);
            assert_eq!(scaling_of_factors(&stored, 500_000.0, head_dim), Ok(Some(RopeScaling::Llama3(rope))));
        }
    }

    #[test]
    fn refuses_factors_of_another_formula() {
        let rope = Llama3Rope {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position: 8192,
        };
        let mut stored = factors(rope, 500_000.0, 64);
        stored[20] *= 1.01;
        assert!(matches!(scaling_of_factors(&stored, 500_000.0, 64), Err(Refusal::Unsupported(_))));
        assert!(matches!(scaling_of_factors(&stored[1..], 500_000.0, 64), Err(Refusal::Invalid(_))));
        stored.fill(f32::NAN);
        assert!(scaling_of_factors(&stored, 500_000.0, 64).is_err());
    }

    #[test]
    fn equal_factors_are_linear() {
        assert_eq!(scaling_of_factors(&[1.0; 32], 10_000.0, 64), Ok(None));
        assert_eq!(
            scaling_of_factors(&[4.0; 32], 10_000.0, 64),
            Ok(Some(RopeScaling::Linear { factor: 4.0 }))
        );
    }
}

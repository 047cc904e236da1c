//! The rotary embedding's tables, with the checkpoint's change of frequencies for long contexts applied.

use std::f64::consts::TAU;

use crate::{ModelConfig, RopeScaling};

/// Cosines and sines, `[max_position, head_dim / 2]` each, row-major.
#[derive(Debug)]
pub struct RopeTables {
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
}

impl RopeTables {
    /// The tables for every position that the model was trained for. Computed in 64 bits: at position
    /// 100,000 a 32-bit product would already be off by a hundredth of a turn.
    pub fn new(config: &ModelConfig) -> Self {
        let frequencies = frequencies(config);
        let size = config.max_position * frequencies.len();
        let (mut cos, mut sin) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for position in 0..config.max_position {
            for frequency in &frequencies {
                let angle = position as f64 * frequency;
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
        Self { cos, sin }
    }
}

/// Radians per position of each pair of a head's numbers.
fn frequencies(config: &ModelConfig) -> Vec<f64> {
    let theta = f64::from(config.rope_theta);
    let plain = (0..config.head_dim / 2).map(|i| theta.powf(-((2 * i) as f64) / config.head_dim as f64));
    match config.rope_scaling {
        None => plain.collect(),
        Some(RopeScaling::Linear { factor }) => plain.map(|f| f / f64::from(factor)).collect(),
        Some(RopeScaling::Llama3(scaling)) => {
            let (low, high) = (f64::from(scaling.low_freq_factor), f64::from(scaling.high_freq_factor));
            let factor = f64::from(scaling.factor);
            let context = scaling.original_max_position as f64;
            plain
                .map(|f| {
                    // Turns over the original context: many turns stay as they are, few are slowed by the
                    // whole factor, and between the two bounds the slowing fades in.
                    let turns = context * f / TAU;
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    f * (kept + (1.0 - kept) / factor)
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RopeTables, frequencies};
    use crate::{Architecture, Llama3Rope, ModelConfig, RopeScaling};

    fn config(rope_scaling: Option<RopeScaling>) -> ModelConfig {
        ModelConfig {
            architecture: Architecture::Llama,
            vocab_size: 32,
            hidden_size: 64,
            intermediate_size: 64,
            layers: 1,
            heads: 1,
            kv_heads: 1,
            head_dim: 64,
            max_position: 16,
            rms_norm_eps: 1e-5,
            rope_theta: 500_000.0,
            rope_scaling,
            sliding_window: None,
            tie_word_embeddings: true,
            bos_token: None,
            eos_tokens: vec![],
        }
    }

    #[test]
    fn tables_hold_each_position_and_pair() {
        let tables = RopeTables::new(&config(None));
        assert_eq!((tables.cos.len(), tables.sin.len()), (16 * 32, 16 * 32));
        assert!((tables.sin[3 * 32] - 3.0_f32.sin()).abs() < 1e-6);
        let last = 500_000.0_f64.powf(-62.0 / 64.0);
        assert!((f64::from(tables.cos[15 * 32 + 31]) - (15.0 * last).cos()).abs() < 1e-6);
    }

    #[test]
    fn linear_scaling_divides_positions() {
        let plain = frequencies(&config(None));
        let scaled = frequencies(&config(Some(RopeScaling::Linear { factor: 4.0 })));
        assert!(plain.iter().zip(&scaled).all(|(p, s)| (p / s - 4.0).abs() < 1e-6));
    }

    /// Values from the published formula: wavelength below `context / high` untouched, above
    /// `context / low` divided, in between interpolated.
    #[test]
    fn llama3_scaling_keeps_high_and_divides_low_frequencies() {
        let rope = Llama3Rope {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position: 8192,
        };
        let plain = frequencies(&config(None));
        let scaled = frequencies(&config(Some(RopeScaling::Llama3(rope))));
        for (p, s) in plain.iter().zip(&scaled) {
            let wavelength = std::f64::consts::TAU / p;
            let smooth = (8192.0 / wavelength - 1.0) / 3.0;
            let expected = if wavelength < 2048.0 {
                *p
            } else if wavelength > 8192.0 {
                p / 8.0
            } else {
                (1.0 - smooth) * p / 8.0 + smooth * p
            };
            assert!((s - expected).abs() <= 1e-12 * expected, "{p}: {s} is not {expected}");
        }
        assert!((plain[0] - scaled[0]).abs() < 1e-12);
        assert!((plain[31] / scaled[31] - 8.0).abs() < 1e-9);
    }
}

//! A tiny base of random numbers.

use candle_core::{Device, Tensor};
use npc_onnx::{Architecture, ModelConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::base::{Layer, Linear};
use crate::ops::Frozen;
use crate::{Base, Example, Lora, LoraConfig};

pub(crate) const THETA: f32 = 10_000.0;

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// 3 layers, 4 heads that share 2 pairs of keys and values, a vocabulary of 40.
pub(crate) fn base() -> Base {
    let config = ModelConfig {
        architecture: Architecture::Llama,
        vocab_size: 40,
        hidden_size: 32,
        intermediate_size: 48,
        layers: 3,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        max_position: 64,
        rms_norm_eps: 1e-5,
        rope_theta: THETA,
        rope_scaling: None,
        sliding_window: None,
        tie_word_embeddings: true,
        bos_token: None,
        eos_tokens: vec![1],
    };
    let mut rng = rng(7);
    let mut random = |shape: &[usize], around: f32, by: f32| {
        let values = (0..shape.iter().product()).map(|_| around + rng.random_range(-by..by)).collect();
        Tensor::from_vec::<_, f32>(values, shape, &Device::Cpu).unwrap()
    };
    let embedding = random(&[40, 32], 0.0, 1.0);
    let layers = (0..3)
        .map(|_| Layer {
            input_norm: random(&[32], 1.0, 0.2),
            linears: [(32, 32), (16, 32), (16, 32), (32, 32), (48, 32), (48, 32), (32, 48)]
                .map(|(outputs, inputs)| Linear {
                    weight: Frozen::new(random(&[outputs, inputs], 0.0, 0.35)),
                    bias: None,
                })
                .into(),
            head_norms: None,
            post_norm: random(&[32], 1.0, 0.2),
        })
        .collect();
    let final_norm = random(&[32], 1.0, 0.2);
    let angles: Vec<f32> =
        (0..64 * 4).map(|at| (at / 4) as f32 * THETA.powf(-2.0 * (at % 4) as f32 / 8.0)).collect();
    let table = |of: fn(f32) -> f32| {
        Tensor::from_vec(angles.iter().map(|angle| of(*angle)).collect::<Vec<_>>(), (64, 4), &Device::Cpu)
            .unwrap()
    };
    let (cos, sin) = (table(f32::cos), table(f32::sin));
    let (name, sha256) = ("Tiny".to_owned(), "0".repeat(64));
    let head = Frozen::new(embedding.clone());
    Base { config, name, sha256, device: Device::Cpu, embedding, layers, final_norm, head, cos, sin }
}

/// An adapter of all projections whose both factors are random.
pub(crate) fn lora(base: &Base, first_layer: usize, seed: u64) -> Lora {
    let config = LoraConfig { rank: 3, alpha: 6.0, first_layer, ..LoraConfig::for_base(base) };
    let mut rng = rng(seed);
    let lora = Lora::new(base, config, &mut rng).unwrap();
    for var in lora.vars() {
        let values: Vec<f32> = (0..var.elem_count()).map(|_| rng.random_range(-0.2..0.2)).collect();
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
    lora
}

/// Examples of random tokens: those of a group begin alike.
pub(crate) fn examples(count: usize, groups: usize, seed: u64) -> Vec<Example> {
    let mut rng = rng(seed);
    let mut token = |_: usize| rng.random_range(2..40_u32);
    let begins: Vec<Vec<u32>> = (0..groups).map(|_| (0..6).map(&mut token).collect()).collect();
    (0..count)
        .map(|at| {
            let group = at % groups;
            let prompt: Vec<u32> =
                begins[group].iter().copied().chain((0..=at % 3).map(&mut token)).collect();
            let answer: Vec<u32> = (0..2 + at % 4).map(&mut token).chain([1]).collect();
            Example::answer(&prompt, &answer, group)
        })
        .collect()
}

//! Numbers from a seed, the same on every machine: ChaCha20, and no arithmetic but what IEEE 754 fixes.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// What is drawn for one purpose. Purposes know nothing of each other: a new one changes nothing that was there.
#[derive(Debug)]
pub(super) struct Source(ChaCha20Rng);

impl Source {
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut stream = [0; 8];
        stream.copy_from_slice(&Sha256::digest(purpose)[..8]);
        let mut rng = ChaCha20Rng::from_seed(key);
        rng.set_stream(u64::from_le_bytes(stream));
        Self(rng)
    }

    /// Above 0 and below 1, each alike.
    pub fn unit(&mut self) -> f64 {
        (f64::from(self.0.next_u32()) + 0.5) / 4_294_967_296.0
    }

    /// Mean 0, variance 1, between −3 and 3, nearly normal: the sum of three numbers from −1 to 1.
    pub fn bell(&mut self) -> f64 {
        (0..3).map(|_| 2.0 * self.unit() - 1.0).sum()
    }

    /// From `least` to `most`, mostly near the middle.
    pub fn within(&mut self, least: f64, most: f64) -> f64 {
        let at = (self.bell() + 3.0) / 6.0;
        (least + (most - least) * at).clamp(least, most)
    }

    /// A whole number from `least` to `most`, each alike.
    pub fn count(&mut self, least: f64, most: f64) -> usize {
        (least + (most - least + 1.0) * self.unit()) as usize
    }

    /// One of them; there must be one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[((from.len() as f64 * self.unit()) as usize).min(from.len() - 1)]
    }
}

/// To three digits, so that it is short to write.
pub(super) fn rounded(value: f64) -> f32 {
    // One division at the end: the shortest decimal comes out.
    (libm::round(value * 1000.0) / 1000.0) as f32
}

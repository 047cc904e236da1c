//! Text to measure with: random words, so that nothing of a prompt was computed before.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

const WORDS: [&str; 24] = [
    "king", "river", "sword", "tavern", "winter", "market", "bread", "horse", "tower", "shadow", "garden",
    "merchant", "silver", "forest", "road", "bridge", "captain", "story", "song", "debt", "harvest", "storm",
    "lantern", "iron",
];

/// Eight random characters: a name or an id that begins like no other.
pub fn mark(rng: &mut ChaCha8Rng) -> String {
    format!("{:08x}", rng.random::<u32>())
}

/// Adds `count` random words to `text`. As many words are nearly as many tokens every time.
pub fn extend(text: &mut String, count: usize, rng: &mut ChaCha8Rng) {
    for at in 0..count {
        text.push_str(if at % 3 == 0 { " the " } else { " " });
        text.push_str(WORDS.choose(rng).copied().unwrap_or("king"));
    }
}

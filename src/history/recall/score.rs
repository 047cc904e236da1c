//! What comes to mind first.
//!
//! A memory's score is relevance × importance × recency. Sums and products of floats are the same on every machine, and
//! so is `libm`'s logarithm; of two with the same score the newer one comes first.

use std::sync::Arc;

use super::Line;
use super::index::{Held, Index};
use super::terms::{Term, terms};
use crate::history::memory::Memory;
use crate::history::record::Kind;

/// Memories that are given at most.
const MAX_FOUND: usize = 16;
/// Different words of a line that are looked for.
const MAX_TERMS: usize = 64;

/// Okapi BM25's usual parameters.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// What counts for words in something that comes to mind without any.
const BY_ITSELF: f64 = 0.25;
/// A memory of this age counts half as much as a new one.
const HALF_MS: f64 = 7.0 * 24.0 * 3600.0 * 1000.0;

/// The words of a line, sorted, each once.
pub fn query(text: &str) -> Vec<Term> {
    let mut query = terms(text);
    query.sort_unstable();
    query.dedup();
    query.truncate(MAX_TERMS);
    query
}

/// The memories of some places with the highest scores, the highest first.
pub fn best(indexes: &[&Index], query: &[Term], line: &Line) -> Vec<Arc<Memory>> {
    let memories: usize = indexes.iter().map(|index| index.len()).sum();
    let words: u64 = indexes.iter().map(|index| index.words()).sum();
    if memories == 0 {
        return Vec::new();
    }
    let average = (words as f64 / memories as f64).max(1.0);
    let mut relevance: Vec<Vec<f64>> = indexes.iter().map(|index| vec![0.0; index.slots().len()]).collect();
    for term in query {
        let postings: Vec<_> = indexes.iter().map(|index| index.postings(*term)).collect();
        let with: usize = postings.iter().map(|found| found.len()).sum();
        let rarity = libm::log(1.0 + (memories as f64 - with as f64 + 0.5) / (with as f64 + 0.5));
        for ((index, found), relevance) in indexes.iter().zip(postings).zip(&mut relevance) {
            for posting in found {
                let slot = usize::from(posting.slot);
                let Some(held) = &index.slots()[slot] else { continue };
                let count = f64::from(posting.count);
                let length = f64::from(held.words) / average;
                relevance[slot] += rarity * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length));
            }
        }
    }
    let mut found: Vec<(f64, &Held)> = Vec::new();
    for (index, relevance) in indexes.iter().zip(&relevance) {
        for (slot, relevance) in index.slots().iter().zip(relevance) {
            let Some(held) = slot else { continue };
            let relevance = if held.unforgettable { relevance.max(BY_ITSELF) } else { *relevance };
            if relevance > 0.0 && line.allows(&held.memory) {
                found.push((relevance * weight(&held.memory, line.now_ms), held));
            }
        }
    }
    found.sort_unstable_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| other.id.cmp(&one.id)));
    found.into_iter().take(MAX_FOUND).map(|(_, held)| Arc::clone(&held.memory)).collect()
}

/// Importance × recency.
fn weight(memory: &Memory, now_ms: u64) -> f64 {
    let usual = match memory.kind {
        Kind::Injury => 0.9,
        Kind::Gift => 0.7,
        Kind::Event => 0.6,
        Kind::Dialogue | Kind::Action | Kind::Attitude => 0.5,
    };
    let importance = memory.importance.filter(|much| much.is_finite()).map_or(usual, f64::from);
    let age = now_ms.saturating_sub(memory.at_ms) as f64;
    (0.5 + importance.clamp(0.0, 1.0)) / (1.0 + age / HALF_MS)
}

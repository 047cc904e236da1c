//! Counters and histograms by label.

use std::marker::PhantomData;

use super::kinds::{Counter, Histogram};
use super::labels::Label;

/// One of a kind for each value of a label.
#[derive(Debug)]
pub struct By<L, M = Counter> {
    each: Box<[M]>,
    label: PhantomData<L>,
}

impl<L: Label> Default for By<L> {
    fn default() -> Self {
        Self::with(Counter::default)
    }
}

impl<L: Label> By<L, Histogram> {
    pub fn histograms(bounds: &'static [f64]) -> Self {
        Self::with(|| Histogram::new(bounds))
    }
}

impl<L: Label, M> By<L, M> {
    fn with(make: impl Fn() -> M) -> Self {
        Self { each: L::ALL.iter().map(|_| make()).collect(), label: PhantomData }
    }

    pub fn of(&self, value: L) -> &M {
        &self.each[value.index()]
    }

    /// Each value with what is counted by it.
    pub fn each(&self) -> impl Iterator<Item = (L, &M)> {
        L::ALL.iter().copied().zip(&self.each)
    }
}

impl<L: Label> By<L> {
    /// All of it together.
    pub fn sum(&self) -> u64 {
        self.each.iter().map(Counter::get).sum()
    }
}

/// A counter for each pair of values of two labels.
#[derive(Debug)]
pub struct By2<A, B> {
    each: Box<[By<B>]>,
    label: PhantomData<A>,
}

impl<A: Label, B: Label> Default for By2<A, B> {
    fn default() -> Self {
        Self { each: A::ALL.iter().map(|_| By::default()).collect(), label: PhantomData }
    }
}

impl<A: Label, B: Label> By2<A, B> {
    pub fn of(&self, a: A, b: B) -> &Counter {
        self.each[a.index()].of(b)
    }

    pub fn each(&self) -> impl Iterator<Item = (A, B, &Counter)> {
        let pairs = A::ALL.iter().copied().zip(&self.each);
        pairs.flat_map(|(a, by)| by.each().map(move |(b, counter)| (a, b, counter)))
    }
}

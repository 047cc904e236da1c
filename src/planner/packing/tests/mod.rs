//! Packing as a whole: limits, replicas, errors, words, and the distance from the optimum.

pub(super) mod cases;
mod measure;
mod optimum;
mod plans;
mod properties;

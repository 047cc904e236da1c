//! Who NPCs are: ten thousand of each archetype, and whatever may happen to one.

mod bodies;
mod effects;
mod keeping;
mod lives;
mod population;

use std::sync::Arc;

use crate::archetype::{Pack, Packs};

/// The five packs of the repository.
fn packs() -> Vec<Arc<Pack>> {
    Packs::load(None).unwrap().iter().cloned().collect()
}

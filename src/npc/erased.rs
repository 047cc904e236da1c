//! Players who were erased while the server runs: what was on its way of them does not come back.

use std::collections::VecDeque;

use parking_lot::Mutex;
use uuid::Uuid;

use super::Mind;

/// So many are remembered; what is on its way does not take longer than as many erasures.
const MAX: usize = 1000;

/// See the module's documentation. The oldest first.
#[derive(Debug, Default)]
pub(super) struct Erasures(Mutex<VecDeque<(String, Uuid)>>);

impl Erasures {
    /// A player is erased, with everything that began before this id.
    pub fn add(&self, player: &str, before: Uuid) {
        let mut erased = self.0.lock();
        erased.retain(|(known, _)| known != player);
        if erased.len() >= MAX {
            erased.pop_front();
        }
        erased.push_back((player.to_owned(), before));
    }

    /// Whether a record of a player was erased.
    pub fn covers(&self, player: &str, record: Uuid) -> bool {
        self.0.lock().iter().any(|(known, before)| known == player && record < *before)
    }

    /// Takes out of a mind that was read what should not be there any more.
    pub fn take_out_of(&self, mind: &mut Mind) {
        for (player, before) in &*self.0.lock() {
            // The first 48 bits of a UUIDv7 are its time.
            mind.forget_until(player, (before.as_u128() >> 80) as u64);
        }
    }
}

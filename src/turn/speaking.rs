//! The lines that NPCs are speaking, so that somebody can speak in between. A line is generated long before it has been
//! spoken.

use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;

use super::state::{Cut, TurnState};

/// Lines that are looked through for those that have been spoken.
const MANY: usize = 10_000;

/// The last line of each NPC: one answers one line at a time.
#[derive(Debug, Default)]
pub(super) struct Speaking(DashMap<String, Arc<TurnState>>);

impl Speaking {
    /// An NPC begins to answer.
    pub fn begin(&self, state: &Arc<TurnState>) {
        if self.0.len() >= MANY {
            let now = Instant::now();
            self.0.retain(|_, line| !line.is_silent(now));
        }
        self.0.insert(state.npc.clone(), Arc::clone(state));
    }

    /// Cuts off what the NPC says to a player, or to somebody with the player in the audience. What it says to others goes
    /// on. Returns how a line was cut that had ended; one that runs tells it by itself.
    pub fn interrupt(&self, npc: &str, player: &str) -> Option<(Arc<TurnState>, Cut)> {
        let theirs = self.0.view(npc, |_, line| line.is_heard_by(player).then(|| Arc::clone(line)));
        let state = theirs.flatten()?;
        state.interrupt();
        let cut = state.cut_short()?;
        Some((state, cut))
    }

    /// Forgets the lines of a player.
    pub fn forget_player(&self, player: &str) {
        self.0.retain(|_, line| line.player != player);
    }
}

//! The lines that NPCs are speaking, so that somebody can speak in between.

use std::sync::Arc;

use dashmap::DashMap;

use super::Say;
use super::state::TurnState;

/// By NPC: one answers one line at a time.
#[derive(Debug, Default)]
pub(super) struct Speaking(DashMap<String, Line>);

#[derive(Debug)]
struct Line {
    state: Arc<TurnState>,
    audience: Vec<String>,
}

/// A line that is spoken until this is dropped.
pub(super) struct Speaks<'a> {
    speaking: &'a Speaking,
    state: &'a Arc<TurnState>,
}

impl Drop for Speaks<'_> {
    fn drop(&mut self) {
        self.speaking.0.remove_if(&self.state.npc, |_, line| Arc::ptr_eq(&line.state, self.state));
    }
}

impl Speaking {
    pub fn begin<'a>(&'a self, state: &'a Arc<TurnState>, say: &Say) -> Speaks<'a> {
        let audience = say.audience.clone().unwrap_or_default();
        self.0.insert(state.npc.clone(), Line { state: Arc::clone(state), audience });
        Speaks { speaking: self, state }
    }

    /// Cuts off what the NPC says to the speaker of this line, or to somebody with the speaker in the audience. What it says
    /// to others goes on.
    pub fn interrupt(&self, say: &Say) {
        let theirs = self.0.view(&say.npc, |_, line| {
            let hears = line.state.player == say.player || line.audience.contains(&say.player);
            hears.then(|| Arc::clone(&line.state))
        });
        if let Some(state) = theirs.flatten() {
            state.interrupt();
        }
    }
}

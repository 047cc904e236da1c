//! A player is erased: sessions, turns, replay buffers, and everything that is stored.

use super::gateway::Gateway;
use crate::history::{Erased, HistoryError};
use crate::wire::CloseCode;

impl Gateway {
    /// Takes a player out of everything. The player's sockets are closed with 4503; who hears the player's turns may find
    /// frames missing on a resume, and is told so as always. When this returns nothing of the player is left.
    ///
    /// # Errors
    /// [`HistoryError`]: it may have been done in part, and is to be asked for again.
    pub async fn erase_player(&self, player: &str) -> Result<Erased, HistoryError> {
        self.end_all_of(player, CloseCode::Forbidden);
        let erased = self.turns.erase(player).await?;
        // Once more, for one that opened in between: its turns began later and stay, its frames go.
        let quoted = serde_json::to_string(player).unwrap_or_default();
        let json = quoted.trim_matches('"').as_bytes();
        for session in self.sessions.all() {
            session.forget_naming(&[player.as_bytes(), json]);
        }
        tracing::info!(interactions = erased.interactions, mentions = erased.mentions, "a player was erased");
        Ok(erased)
    }
}

//! What turns know of a player goes.

use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::Turns;
use crate::history::{Erased, HistoryError, JournalError};

/// How often it is looked whether the player's turns have ended.
const LOOK: Duration = Duration::from_millis(10);
/// How often at most: a turn that runs longer than 10 s after it was cancelled waits for a disk that does not answer.
const LOOKS: usize = 1000;

impl Turns {
    /// Takes a player out of the store, the memory and the engine. The player's turns are cancelled.
    ///
    /// # Errors
    /// [`HistoryError`]: it may have been done in part, and is to be asked for again.
    pub async fn erase(&self, player: &str) -> Result<Erased, HistoryError> {
        // Everything of the player that has begun by now.
        let before = Uuid::now_v7();
        let mut erased = self.history.erase(player, before).await?;
        let mut looks = 0;
        while self.registry.hang_up(player) > 0 {
            looks += 1;
            if looks > LOOKS {
                return Err(JournalError::Busy(self.registry.hang_up(player)).into());
            }
            sleep(LOOK).await;
        }
        self.registry.forget_player(player);
        self.outcomes.forget_player(player);
        self.speaking.forget_player(player);
        self.npcs.forget_player(player, before).await;
        // What had just been stored when the first one began may have been remembered since.
        erased.add(self.history.erase(player, before).await?);
        if let Err(error) = self.engine.forget_conversations().await {
            tracing::error!(%error, "the engine still holds what it computed for a player who was erased");
            return Err(HistoryError::Engine(error.to_string()));
        }
        Ok(erased)
    }
}

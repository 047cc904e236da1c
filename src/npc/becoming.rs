//! What becomes of NPCs: their minds change, are stored, and forget players.

use std::sync::Arc;

use uuid::Uuid;

use super::{Happening, Mind, Npc, Npcs, now_ms};
use crate::history::JournalError;
use crate::wire::Relationship;

impl Npcs {
    /// What an NPC that is in memory thinks of a player.
    pub fn relationship(&self, id: &str, player: &str) -> Option<Relationship> {
        self.map.get(id).map(|npc| npc.read(|mind| mind.relationship(player, now_ms())))
    }

    /// Changes an NPC's mind. It is stored in the background within about a second, or later if the store cannot be
    /// written; until then it stays in memory. Call it only while something keeps the NPC there: a session that has joined,
    /// or a line's place.
    pub fn change<T>(&self, npc: &Arc<Npc>, change: impl FnOnce(&mut Mind) -> T) -> T {
        let changed = change(&mut npc.mind.lock());
        self.saver.save(npc);
        changed
    }

    /// Something has happened to an NPC, wherever it is: what it becomes by it is stored when this returns, if it can be.
    /// `record`: the id under which the history has it.
    ///
    /// # Errors
    /// [`JournalError`]: the NPC is not in memory and cannot be read or stored.
    pub async fn happen(&self, id: &str, record: Uuid, what: &Happening) -> Result<(), JournalError> {
        let change = |mind: &mut Mind| {
            // It may have been on its way while its player was erased.
            if !self.erasures.covers(&what.player, record) {
                mind.happen(what);
            }
        };
        self.change_anywhere(id, change).await
    }

    /// Changes an NPC's mind, wherever the NPC is; it is stored when this returns, if it can be.
    ///
    /// # Errors
    /// [`JournalError`]: the NPC is not in memory and cannot be read or stored.
    pub async fn change_anywhere(&self, id: &str, change: impl Fn(&mut Mind)) -> Result<(), JournalError> {
        // Kept from being forgotten before the change is noted.
        let here = || {
            self.map.get(id).map(|npc| {
                self.change(&npc, &change);
                Arc::clone(&npc)
            })
        };
        if let Some(npc) = here() {
            self.saver.save_now(&self.saver.still().await, &npc).await;
            return Ok(());
        }
        let _making = self.lock(id).await;
        let still = self.saver.still().await;
        match here() {
            Some(npc) => self.saver.save_now(&still, &npc).await,
            None => self.change_in_store(id, change).await?,
        }
        Ok(())
    }

    /// Changes an NPC that is not in memory.
    async fn change_in_store(&self, id: &str, change: impl FnOnce(&mut Mind)) -> Result<(), JournalError> {
        match self.stored(id).await {
            Ok(Some(npc)) => {
                change(&mut npc.mind.lock());
                self.history.journal().put_npc(&npc.record()).await
            }
            Ok(None) => Ok(()),
            // It has been logged.
            Err(error) => Err(JournalError::Read(error.message)),
        }
    }

    /// A player is erased, with everything that began before this id: no NPC in memory knows them when this returns, and what
    /// is stored from then on does not either.
    pub async fn forget_player(&self, player: &str, before: Uuid) {
        self.erasures.add(player, before);
        let _alone = self.saver.alone().await;
        for npc in &self.map {
            npc.mind.lock().forget(player);
        }
    }

    /// Stores what is not yet. Nothing that changes later is.
    pub async fn close(&self) {
        self.saver.close().await;
    }
}

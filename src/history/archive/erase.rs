//! What is known of a player, taken out of Postgres.

use diesel::sql_types::{BigInt, Bytea, Text, Uuid as SqlUuid};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Archive, ArchiveError};

/// Rows in one statement.
const BATCH: i64 = 1000;

const ERASE: &str = "\
    DELETE FROM npc_interactions \
    WHERE id IN (SELECT id FROM npc_interactions WHERE player = $1 AND id < $2 LIMIT $3) \
    RETURNING id, idempotency_key";

/// Others' interactions stay, without the player's name among those who were there.
const UNNAME: [&str; 3] = [
    "UPDATE npcs SET relationships = relationships - $1 WHERE relationships ? $1",
    "UPDATE npc_interactions SET body = jsonb_set(body, '{audience}', (body -> 'audience') - $1) \
     WHERE body ? 'audience' AND body -> 'audience' ? $1",
    "UPDATE npc_interactions SET body = jsonb_set(body, '{witnesses}', (body -> 'witnesses') - $1) \
     WHERE body ? 'witnesses' AND body -> 'witnesses' ? $1",
];

#[derive(QueryableByName)]
struct Gone {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Bytea)]
    idempotency_key: Vec<u8>,
}

/// What was taken out of the archive.
#[derive(Debug, Default)]
pub struct ErasedRows {
    /// The player's own, with their keys, which the journal has too.
    pub rows: Vec<(Uuid, Vec<u8>)>,
    /// Records of others that named the player.
    pub mentions: usize,
}

impl Archive {
    /// Removes everything that a player said and was told before this id, and the player's name from what others did.
    /// The journal has to forget first: what it still has of the player comes with the next rows.
    ///
    /// # Errors
    /// [`ArchiveError`]; some may be removed then.
    pub async fn erase_player(&self, player: &str, before: Uuid) -> Result<ErasedRows, ArchiveError> {
        // Rows that were read before the journal forgot them are there by then.
        let _still = self.shared.moving.lock().await;
        let mut erased = ErasedRows::default();
        let mut connection = self.reading().await?;
        loop {
            let query =
                sql_query(ERASE).bind::<Text, _>(player).bind::<SqlUuid, _>(before).bind::<BigInt, _>(BATCH);
            match self.connections.within(query.load::<Gone>(&mut connection)).await {
                Ok(gone) if gone.is_empty() => break,
                Ok(gone) => erased.rows.extend(gone.into_iter().map(|gone| (gone.id, gone.idempotency_key))),
                Err(error) => return connection.settle(Err(error)),
            }
        }
        for statement in UNNAME {
            let query = sql_query(statement).bind::<Text, _>(player);
            match self.connections.within(query.execute(&mut connection)).await {
                Ok(changed) => erased.mentions += changed,
                Err(error) => return connection.settle(Err(error)),
            }
        }
        Ok(erased)
    }
}

//! What is read from Postgres.

use diesel::{BoolExpressionMethods, ExpressionMethods, QueryDsl, SelectableHelper};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::connect::Target;
use super::pool::Connections;
use super::row::Read;
use super::schema::npc_interactions;
use super::{Archive, ArchiveError};
use crate::config;
use crate::history::record::{Kind, Record};

/// Records that are read at once for a file.
const PAGE: i64 = 500;

impl Archive {
    /// The record with this id.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn find(&self, id: Uuid) -> Result<Option<Record>, ArchiveError> {
        let mut connection = self.reading().await?;
        let query = npc_interactions::table.find(id).select(Read::as_select());
        let rows = self.connections.within(query.load(&mut connection)).await;
        Ok(records(connection.settle(rows)?)?.pop())
    }

    /// The records with these ids, in any order.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn find_all(&self, ids: &[Uuid]) -> Result<Vec<Record>, ArchiveError> {
        let mut connection = self.reading().await?;
        let query =
            npc_interactions::table.filter(npc_interactions::id.eq_any(ids)).select(Read::as_select());
        let rows = self.connections.within(query.load(&mut connection)).await;
        records(connection.settle(rows)?)
    }

    /// The last lines of a conversation, newest first.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn conversation(
        &self,
        npc: &str,
        player: &str,
        limit: usize,
    ) -> Result<Vec<Record>, ArchiveError> {
        let mut connection = self.reading().await?;
        let query = npc_interactions::table
            .filter(npc_interactions::npc.eq(npc).and(npc_interactions::player.eq(player)))
            .filter(npc_interactions::kind.eq(Kind::Dialogue.name()))
            .order(npc_interactions::id.desc())
            .limit(limit as i64)
            .select(Read::as_select());
        let rows = self.connections.within(query.load(&mut connection)).await;
        records(connection.settle(rows)?)
    }

    /// What happened with an NPC, newest first; `before`: what is older than this record.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn page(
        &self,
        npc: &str,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Record>, ArchiveError> {
        let mut connection = self.reading().await?;
        let query = npc_interactions::table
            .filter(npc_interactions::npc.eq(npc).and(npc_interactions::id.lt(before.unwrap_or(Uuid::max()))))
            .order(npc_interactions::id.desc())
            .limit(limit as i64)
            .select(Read::as_select());
        let rows = self.connections.within(query.load(&mut connection)).await;
        records(connection.settle(rows)?)
    }
}

/// The archive for commands that run beside a server or in its place.
pub struct ArchiveReader {
    connections: Connections,
}

impl ArchiveReader {
    /// `None`: there is no archive.
    ///
    /// # Errors
    /// [`ArchiveError::Url`], [`ArchiveError::Ca`].
    pub fn open(settings: &config::History) -> Result<Option<Self>, ArchiveError> {
        if settings.postgres_url.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { connections: Connections::new(&Target::new(settings)?, 1)? }))
    }

    /// Some of what happened with an NPC after this record, oldest first; empty: nothing more.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn page_after(&self, npc: &str, after: Uuid) -> Result<Vec<Record>, ArchiveError> {
        let mut connection = self.connections.get().await?;
        let query = npc_interactions::table
            .filter(npc_interactions::npc.eq(npc).and(npc_interactions::id.gt(after)))
            .order(npc_interactions::id.asc())
            .limit(PAGE)
            .select(Read::as_select());
        let rows = self.connections.within(query.load(&mut connection)).await;
        records(connection.settle(rows)?)
    }
}

fn records(rows: Vec<Read>) -> Result<Vec<Record>, ArchiveError> {
    rows.into_iter().map(|row| Ok(row.record()?)).collect()
}

//! What is written to Postgres: statements that are prepared once, whatever the number of rows.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bytea, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel::{QueryResult, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::row::Row;
use super::text::escape;
use crate::history::journal::Amended;

/// `INSERT`, column by column.
#[derive(Default)]
struct Insert<'a> {
    ids: Vec<Uuid>,
    keys: Vec<&'a [u8]>,
    versions: Vec<i32>,
    kinds: Vec<&'a str>,
    npcs: Vec<&'a str>,
    players: Vec<&'a str>,
    said: Vec<&'a str>,
    heard: Vec<Option<i64>>,
    bodies: Vec<&'a str>,
    at_ms: Vec<i64>,
}

/// `UPDATE` of what was heard.
#[derive(Default)]
struct Update<'a> {
    ids: Vec<Uuid>,
    said: Vec<&'a str>,
    heard: Vec<Option<i64>>,
}

impl QueryId for Insert<'_> {
    type QueryId = Insert<'static>;
}

impl QueryFragment<Pg> for Insert<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO npc_interactions (id, idempotency_key, version, kind, npc, player, said, heard, body, at) \
             SELECT u.id, u.key, u.version, u.kind, u.npc, u.player, u.said, u.heard, u.body::jsonb, \
             to_timestamp(u.at_ms / 1000.0) FROM unnest(",
        );
        out.push_bind_param::<Array<SqlUuid>, _>(&self.ids)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Bytea>, _>(&self.keys)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Integer>, _>(&self.versions)?;
        for texts in [&self.kinds, &self.npcs, &self.players, &self.said] {
            out.push_sql(", ");
            out.push_bind_param::<Array<Text>, _>(texts)?;
        }
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<BigInt>>, _>(&self.heard)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.bodies)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.at_ms)?;
        out.push_sql(
            ") AS u (id, key, version, kind, npc, player, said, heard, body, at_ms) ON CONFLICT (id) DO NOTHING",
        );
        Ok(())
    }
}

impl QueryId for Update<'_> {
    type QueryId = Update<'static>;
}

impl QueryFragment<Pg> for Update<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("UPDATE npc_interactions AS t SET said = u.said, heard = u.heard FROM unnest(");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.ids)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.said)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<BigInt>>, _>(&self.heard)?;
        out.push_sql(") AS u (id, said, heard) WHERE t.id = u.id");
        Ok(())
    }
}

/// Writes rows; those that are there stay as they are, but for what was heard of those that have changed since they were
/// read first. Committed when it returns.
pub(super) async fn insert(connection: &mut AsyncPgConnection, rows: &[Row]) -> QueryResult<()> {
    let mut insert = Insert::default();
    let mut update = Update::default();
    for row in rows {
        insert.ids.push(row.id);
        insert.keys.push(&row.key);
        insert.versions.push(row.version);
        insert.kinds.push(&row.kind);
        insert.npcs.push(&row.npc);
        insert.players.push(&row.player);
        insert.said.push(&row.said);
        insert.heard.push(row.heard);
        insert.bodies.push(&row.body);
        insert.at_ms.push(row.at_ms);
        if row.revision > 1 {
            update.ids.push(row.id);
            update.said.push(&row.said);
            update.heard.push(row.heard);
        }
    }
    insert.execute(connection).await?;
    if !update.ids.is_empty() {
        update.execute(connection).await?;
    }
    Ok(())
}

/// Changes what was heard of rows that are there.
pub(super) async fn amend(connection: &mut AsyncPgConnection, amended: &[Amended]) -> QueryResult<()> {
    let said: Vec<_> = amended.iter().map(|amended| escape(&amended.heard.said)).collect();
    let update = Update {
        ids: amended.iter().map(|amended| amended.id).collect(),
        said: said.iter().map(AsRef::as_ref).collect(),
        heard: amended.iter().map(|amended| amended.heard.stored_chars()).collect(),
    };
    update.execute(connection).await?;
    Ok(())
}

/// The month of a moment as a partition of its own, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, diesel::QueryableByName)]
pub(super) struct Month {
    #[diesel(sql_type = BigInt)]
    pub first_ms: i64,
    #[diesel(sql_type = BigInt)]
    pub end_ms: i64,
}

/// Makes the partition for the month of a moment, if it is missing.
pub(super) async fn make_partition(connection: &mut AsyncPgConnection, ms: i64) -> QueryResult<Month> {
    sql_query("SELECT first_ms, end_ms FROM npc_make_partition(to_timestamp($1 / 1000.0))")
        .bind::<BigInt, _>(ms)
        .get_result(connection)
        .await
}

//! NPCs in Postgres, for those who ask in SQL: the journal has them all, and nobody reads them from here.

use diesel::QueryResult;
use diesel::sql_types::{Array, Float, Jsonb, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::{Value, json};

use super::text::escape;
use crate::history::npc::{NpcRecord, NpcState};

const UPSERT: &str = "\
    INSERT INTO npcs (id, archetype, name, personality_vector, relationships, goal_stack, stats, meta_data, \
        episodic_memory_id) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, \
        (SELECT i.id FROM npc_interactions AS i WHERE i.npc = $1 ORDER BY i.id DESC LIMIT 1)) \
    ON CONFLICT (id) DO UPDATE SET archetype = excluded.archetype, name = excluded.name, \
        personality_vector = excluded.personality_vector, relationships = excluded.relationships, \
        goal_stack = excluded.goal_stack, stats = excluded.stats, meta_data = excluded.meta_data, \
        episodic_memory_id = excluded.episodic_memory_id, updated_at = now()";

/// Writes an NPC over what is there of it. Committed when it returns.
pub(super) async fn upsert(connection: &mut AsyncPgConnection, npc: &NpcRecord) -> QueryResult<()> {
    let NpcRecord { id, archetype, name, seed, state } = npc;
    let NpcState { relationships, goals, body, drift, counts, mood, .. } = state;
    let traits = state.traits();
    let vector: Vec<f32> = traits.values().copied().collect();
    // Numbers, and texts of the studio's own; what players write is in the names of relationships alone. Whose doing it was
    // that it has changed stays in the journal.
    let relationships: Value =
        relationships.iter().map(|(player, how)| (escape(player).into_owned(), json!(how))).collect();
    diesel::sql_query(UPSERT)
        .bind::<Text, _>(id)
        .bind::<Text, _>(archetype)
        .bind::<Text, _>(escape(name).as_ref())
        .bind::<Array<Float>, _>(vector)
        .bind::<Jsonb, _>(relationships)
        .bind::<Jsonb, _>(json!(goals))
        .bind::<Jsonb, _>(json!(counts))
        .bind::<Jsonb, _>(
            json!({"seed": seed, "personality": traits, "drift": drift, "mood": mood, "body": body}),
        )
        .execute(connection)
        .await?;
    Ok(())
}

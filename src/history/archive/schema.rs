//! The table of `migrations/postgres/` that the archive reads, as diesel knows it.

diesel::table! {
    npc_interactions (id) {
        id -> Uuid,
        idempotency_key -> Bytea,
        version -> Int4,
        kind -> Text,
        npc -> Text,
        player -> Text,
        said -> Text,
        heard -> Nullable<Int8>,
        body -> Jsonb,
        at -> Timestamptz,
    }
}

//! The tables of `migrations/sqlite/`, as diesel knows them.

diesel::table! {
    interactions (id) {
        id -> Binary,
        idempotency_key -> Binary,
        version -> Integer,
        kind -> Text,
        npc -> Text,
        player -> Text,
        said -> Text,
        heard -> Nullable<BigInt>,
        body -> Binary,
    }
}

diesel::table! {
    probes (id) {
        id -> Integer,
        filling -> Binary,
    }
}

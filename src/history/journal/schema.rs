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
        revision -> BigInt,
    }
}

diesel::table! {
    keys (idempotency_key) {
        idempotency_key -> Binary,
        id -> Binary,
    }
}

diesel::table! {
    conversations (player, npc) {
        player -> Text,
        npc -> Text,
    }
}

diesel::table! {
    amendments (id) {
        id -> Binary,
        revision -> BigInt,
        said -> Text,
        heard -> Nullable<BigInt>,
    }
}

diesel::table! {
    identity (one) {
        one -> Integer,
        id -> Binary,
    }
}

diesel::table! {
    probes (id) {
        id -> Integer,
        filling -> Binary,
    }
}

diesel::table! {
    npcs (id) {
        id -> Text,
        version -> Integer,
        archetype -> Text,
        name -> Text,
        seed -> BigInt,
        state -> Binary,
        revision -> BigInt,
        archived -> BigInt,
    }
}

diesel::table! {
    mentions (player, interaction) {
        player -> Text,
        interaction -> Binary,
    }
}

diesel::table! {
    tombstones (player) {
        player -> Text,
        before -> Binary,
    }
}

diesel::table! {
    places (npc, player, id) {
        npc -> Text,
        player -> Text,
        id -> Binary,
    }
}

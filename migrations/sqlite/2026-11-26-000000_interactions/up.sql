-- One row for each thing that happened between an NPC and a player.
CREATE TABLE interactions (
    -- UUIDv7: sorts by time.
    id BLOB PRIMARY KEY NOT NULL,
    -- Digest of what the client calls it, so that a retry doubles nothing.
    idempotency_key BLOB NOT NULL UNIQUE,
    -- Of `body`.
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    npc TEXT NOT NULL,
    player TEXT NOT NULL,
    -- What the NPC said, and how many characters of it were heard; NULL: all of them. They may change for a while.
    said TEXT NOT NULL,
    heard BIGINT,
    -- MessagePack: everything that is not asked for by itself.
    body BLOB NOT NULL
) WITHOUT ROWID;

-- A conversation, and everything of an NPC, newest first.
CREATE INDEX interactions_conversation ON interactions (npc, player, id);
CREATE INDEX interactions_npc ON interactions (npc, id);

-- Written, and emptied again, to learn whether there is room.
CREATE TABLE probes (
    id INTEGER PRIMARY KEY NOT NULL,
    filling BLOB NOT NULL
);

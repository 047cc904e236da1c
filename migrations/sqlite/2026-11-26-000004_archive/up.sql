-- Every turn's key outlives its row, so that a repeat is known for ever, wherever the row is.
CREATE TABLE keys (
    idempotency_key BLOB PRIMARY KEY NOT NULL,
    -- Of the interaction.
    id BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO keys SELECT idempotency_key, id FROM interactions ORDER BY idempotency_key;

-- Who has spoken with whom.
CREATE TABLE conversations (
    player TEXT NOT NULL,
    npc TEXT NOT NULL,
    PRIMARY KEY (player, npc)
) WITHOUT ROWID;
INSERT INTO conversations SELECT DISTINCT player, npc FROM interactions ORDER BY player, npc;

-- What was heard of rows that have left for the archive, on its way there.
CREATE TABLE amendments (
    id BLOB PRIMARY KEY NOT NULL,
    -- Grows with every change, so that one that comes while an older one is archived stays.
    revision BIGINT NOT NULL,
    said TEXT NOT NULL,
    heard BIGINT
) WITHOUT ROWID;

-- Which journal this is, for the archive that it drains into.
CREATE TABLE identity (
    one INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    id BLOB NOT NULL
);
INSERT INTO identity VALUES (1, randomblob(16));

-- As before, but that `keys` sees to keys being unique, and for the revision.
CREATE TABLE new_interactions (
    -- UUIDv7: sorts by time.
    id BLOB PRIMARY KEY NOT NULL,
    -- Digest of what the client calls it, so that a retry doubles nothing.
    idempotency_key BLOB NOT NULL,
    -- Of `body`.
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    npc TEXT NOT NULL,
    player TEXT NOT NULL,
    -- What the NPC said, and how many characters of it were heard; NULL: all of them. They may change for a while.
    said TEXT NOT NULL,
    heard BIGINT,
    -- MessagePack: everything that is not asked for by itself.
    body BLOB NOT NULL,
    -- Grows with every change: what the archive has is gone from here only if it was the last one.
    revision BIGINT NOT NULL DEFAULT 1
) WITHOUT ROWID;
INSERT INTO new_interactions
    SELECT id, idempotency_key, version, kind, npc, player, said, heard, body, 1 FROM interactions ORDER BY id;
DROP TABLE interactions;
ALTER TABLE new_interactions RENAME TO interactions;

-- A conversation, and everything of an NPC, newest first; a player's records, to erase them.
CREATE INDEX interactions_conversation ON interactions (npc, player, id);
CREATE INDEX interactions_npc ON interactions (npc, id);
CREATE INDEX interactions_player ON interactions (player, id);

-- Whom a row names that leaves.
CREATE INDEX mentions_interaction ON mentions (interaction);

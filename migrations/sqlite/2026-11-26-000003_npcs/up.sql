-- Who the NPCs are, and what they have become.
CREATE TABLE npcs (
    id TEXT PRIMARY KEY NOT NULL,
    -- Of `state`.
    version INTEGER NOT NULL,
    archetype TEXT NOT NULL,
    name TEXT NOT NULL,
    -- 64 bits, without a sign where it is used.
    seed BIGINT NOT NULL,
    -- MessagePack: personality, body, goals, relationships.
    state BLOB NOT NULL,
    -- Grows with every change, and the last change that the archive has.
    revision BIGINT NOT NULL DEFAULT 1,
    archived BIGINT NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- What the archive does not have.
CREATE INDEX npcs_changed ON npcs (id) WHERE revision <> archived;

-- Who else is named in a record: its audience and its witnesses.
CREATE TABLE mentions (
    player TEXT NOT NULL,
    interaction BLOB NOT NULL,
    PRIMARY KEY (player, interaction)
) WITHOUT ROWID;

-- A player's records, to erase them.
CREATE INDEX interactions_player ON interactions (player, id);

-- Players who were erased: none of their records that is older than this UUIDv7 is ever stored again.
CREATE TABLE tombstones (
    player TEXT PRIMARY KEY NOT NULL,
    before BLOB NOT NULL
) WITHOUT ROWID;

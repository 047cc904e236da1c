-- Where a record belongs besides the conversation of its own NPC and player: with those who listened, with the NPCs that
-- saw it. It stays when the record has left the journal.
CREATE TABLE places (
    npc TEXT NOT NULL,
    -- Who took part; '': what happened in the world, which the NPC may tell anybody.
    player TEXT NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (npc, player, id)
) WITHOUT ROWID;

-- One row: whose history this is, in stores that others use too.
CREATE TABLE identity (
    id TEXT PRIMARY KEY NOT NULL
);
INSERT INTO identity VALUES (lower(hex(randomblob(8))));

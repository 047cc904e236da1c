-- Where a record belongs besides the conversation of its own NPC and player: with those who listened, with the NPCs that
-- saw it. It stays when the record has left the journal.
CREATE TABLE places (
    npc TEXT NOT NULL,
    -- Who took part; '': what happened in the world, which the NPC may tell anybody.
    player TEXT NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (npc, player, id)
) WITHOUT ROWID;

-- To take a player out, and a record.
CREATE INDEX places_player ON places (player, id);
CREATE INDEX places_id ON places (id);

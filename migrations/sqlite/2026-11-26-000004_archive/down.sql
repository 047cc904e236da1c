-- Rows that have left for the archive do not come back, and their keys are forgotten.
CREATE TABLE old_interactions (
    id BLOB PRIMARY KEY NOT NULL,
    idempotency_key BLOB NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    npc TEXT NOT NULL,
    player TEXT NOT NULL,
    said TEXT NOT NULL,
    heard BIGINT,
    body BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO old_interactions
    SELECT id, idempotency_key, version, kind, npc, player, said, heard, body FROM interactions ORDER BY id;
DROP TABLE interactions;
ALTER TABLE old_interactions RENAME TO interactions;
CREATE INDEX interactions_conversation ON interactions (npc, player, id);
CREATE INDEX interactions_npc ON interactions (npc, id);
CREATE INDEX interactions_player ON interactions (player, id);
DROP INDEX mentions_interaction;
DROP TABLE identity;
DROP TABLE amendments;
DROP TABLE conversations;
DROP TABLE keys;

-- One row for each thing that happened between an NPC and a player. An id is a UUIDv7, which sorts by time: a partition
-- holds a month.
CREATE TABLE npc_interactions (
    id uuid PRIMARY KEY,
    -- Digest of what the client calls it.
    idempotency_key bytea NOT NULL,
    -- Of `body`.
    version integer NOT NULL,
    kind text NOT NULL,
    npc text NOT NULL,
    player text NOT NULL,
    -- What the NPC said, and how many characters of it were heard; NULL: all of them. They may change for two minutes.
    said text NOT NULL,
    heard bigint,
    -- Everything else.
    body jsonb NOT NULL,
    -- When it ended.
    at timestamptz NOT NULL
) PARTITION BY RANGE (id);

-- A conversation newest first, an NPC newest first, everything of a player.
CREATE INDEX npc_interactions_conversation ON npc_interactions (npc, player, id);
CREATE INDEX npc_interactions_npc ON npc_interactions (npc, id);
CREATE INDEX npc_interactions_player ON npc_interactions (player, id);

-- Who else was there: few interactions have others.
CREATE INDEX npc_interactions_audience ON npc_interactions USING gin ((body -> 'audience')) WHERE body ? 'audience';
CREATE INDEX npc_interactions_witnesses ON npc_interactions USING gin ((body -> 'witnesses')) WHERE body ? 'witnesses';

-- What belongs into no month for which a partition was made.
CREATE TABLE npc_interactions_default PARTITION OF npc_interactions DEFAULT;

-- The least UUIDv7 of a moment.
CREATE FUNCTION npc_first_id(moment timestamptz) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partition for the month (UTC) of a moment, if it is missing. Returns the month in milliseconds since 1970:
-- its first one, and the first one after it.
CREATE FUNCTION npc_make_partition(moment timestamptz, OUT first_ms bigint, OUT end_ms bigint)
LANGUAGE plpgsql AS $$
DECLARE
    month timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
    low timestamptz := month AT TIME ZONE 'UTC';
    high timestamptz := (month + interval '1 month') AT TIME ZONE 'UTC';
    name text := 'npc_interactions_' || to_char(month, 'YYYY_MM');
BEGIN
    first_ms := (extract(epoch FROM low) * 1000)::bigint;
    end_ms := (extract(epoch FROM high) * 1000)::bigint;
    IF to_regclass(name) IS NULL THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF npc_interactions FOR VALUES FROM (%L) TO (%L)',
            name, npc_first_id(low), npc_first_id(high));
    END IF;
END
$$;

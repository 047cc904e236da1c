-- Who the NPCs are, as the gateway knew them last.
CREATE TABLE npcs (
    id text PRIMARY KEY,
    archetype text NOT NULL,
    name text NOT NULL,
    -- How it is, each -1 to 1: the values of meta_data's personality in the order of its traits' names.
    personality_vector real[] NOT NULL DEFAULT '{}',
    -- By player: trust, respect, familiarity, fear, affection.
    relationships jsonb NOT NULL DEFAULT '{}',
    -- The most urgent first.
    goal_stack jsonb NOT NULL DEFAULT '[]',
    -- The last thing that had happened with it when this was written, in npc_interactions.
    episodic_memory_id uuid,
    stats jsonb NOT NULL DEFAULT '{}',
    meta_data jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now()
);

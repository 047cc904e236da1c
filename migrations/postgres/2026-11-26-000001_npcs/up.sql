-- Who the NPCs are, as the gateway knew them last.
CREATE TABLE npcs (
    id text PRIMARY KEY,
    archetype text NOT NULL,
    name text NOT NULL,
    -- How it is, trait by trait in the order of the protocol's list, each -1 to 1.
    personality_vector real[] NOT NULL DEFAULT '{}',
    -- By player: trust, respect, familiarity, fear, affection.
    relationships jsonb NOT NULL DEFAULT '{}',
    -- The most urgent first.
    goal_stack jsonb NOT NULL DEFAULT '[]',
    -- The last thing that happened with it, in npc_interactions.
    episodic_memory_id uuid,
    stats jsonb NOT NULL DEFAULT '{}',
    meta_data jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now()
);

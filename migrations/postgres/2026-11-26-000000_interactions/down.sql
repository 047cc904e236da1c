DROP FUNCTION npc_make_partition;
DROP FUNCTION npc_first_id;
DROP TABLE npc_interactions;

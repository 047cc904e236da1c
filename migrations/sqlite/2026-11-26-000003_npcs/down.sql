DROP TABLE tombstones;
DROP INDEX interactions_player;
DROP TABLE mentions;
DROP TABLE npcs;

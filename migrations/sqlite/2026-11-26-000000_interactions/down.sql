DROP TABLE probes;
DROP TABLE interactions;

DROP TABLE identity;
DROP TABLE places;

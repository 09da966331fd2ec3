-- The last position of the append-only log; one row.
CREATE TABLE log (position INTEGER NOT NULL) STRICT;
INSERT INTO log VALUES (0);

-- One row. The last position of the append-only log; the commits there ever were; and which copy of the database this
-- is: what is noted beside the database of its commits says which one it means.
CREATE TABLE log (position INTEGER NOT NULL, commits INTEGER NOT NULL, copy INTEGER NOT NULL) STRICT;
INSERT INTO log VALUES (0, 0, random());

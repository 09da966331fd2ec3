-- Rooms in which somebody typed: who was told of it by a run of the server that has ended is told that nobody does.
CREATE TABLE typing (
    room_id   TEXT    NOT NULL PRIMARY KEY,
    -- A day before the last time that somebody did, at worst.
    marked_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

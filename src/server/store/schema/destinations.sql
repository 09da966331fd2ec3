-- How far other servers were told what happens in the rooms that they share with this one: all of them have what is to be
-- sent up to one position of the log, but for those that lag.
CREATE TABLE sending (upto INTEGER NOT NULL) STRICT;
INSERT INTO sending VALUES (0);
CREATE TABLE destinations (
    server TEXT PRIMARY KEY,
    upto   INTEGER NOT NULL                            -- it has everything up to this
) STRICT, WITHOUT ROWID;

-- What a server is told that was away for long: the newest of each room, and who was put out of one.
CREATE INDEX events_ours_of_room ON events (room, position) WHERE ours = 1;
CREATE INDEX events_ours_members ON events (position) WHERE ours = 1 AND type = 'm.room.member';

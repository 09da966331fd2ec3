-- Rooms that other servers take part in: events come in any order, and what follows what has forks.

-- The history of each room's current state: what each key was from a position of the log on. An event can become
-- current again, or long after it came, when forks meet.
CREATE TABLE state_log (
    room      INTEGER NOT NULL REFERENCES rooms,
    type      TEXT NOT NULL,
    state_key TEXT NOT NULL,
    position  INTEGER NOT NULL,
    event     INTEGER REFERENCES events,               -- NULL: there is no such state from here on
    PRIMARY KEY (room, type, state_key, position)
) STRICT, WITHOUT ROWID;
INSERT INTO state_log SELECT room, type, state_key, position, event FROM events
    WHERE standing = 0 AND state_key IS NOT NULL;
CREATE INDEX state_log_changes ON state_log (room, position, type, state_key);
DROP INDEX events_state;
DROP INDEX events_state_changes;
CREATE INDEX events_of_key ON events (room, type, state_key) WHERE state_key IS NOT NULL;

-- The events that accepted ones follow and that are not here: where a timeline has gaps.
CREATE TABLE missing_edges (
    room          INTEGER NOT NULL REFERENCES rooms,
    prev_event_id TEXT NOT NULL,
    event         INTEGER NOT NULL REFERENCES events,
    PRIMARY KEY (room, prev_event_id, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX missing_edges_event ON missing_edges (event);

-- Where in the log a membership came to be what it is.
ALTER TABLE memberships ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
UPDATE memberships SET position = (SELECT e.position FROM events e WHERE e.event = memberships.event);

-- 1: this server tells others of it: its users sent it, or it came in through this server.
ALTER TABLE events ADD COLUMN ours INTEGER NOT NULL DEFAULT 0;
CREATE INDEX events_ours ON events (position) WHERE ours = 1;

-- 1: an invite of a user of this server that it was not asked for: state of the room, and nobody's membership.
ALTER TABLE events ADD COLUMN unasked INTEGER NOT NULL DEFAULT 0;

-- 1: a redaction that clients are not shown, as it is not known that its sender may empty what it names.
ALTER TABLE events ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;

-- What users are in rooms that are not here, by where in the log that came to be.
CREATE INDEX events_outside ON events (position)
    WHERE standing = 1 AND position IS NOT NULL AND type = 'm.room.member';

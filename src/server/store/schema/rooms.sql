-- Rooms, their events (the durable log), and the state before every event.
CREATE TABLE rooms (
    room        INTEGER PRIMARY KEY,
    room_id     TEXT NOT NULL UNIQUE,
    version     TEXT NOT NULL,
    listed      INTEGER NOT NULL DEFAULT 0,            -- 1: in the public directory
    state_group INTEGER REFERENCES state_groups        -- the current state: what the forward extremities make of it
) STRICT;
CREATE INDEX rooms_listed ON rooms (room) WHERE listed = 1;

-- An event has a number of its own, by which all other tables name it: one that is first known as an outlier
-- (somebody's auth event) and gets its place later keeps what refers to it.
--
-- Its position is where it stands in the log: what readers are told of, in the order in which it came. Its timeline
-- is where it stands in its room. What comes live at position p stands at p << 20: a million events fit between two
-- neighbours when they are fetched later, and the past of a room goes below zero. An outlier has neither.
CREATE TABLE events (
    event            INTEGER PRIMARY KEY,
    event_id         TEXT NOT NULL UNIQUE,
    position         INTEGER UNIQUE,
    timeline         INTEGER,
    room             INTEGER NOT NULL REFERENCES rooms,
    standing         INTEGER NOT NULL,                 -- 0 accepted, 1 outlier, 2 soft-failed, 3 rejected
    type             TEXT NOT NULL,
    state_key        TEXT,                             -- NULL: not a state event
    sender           TEXT NOT NULL,
    origin_server_ts INTEGER NOT NULL,
    depth            INTEGER NOT NULL,
    pdu              TEXT NOT NULL,                    -- canonical JSON; the redacted form once redacted
    state_before     INTEGER REFERENCES state_groups,  -- NULL: an outlier, or the first event
    state_after      INTEGER REFERENCES state_groups,  -- the same as before, unless it is a state event
    replaces         INTEGER REFERENCES events,        -- the state event of the same key before this one
    redacted_by      INTEGER REFERENCES events,
    relates_to       TEXT,                             -- event ID of content.m.relates_to
    rel_type         TEXT,
    device_id        TEXT,                             -- the device of ours that sent it, and
    transaction_id   TEXT                              -- the transaction ID it used
) STRICT;
CREATE INDEX events_log ON events (room, position) WHERE standing = 0;
CREATE INDEX events_timeline ON events (room, timeline) WHERE standing = 0;
CREATE INDEX events_state ON events (room, type, state_key, timeline) WHERE standing = 0 AND state_key IS NOT NULL;
CREATE INDEX events_state_changes ON events (room, position, type, state_key) WHERE standing = 0 AND state_key IS NOT NULL;
CREATE INDEX events_by_time ON events (room, origin_server_ts) WHERE standing = 0;
CREATE INDEX events_relations ON events (relates_to, timeline) WHERE standing = 0 AND relates_to IS NOT NULL;

-- What each event names: the events before it, and those that allow it. They need not be here.
CREATE TABLE event_edges (
    event         INTEGER NOT NULL REFERENCES events,
    prev_event_id TEXT NOT NULL,
    PRIMARY KEY (event, prev_event_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE event_auth (
    event         INTEGER NOT NULL REFERENCES events,
    auth_event_id TEXT NOT NULL,
    PRIMARY KEY (event, auth_event_id)
) STRICT, WITHOUT ROWID;

-- Events that no accepted event names in prev_events yet.
CREATE TABLE forward_extremities (
    room  INTEGER NOT NULL REFERENCES rooms,
    event INTEGER NOT NULL REFERENCES events,
    PRIMARY KEY (room, event)
) STRICT, WITHOUT ROWID;

-- A state group is the state of a room at one point: the group before it, with some events put in.
-- A group without a predecessor has them all; chains are at most as long as max(100, entries).
CREATE TABLE state_groups (
    state_group INTEGER PRIMARY KEY,
    previous    INTEGER REFERENCES state_groups,
    chain       INTEGER NOT NULL,                      -- groups between this one and one without a predecessor
    entries     INTEGER NOT NULL                       -- state events in the whole state
) STRICT;
CREATE TABLE state_deltas (
    state_group INTEGER NOT NULL REFERENCES state_groups,
    event       INTEGER NOT NULL REFERENCES events,
    PRIMARY KEY (state_group, event)
) STRICT, WITHOUT ROWID;

-- The current state of each room.
CREATE TABLE current_state (
    room      INTEGER NOT NULL REFERENCES rooms,
    type      TEXT NOT NULL,
    state_key TEXT NOT NULL,
    event     INTEGER NOT NULL REFERENCES events,
    PRIMARY KEY (room, type, state_key)
) STRICT, WITHOUT ROWID;

-- The current membership of each user in each room, for looking it up by user.
CREATE TABLE memberships (
    user_id      TEXT NOT NULL,
    room         INTEGER NOT NULL REFERENCES rooms,
    membership   TEXT NOT NULL,                        -- invite, join, knock, leave, ban
    event        INTEGER NOT NULL REFERENCES events,   -- the member event that made it so
    forgotten    INTEGER NOT NULL DEFAULT 0,
    invite_state TEXT,                                 -- JSON list of stripped state, at the time of invite or knock
    PRIMARY KEY (user_id, room)
) STRICT, WITHOUT ROWID;
CREATE INDEX memberships_of_room ON memberships (room, membership);

CREATE TABLE aliases (
    alias   TEXT PRIMARY KEY,
    room    INTEGER NOT NULL REFERENCES rooms,
    creator TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_of_room ON aliases (room);

-- What a transaction ID was answered with; a retransmission gets the same, for some weeks.
CREATE TABLE transactions (
    user_id        TEXT NOT NULL,
    device_id      TEXT NOT NULL,
    endpoint       TEXT NOT NULL,                      -- kind and path, so that IDs of different endpoints differ
    transaction_id TEXT NOT NULL,
    event          INTEGER NOT NULL REFERENCES events,
    sent_ms        INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id, transaction_id, endpoint)
) STRICT, WITHOUT ROWID;
CREATE INDEX transactions_by_age ON transactions (sent_ms);

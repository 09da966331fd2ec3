-- Rooms, their events (the durable log), and the state before every event.
CREATE TABLE rooms (
    room        INTEGER PRIMARY KEY,
    room_id     TEXT NOT NULL UNIQUE,
    version     TEXT NOT NULL,
    listed      INTEGER NOT NULL DEFAULT 0,            -- 1: in the public directory
    state_group INTEGER REFERENCES state_groups        -- the state after the forward extremities
) STRICT;
CREATE INDEX rooms_listed ON rooms (room) WHERE listed = 1;

CREATE TABLE events (
    position         INTEGER PRIMARY KEY,              -- in the log
    event_id         TEXT NOT NULL UNIQUE,
    room             INTEGER NOT NULL REFERENCES rooms,
    standing         INTEGER NOT NULL,                 -- 0 accepted, 1 outlier, 2 soft-failed, 3 rejected
    type             TEXT NOT NULL,
    state_key        TEXT,                             -- NULL: not a state event
    sender           TEXT NOT NULL,
    origin_server_ts INTEGER NOT NULL,
    depth            INTEGER NOT NULL,
    pdu              TEXT NOT NULL,                    -- canonical JSON; the redacted form once redacted
    state_before     INTEGER REFERENCES state_groups,  -- NULL: an outlier, or the first event
    replaces         INTEGER REFERENCES events,        -- the state event of the same key before this one
    redacted_by      INTEGER REFERENCES events,
    relates_to       TEXT,                             -- event ID of content.m.relates_to
    rel_type         TEXT,
    device_id        TEXT,                             -- the device of ours that sent it, and
    transaction_id   TEXT                              -- the transaction ID it used
) STRICT;
CREATE INDEX events_timeline ON events (room, position) WHERE standing = 0;
CREATE INDEX events_state ON events (room, type, state_key, position) WHERE standing = 0 AND state_key IS NOT NULL;
CREATE INDEX events_state_changes ON events (room, position, type, state_key) WHERE standing = 0 AND state_key IS NOT NULL;
CREATE INDEX events_by_time ON events (room, origin_server_ts) WHERE standing = 0;
CREATE INDEX events_relations ON events (relates_to, position) WHERE standing = 0 AND relates_to IS NOT NULL;

-- Events that no accepted event names in prev_events yet.
CREATE TABLE forward_extremities (
    room     INTEGER NOT NULL REFERENCES rooms,
    position INTEGER NOT NULL REFERENCES events,
    PRIMARY KEY (room, position)
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
    position    INTEGER NOT NULL REFERENCES events,
    PRIMARY KEY (state_group, position)
) STRICT, WITHOUT ROWID;

-- The current state of each room.
CREATE TABLE current_state (
    room      INTEGER NOT NULL REFERENCES rooms,
    type      TEXT NOT NULL,
    state_key TEXT NOT NULL,
    position  INTEGER NOT NULL REFERENCES events,
    PRIMARY KEY (room, type, state_key)
) STRICT, WITHOUT ROWID;

-- The current membership of each user in each room, for looking it up by user.
CREATE TABLE memberships (
    user_id      TEXT NOT NULL,
    room         INTEGER NOT NULL REFERENCES rooms,
    membership   TEXT NOT NULL,                        -- invite, join, knock, leave, ban
    position     INTEGER NOT NULL REFERENCES events,
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
    position       INTEGER NOT NULL REFERENCES events,
    sent_ms        INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id, transaction_id, endpoint)
) STRICT, WITHOUT ROWID;
CREATE INDEX transactions_by_age ON transactions (sent_ms);

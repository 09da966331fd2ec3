-- What other servers are told of devices: when the keys of each of this server's users last changed, and those of devices
-- that are gone. A device called '' stands for the cross-signing keys.
CREATE TABLE device_changes (
    user_id   TEXT NOT NULL,
    device_id TEXT NOT NULL,
    position  INTEGER NOT NULL,          -- of the log: the number of the change
    previous  INTEGER NOT NULL,          -- that of the change of a device of this user before it; 0: there was none
    PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;

-- Which servers are still to be told of a user's changes after a position.
CREATE TABLE device_outbox (
    server  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    since   INTEGER NOT NULL,
    PRIMARY KEY (server, user_id)
) STRICT, WITHOUT ROWID;

-- One row: up to where it was found out who is to be told of changes.
CREATE TABLE device_outbox_upto (position INTEGER NOT NULL) STRICT;
INSERT INTO device_outbox_upto SELECT position FROM log;

-- Messages from devices here to devices there, until that server has acknowledged them.
CREATE TABLE to_device_outbox (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    server  TEXT NOT NULL,
    content TEXT NOT NULL                -- of the EDU, JSON
) STRICT;
CREATE INDEX to_device_outbox_by_server ON to_device_outbox (server, number);

-- Messages that came from other servers: what comes again does nothing.
CREATE TABLE to_device_received (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    origin     TEXT NOT NULL,
    message_id TEXT NOT NULL,
    UNIQUE (origin, message_id)
) STRICT;
CREATE INDEX to_device_received_by_origin ON to_device_received (origin, number);

-- NULL: a message from here; else the server that it came from, of which no more waits for a device than there is room for.
ALTER TABLE to_device ADD COLUMN origin TEXT;

-- Devices of users of other servers, as far as this server keeps up with them. Their cross-signing keys stand with those of
-- this server's users.
CREATE TABLE remote_lists (
    user_id    TEXT PRIMARY KEY,
    stream_id  INTEGER,                  -- what their server calls this version of the list; NULL: it did not say
    is_current INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE remote_devices (
    user_id      TEXT NOT NULL REFERENCES remote_lists ON DELETE CASCADE,
    device_id    TEXT NOT NULL,
    keys         TEXT NOT NULL,          -- JSON, as its server said
    display_name TEXT,
    PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;

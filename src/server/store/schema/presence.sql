-- What a user chose, and what others were shown of it: so that nobody blinks when the server restarts.
CREATE TABLE presence (
    user_id          TEXT PRIMARY KEY,
    choice           TEXT NOT NULL,   -- the state the user chose
    signed_off       INTEGER NOT NULL, -- 1: a device that knows only Matrix's words says "offline" over that
    status_msg       TEXT,
    shown            TEXT NOT NULL,   -- the state others saw
    shown_status_msg TEXT,
    last_active_ms   INTEGER,         -- Unix time of the last pro-active event
    last_seen_ms     INTEGER,         -- Unix time at which others last saw the user connected
    idle             TEXT             -- JSON: the devices that reported to be idle, and since when; NULL: none
) STRICT, WITHOUT ROWID;

-- The devices that stopped the delivery of presence.
CREATE TABLE presence_stopped (
    user_id   TEXT NOT NULL,
    device_id TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id),
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

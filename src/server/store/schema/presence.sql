-- What a user chose, and what the server has to remember of their presence.
CREATE TABLE presence (
    user_id        TEXT PRIMARY KEY,
    choice         TEXT NOT NULL,              -- the state the user chose (core::presence::State's word)
    status_msg     TEXT,
    connected      INTEGER NOT NULL,           -- 1: was not offline when last written
    last_active_ms INTEGER,                    -- Unix time of the last pro-active event
    last_seen_ms   INTEGER                     -- Unix time of the last connected device's end
) STRICT, WITHOUT ROWID;

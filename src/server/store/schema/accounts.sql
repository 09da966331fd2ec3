-- The name of the server whose data this is; one row.
CREATE TABLE server (name TEXT NOT NULL) STRICT;

-- Who has an account here, and with which devices.
CREATE TABLE users (
    user_id       TEXT PRIMARY KEY,
    password_hash TEXT,             -- PHC string; NULL: no password login
    displayname   TEXT,
    avatar_url    TEXT,
    created_ms    INTEGER NOT NULL,
    deactivated   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    user_id      TEXT NOT NULL REFERENCES users,
    device_id    TEXT NOT NULL,
    display_name TEXT,
    token_hash   BLOB NOT NULL UNIQUE,   -- SHA-256 of the access token; the token itself is not kept
    last_seen_ms INTEGER,
    our_words    INTEGER NOT NULL DEFAULT 0,   -- it has said something of presence that Matrix has no word for
    PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;

-- Devices whose access tokens end after a while, and what they get the next one for. All tokens are kept as their SHA-256.
CREATE TABLE refreshes (
    user_id           TEXT NOT NULL,
    device_id         TEXT NOT NULL,
    refresh_hash      BLOB NOT NULL UNIQUE,  -- the refresh token
    expires_ms        INTEGER NOT NULL,      -- until when the access token in devices is good
    last_hash         BLOB UNIQUE,           -- the access token before it, which is good as long as it was said to be
    last_expires_ms   INTEGER,
    next_hash         BLOB UNIQUE,           -- what was given out for the refresh token, which is good until one of it is used
    next_refresh_hash BLOB UNIQUE,
    next_expires_ms   INTEGER,
    PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;

-- Backups of room keys, encrypted by their owners. Of those that were deleted the row of the last one stays, so that no
-- version is given twice.
CREATE TABLE key_backups (
    user_id   TEXT NOT NULL REFERENCES users,
    version   INTEGER NOT NULL,
    algorithm TEXT NOT NULL,
    auth_data TEXT NOT NULL,             -- JSON
    etag      INTEGER NOT NULL,          -- grows with each change of its keys
    count     INTEGER NOT NULL,          -- its keys
    bytes     INTEGER NOT NULL,          -- and what they take
    deleted   INTEGER NOT NULL,
    PRIMARY KEY (user_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE backed_up_keys (
    user_id    TEXT NOT NULL,
    version    INTEGER NOT NULL,
    room_id    TEXT NOT NULL,
    session_id TEXT NOT NULL,
    first_message_index INTEGER NOT NULL,
    forwarded_count     INTEGER NOT NULL,
    is_verified         INTEGER NOT NULL,
    session_data        TEXT NOT NULL,   -- JSON
    PRIMARY KEY (user_id, version, room_id, session_id)
) STRICT, WITHOUT ROWID;

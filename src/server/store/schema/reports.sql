-- What users report to whoever runs the server.
CREATE TABLE reports (
    report      INTEGER PRIMARY KEY,
    reported_ms INTEGER NOT NULL,
    by_user     TEXT NOT NULL,
    room_id     TEXT,                                  -- NULL: a user is reported
    event_id    TEXT,                                  -- NULL: the room, or the user
    user_id     TEXT,
    reason      TEXT NOT NULL
) STRICT;

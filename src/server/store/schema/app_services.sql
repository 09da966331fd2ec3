-- How far each application service was told of the log, and what it is being told.
CREATE TABLE app_services (
    id          TEXT PRIMARY KEY,
    position    INTEGER NOT NULL,      -- everything up to here is in a transaction, or is nothing to it
    last        INTEGER NOT NULL,      -- the number of the transaction that was made last; 0: none
    waiting     TEXT                   -- its body, until it is acknowledged: it is sent again as it was
) STRICT, WITHOUT ROWID;

-- The rooms that it is told of, as of that position.
CREATE TABLE app_service_rooms (
    id      TEXT NOT NULL,
    room_id TEXT NOT NULL,
    PRIMARY KEY (id, room_id)
) STRICT, WITHOUT ROWID;

-- What users keep with their account: for all rooms, or for one. Tags and push rules are among it.
CREATE TABLE account_data (
    user_id  TEXT NOT NULL,
    room_id  TEXT NOT NULL,              -- '': for all rooms
    kind     TEXT NOT NULL,
    content  TEXT NOT NULL,              -- a JSON object
    position INTEGER NOT NULL,
    PRIMARY KEY (user_id, room_id, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX account_data_by_position ON account_data (user_id, position);

-- Filters that clients stored. The same filter is stored once.
CREATE TABLE filters (
    user_id   TEXT NOT NULL,
    filter_id INTEGER NOT NULL,
    filter    TEXT NOT NULL,
    PRIMARY KEY (user_id, filter_id),
    UNIQUE (user_id, filter)
) STRICT, WITHOUT ROWID;

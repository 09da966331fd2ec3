-- How far each user has read. One row per user, room, kind and thread: the latest one.
CREATE TABLE receipts (
    room_id  TEXT NOT NULL,
    user_id  TEXT NOT NULL,
    kind     TEXT NOT NULL,              -- m.read or m.read.private
    thread   TEXT NOT NULL DEFAULT '',   -- '': no thread; 'main' or an event ID
    event_id TEXT NOT NULL,
    ts_ms    INTEGER NOT NULL,
    shown    INTEGER NOT NULL,           -- 0: only to the user's own devices (private, or sent while hidden)
    position INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id, kind, thread)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_by_position ON receipts (room_id, position);

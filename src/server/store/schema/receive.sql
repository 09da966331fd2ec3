-- Redactions that came before what they redact.
CREATE TABLE early_redactions (
    target TEXT NOT NULL,                              -- an event ID
    event  INTEGER NOT NULL REFERENCES events,         -- the redaction
    PRIMARY KEY (target, event)
) STRICT, WITHOUT ROWID;

-- Events of other servers that were acknowledged before they were looked at: what they rest upon is being asked for.
CREATE TABLE inbound_events (
    number   INTEGER PRIMARY KEY,                      -- in the order in which they came
    origin   TEXT NOT NULL,                            -- the server that sent it
    room_id  TEXT NOT NULL,
    event_id TEXT NOT NULL,
    pdu      TEXT NOT NULL,
    UNIQUE (origin, event_id)
) STRICT;

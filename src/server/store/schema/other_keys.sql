-- The keys with which other servers sign and signed their events. Those that they publish no longer stay.
CREATE TABLE event_keys (
    server         TEXT NOT NULL,
    key_id         TEXT NOT NULL,
    public_key     BLOB NOT NULL,
    valid_until_ms INTEGER NOT NULL,     -- what says that it was signed later is not
    PRIMARY KEY (server, key_id)
) STRICT, WITHOUT ROWID;
INSERT INTO event_keys SELECT server, key_id, public_key, valid_until_ms FROM server_keys;

-- What other servers said last of their keys, for others who ask here. The oldest go.
CREATE TABLE key_documents (
    server     TEXT PRIMARY KEY,
    document   TEXT NOT NULL,            -- JSON, signed by that server
    fetched_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX key_documents_by_age ON key_documents (fetched_ms);

-- The servers of which there are keys, and when they were said last: of too many, those go that share no room with this one.
CREATE TABLE key_servers (
    server  TEXT PRIMARY KEY,
    said_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO key_servers SELECT DISTINCT server, 0 FROM server_keys;

-- Other servers' signing keys, as they published them.
CREATE TABLE server_keys (
    server         TEXT NOT NULL,
    key_id         TEXT NOT NULL,
    public_key     BLOB NOT NULL,
    valid_until_ms INTEGER NOT NULL,
    PRIMARY KEY (server, key_id)
) STRICT, WITHOUT ROWID;

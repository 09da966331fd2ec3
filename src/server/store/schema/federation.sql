-- Other servers' signing keys, as they published them.
CREATE TABLE server_keys (
    server         TEXT NOT NULL,
    key_id         TEXT NOT NULL,
    public_key     BLOB NOT NULL,
    valid_until_ms INTEGER NOT NULL,
    PRIMARY KEY (server, key_id)
) STRICT, WITHOUT ROWID;

-- The number of the last start, greater than all before.
CREATE TABLE federation_epoch (epoch INTEGER NOT NULL) STRICT;
INSERT INTO federation_epoch VALUES (0);

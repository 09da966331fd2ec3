-- What devices publish so that others can encrypt for them. Opaque here; clients check the signatures.
CREATE TABLE device_keys (
    user_id   TEXT NOT NULL,
    device_id TEXT NOT NULL,
    keys      TEXT NOT NULL,             -- JSON, as uploaded
    PRIMARY KEY (user_id, device_id),
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE one_time_keys (
    number    INTEGER PRIMARY KEY,       -- the oldest is claimed first
    user_id   TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id    TEXT NOT NULL,             -- with the algorithm: signed_curve25519:AAAAHQ
    key       TEXT NOT NULL,
    UNIQUE (user_id, device_id, key_id),
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
) STRICT;
CREATE INDEX one_time_keys_by_algorithm ON one_time_keys (user_id, device_id, algorithm, number);

CREATE TABLE fallback_keys (
    user_id   TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id    TEXT NOT NULL,
    key       TEXT NOT NULL,
    used      INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm),
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE cross_signing_keys (
    user_id TEXT NOT NULL,
    usage   TEXT NOT NULL,               -- master, self_signing or user_signing
    key     TEXT NOT NULL,               -- JSON, as uploaded
    PRIMARY KEY (user_id, usage)
) STRICT, WITHOUT ROWID;

-- Signatures that came after the key. Shown to their makers and, on one's own keys, to everybody.
CREATE TABLE key_signatures (
    user_id    TEXT NOT NULL,            -- whose key
    key_id     TEXT NOT NULL,            -- a device, or the public part of a cross-signing key
    signer     TEXT NOT NULL,
    signer_key TEXT NOT NULL,
    signature  TEXT NOT NULL,
    PRIMARY KEY (user_id, key_id, signer, signer_key)
) STRICT, WITHOUT ROWID;

-- When the set of a user's devices and keys last changed.
CREATE TABLE device_lists (
    user_id  TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX device_lists_by_position ON device_lists (position);

-- When what only the user sees of keys last changed: the user-signing key, signatures on keys of others.
CREATE TABLE own_key_views (
    user_id  TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

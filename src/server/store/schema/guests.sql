-- Accounts that are nobody's in particular: they end when they are not used.
CREATE TABLE guests (
    user_id TEXT PRIMARY KEY REFERENCES users
) STRICT, WITHOUT ROWID;

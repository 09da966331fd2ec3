-- Fields of profiles beyond name and picture, as JSON.
CREATE TABLE profile_fields (
    user_id TEXT NOT NULL REFERENCES users,
    name    TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (user_id, name)
) STRICT, WITHOUT ROWID;

-- Who may read one, as its owner said, in JSON; who said nothing of a field lets everybody. It is said of a name: the
-- field need not be there yet.
CREATE TABLE profile_readers (
    user_id TEXT NOT NULL REFERENCES users,
    name    TEXT NOT NULL,
    readers TEXT NOT NULL,
    PRIMARY KEY (user_id, name)
) STRICT, WITHOUT ROWID;

-- Files that users uploaded, those for which there is an address only, and those of other servers that are kept for a
-- while. What is in them lies in the folder of files.
CREATE TABLE media (
    origin       TEXT NOT NULL,               -- the server in its mxc URI
    media_id     TEXT NOT NULL,
    owner        TEXT,                        -- who uploads it; NULL: it is another server's
    created_ms   INTEGER NOT NULL,
    expires_ms   INTEGER,                     -- until when it can be uploaded; NULL: it is
    file         TEXT UNIQUE,                 -- its name in the folder; NULL: it is not uploaded
    size         INTEGER NOT NULL DEFAULT 0,  -- in bytes
    content_type TEXT,                        -- as its owner says
    file_name    TEXT,                        -- as its owner calls it
    used_ms      INTEGER NOT NULL DEFAULT 0,  -- when another server's was looked at last
    PRIMARY KEY (origin, media_id)
) STRICT, WITHOUT ROWID;

-- What users have uploaded: counted, not summed anew for each file.
CREATE TABLE media_owners (
    owner TEXT PRIMARY KEY,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was made of pictures, and lies beside them in the folder of files: all of it can be made again.
CREATE TABLE thumbnails (
    file    TEXT NOT NULL,     -- the name of the picture in the folder
    name    TEXT NOT NULL,     -- its own, beside that
    size    INTEGER NOT NULL,  -- what it takes of the disk, in bytes
    used_ms INTEGER NOT NULL,  -- when it was looked at last, to an hour
    PRIMARY KEY (file, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX thumbnails_by_use ON thumbnails (used_ms);
CREATE INDEX media_awaited_by ON media (owner, expires_ms) WHERE file IS NULL;
CREATE INDEX media_awaited ON media (expires_ms) WHERE file IS NULL;
CREATE INDEX media_borrowed ON media (used_ms) WHERE owner IS NULL;

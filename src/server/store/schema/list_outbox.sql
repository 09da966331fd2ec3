-- What other servers are still to be told of presence lists: of each half of each pair of users the
-- latest message, until the other's server has acknowledged it.
CREATE TABLE list_outbox (
    server  TEXT NOT NULL,           -- that is to be told
    owner   TEXT NOT NULL,           -- the user of this server
    contact TEXT NOT NULL,           -- the user of that server
    half    TEXT NOT NULL,           -- 'asking' or 'answering'
    kind    TEXT NOT NULL,           -- core::list::Kind
    seq     INTEGER NOT NULL,
    PRIMARY KEY (server, owner, contact, half)
) STRICT, WITHOUT ROWID;

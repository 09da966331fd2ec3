-- What each user keeps about others: who observes whom, groups, ACL pointer.
CREATE TABLE contacts (
    owner   TEXT NOT NULL,
    contact TEXT NOT NULL,
    data    TEXT NOT NULL,           -- core::list::Contact as JSON
    PRIMARY KEY (owner, contact)
) STRICT, WITHOUT ROWID;

-- How each user shares presence and takes invites, where it is not the default.
CREATE TABLE contact_settings (
    owner TEXT PRIMARY KEY,
    data  TEXT NOT NULL              -- server::list::Settings as JSON
) STRICT, WITHOUT ROWID;

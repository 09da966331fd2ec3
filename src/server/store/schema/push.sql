-- Where users are told of events while no client of theirs runs.
CREATE TABLE pushers (
    pusher    INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: what one was told is not what another was
    user_id   TEXT NOT NULL REFERENCES users,
    device_id TEXT NOT NULL,                      -- the device that set it, with which it goes
    app_id    TEXT NOT NULL,
    pushkey   TEXT NOT NULL,
    set_ms    INTEGER NOT NULL,
    body      TEXT NOT NULL,                      -- JSON: as its user is shown it
    told      INTEGER NOT NULL,                   -- position in the log up to which it was told everything
    UNIQUE (user_id, app_id, pushkey)
) STRICT;
CREATE INDEX pushers_by_key ON pushers (app_id, pushkey);

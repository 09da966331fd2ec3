-- Messages from device to device, kept until the receiving device has acknowledged them.
CREATE TABLE to_device (
    user_id   TEXT NOT NULL,
    device_id TEXT NOT NULL,
    position  INTEGER NOT NULL,
    event     TEXT NOT NULL,             -- JSON as the client gets it
    PRIMARY KEY (user_id, device_id, position)
) STRICT, WITHOUT ROWID;

-- Transaction IDs of sent ones: a retransmission is answered and does nothing.
CREATE TABLE to_device_transactions (
    user_id    TEXT NOT NULL,
    device_id  TEXT NOT NULL,
    event_type TEXT NOT NULL,
    txn_id     TEXT NOT NULL,
    sent_ms    INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id, event_type, txn_id)
) STRICT, WITHOUT ROWID;

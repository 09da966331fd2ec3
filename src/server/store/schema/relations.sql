-- What is gathered of the events that relate to one: edits, threads, references. Everything that is counted is in it.
CREATE INDEX events_aggregated ON events (relates_to, rel_type, room, sender, origin_server_ts, timeline)
    WHERE standing = 0 AND redacted_by IS NULL AND rel_type IN ('m.replace', 'm.thread', 'm.reference');

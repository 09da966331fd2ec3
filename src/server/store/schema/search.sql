-- The words of messages, names and topics, for finding events by them; nothing of encrypted ones. A row's rowid is the number
-- of its event; the texts themselves are not kept a second time. An edit has a row of its own, with the text that it brings.
CREATE VIRTUAL TABLE search USING fts5(
    text,
    room,                                              -- 'r' and the number of the room
    content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO search (rowid, text, room)
    SELECT event, text, 'r' || room FROM (
        SELECT event, room, CASE type
            WHEN 'm.room.name' THEN json_extract(pdu, '$.content.name')
            WHEN 'm.room.topic' THEN json_extract(pdu, '$.content.topic')
            ELSE coalesce(iif(rel_type = 'm.replace', json_extract(pdu, '$.content."m.new_content".body'), NULL),
                          json_extract(pdu, '$.content.body'))
            END AS text
        FROM events
        WHERE standing = 0 AND redacted_by IS NULL
        AND (type = 'm.room.message' AND state_key IS NULL OR type IN ('m.room.name', 'm.room.topic') AND state_key = ''))
    WHERE typeof(text) = 'text' AND text <> '';

-- Threads of a room, by their last events.
CREATE INDEX events_threads ON events (room, timeline, relates_to, sender)
    WHERE standing = 0 AND redacted_by IS NULL AND rel_type = 'm.thread';

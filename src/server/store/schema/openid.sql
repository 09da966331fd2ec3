-- Tokens with which users show to others who they are.
CREATE TABLE openid_tokens (
    token_hash BLOB PRIMARY KEY,         -- SHA-256
    user_id    TEXT NOT NULL REFERENCES users,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX openid_tokens_of_user ON openid_tokens (user_id, expires_ms);

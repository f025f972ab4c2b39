-- Live streams. What the API can filter by has a column of its own; the rest is JSON that old rows can lack fields of.
CREATE TABLE live_streams (
    id          TEXT PRIMARY KEY,
    -- Orders the list; two live streams can be made in one millisecond.
    number      BIGINT NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL,
    -- SHA-256 of the stream key, for look-ups by key.
    key_hash    BLOB NOT NULL UNIQUE,
    status      TEXT NOT NULL,
    state       TEXT NOT NULL,
    settings    TEXT NOT NULL,
    -- Stream key, SRT passphrase and simulcast targets, encrypted with the key file.
    secrets     BLOB NOT NULL
);
CREATE INDEX live_streams_by_status ON live_streams (status, number);

CREATE TABLE playback_ids (
    id                   TEXT PRIMARY KEY,
    live_stream_id       TEXT NOT NULL REFERENCES live_streams (id) ON DELETE CASCADE,
    place                BIGINT NOT NULL,
    policy               TEXT NOT NULL,
    drm_configuration_id TEXT
);
CREATE INDEX playback_ids_by_live_stream ON playback_ids (live_stream_id, place);

-- Access tokens that the server made itself; only a hash of the secret is kept.
CREATE TABLE access_tokens (
    id          TEXT PRIMARY KEY,
    secret_hash BLOB NOT NULL,
    created_at  BIGINT NOT NULL
);

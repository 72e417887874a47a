-- +goose Up

-- Tokens with which hosts join: the SHA-256 of the secret, never the secret.
CREATE TABLE host_tokens (
  id         TEXT PRIMARY KEY,
  host       TEXT NOT NULL,
  hash       BLOB NOT NULL CHECK (length(hash) = 32),
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL DEFAULT 0,
  joined_at  INTEGER NOT NULL DEFAULT 0,
  revoked_at INTEGER NOT NULL DEFAULT 0,
  by         TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- Up to which number the events of a host are stored; an epoch is one data folder
-- of its agent.
CREATE TABLE host_progress (
  host  TEXT NOT NULL,
  epoch TEXT NOT NULL,
  seq   INTEGER NOT NULL,
  PRIMARY KEY (host, epoch)
) STRICT, WITHOUT ROWID;

-- What hosts have reported: see fabric.Event. The last days of it.
CREATE TABLE host_events (
  host  TEXT NOT NULL,
  epoch TEXT NOT NULL,
  seq   INTEGER NOT NULL,
  at    INTEGER NOT NULL,
  run   TEXT NOT NULL DEFAULT '',
  doc   TEXT NOT NULL,
  PRIMARY KEY (host, epoch, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX host_events_run ON host_events (run, at) WHERE run <> '';
CREATE INDEX host_events_at ON host_events (at);

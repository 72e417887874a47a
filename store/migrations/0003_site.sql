-- +goose Up

-- The machines that Sluice has changed or may change. prior: how the machine was
-- before, in its driver's own form; asleep: Sluice put it to sleep and must wake
-- it. All times of this file: nanoseconds since 1970 UTC, site time.
CREATE TABLE machines (
  name   TEXT    PRIMARY KEY,
  prior  BLOB,
  want   TEXT    NOT NULL,
  asleep INTEGER NOT NULL,
  since  INTEGER NOT NULL
) STRICT;

CREATE TABLE pins (
  machine TEXT PRIMARY KEY,
  doc     TEXT NOT NULL
) STRICT;

-- The records of the loop, as JSON.
CREATE TABLE decisions (
  id  INTEGER PRIMARY KEY,
  at  INTEGER NOT NULL,
  doc TEXT    NOT NULL
) STRICT;

CREATE TABLE curtailments (
  id         TEXT    PRIMARY KEY,
  ordered_at INTEGER NOT NULL,
  state      TEXT    NOT NULL,
  doc        TEXT    NOT NULL
) STRICT;
CREATE INDEX curtailments_state ON curtailments (state);

CREATE TABLE alarms (
  id   INTEGER PRIMARY KEY,
  open INTEGER NOT NULL,
  doc  TEXT    NOT NULL
) STRICT;
CREATE INDEX alarms_open ON alarms (open) WHERE open = 1;

-- One row for each minute, for pictures.
CREATE TABLE samples (
  at  INTEGER PRIMARY KEY,
  doc TEXT    NOT NULL
) STRICT;

-- What was settled of each interval, so that a restated price can be corrected.
CREATE TABLE settlements (
  from_at     INTEGER PRIMARY KEY,
  corrections INTEGER NOT NULL,
  doc         TEXT    NOT NULL
) STRICT;

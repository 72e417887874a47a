-- +goose Up

-- One row for each job. What is asked of the database has its own column, the
-- whole record is in doc (JSON); submitted_at: nanoseconds since 1970 UTC.
CREATE TABLE jobs (
  id           TEXT    PRIMARY KEY,
  tenant       TEXT    NOT NULL,
  request      TEXT    NOT NULL, -- the tenant's idempotency key, '' for none
  state        TEXT    NOT NULL,
  submitted_at INTEGER NOT NULL,
  doc          TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX jobs_request ON jobs (tenant, request) WHERE request <> '';

-- What was billed of a job: unit-milliseconds and micro-USD. It changes only
-- together with the entry that posts it.
CREATE TABLE job_billing (
  job       TEXT    PRIMARY KEY REFERENCES jobs (id),
  unit_ms   INTEGER NOT NULL,
  micro_usd INTEGER NOT NULL
) STRICT;

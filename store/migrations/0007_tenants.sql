-- +goose Up

-- Clients of the AI division. doc: compute.Tenant; all versions of it are kept,
-- since each placement names the one that it was made by. Times: nanoseconds
-- since 1970 UTC.
CREATE TABLE tenants (
  name    TEXT    PRIMARY KEY,
  version INTEGER NOT NULL,
  doc     TEXT    NOT NULL
) STRICT;
CREATE TABLE tenant_versions (
  name    TEXT    NOT NULL,
  version INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  by      TEXT    NOT NULL,
  doc     TEXT    NOT NULL,
  PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

-- hash: SHA-256 of the token, which is nowhere itself. doc: tenant.Token.
CREATE TABLE tenant_tokens (
  id     TEXT PRIMARY KEY,
  tenant TEXT NOT NULL REFERENCES tenants (name),
  hash   BLOB NOT NULL,
  doc    TEXT NOT NULL
) STRICT;

-- What was posted to each tenant in each calendar month (UTC), kept by a trigger
-- so that no writer can forget it. tenant: as in the account's name (a segment).
CREATE TABLE spending (
  tenant TEXT    NOT NULL,
  month  TEXT    NOT NULL, -- 2026-01
  amount INTEGER NOT NULL, -- micro-USD
  PRIMARY KEY (tenant, month)
) STRICT, WITHOUT ROWID;

INSERT INTO spending (tenant, month, amount)
SELECT CASE WHEN instr(substr(p.account, 12), ':') > 0
         THEN substr(p.account, 12, instr(substr(p.account, 12), ':') - 1) ELSE substr(p.account, 12) END,
       strftime('%Y-%m', e.at / 1000000000, 'unixepoch'), -sum(p.amount)
FROM postings p JOIN entries e ON e.seq = p.entry
WHERE p.account >= 'revenue:ai:' AND p.account < 'revenue:ai;' AND p.commodity = 'USD'
GROUP BY 1, 2;

-- +goose StatementBegin
CREATE TRIGGER postings_spending AFTER INSERT ON postings
WHEN substr(NEW.account, 1, 11) = 'revenue:ai:' AND NEW.commodity = 'USD' BEGIN
  INSERT INTO spending (tenant, month, amount)
  SELECT CASE WHEN instr(substr(NEW.account, 12), ':') > 0
           THEN substr(NEW.account, 12, instr(substr(NEW.account, 12), ':') - 1) ELSE substr(NEW.account, 12) END,
         strftime('%Y-%m', at / 1000000000, 'unixepoch'), -NEW.amount
  FROM entries WHERE seq = NEW.entry
  ON CONFLICT (tenant, month) DO UPDATE SET amount = amount + excluded.amount;
END;
-- +goose StatementEnd

-- Secrets of jobs, encrypted under a key of each job's own that is not in this
-- database: whoever has only this, or a backup of it, has nothing. sealed is
-- empty once they are erased.
CREATE TABLE secrets (
  job       TEXT    PRIMARY KEY,
  sealed    BLOB    NOT NULL,
  erased_at INTEGER
) STRICT;

-- Wiping of ended jobs' data: what was to be done stands here before it is.
-- doc: compute.Wipe.
CREATE TABLE wipes (
  job      TEXT    PRIMARY KEY,
  asked_at INTEGER NOT NULL,
  done     INTEGER NOT NULL,
  doc      TEXT    NOT NULL
) STRICT;
CREATE INDEX wipes_open ON wipes (job) WHERE done = 0;
CREATE INDEX wipes_at ON wipes (asked_at);

-- Decisions where jobs go, the newest of each job. doc: compute.Placement.
CREATE TABLE placements (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  job TEXT    NOT NULL,
  doc TEXT    NOT NULL
) STRICT;
CREATE INDEX placements_job ON placements (job, seq);

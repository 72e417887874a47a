-- +goose Up

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

-- The journal. at: nanoseconds since 1970 UTC; meta: a JSON object of strings.
CREATE TABLE entries (
  seq      INTEGER PRIMARY KEY AUTOINCREMENT,
  id       TEXT    NOT NULL UNIQUE,
  at       INTEGER NOT NULL,
  text     TEXT    NOT NULL,
  division TEXT    NOT NULL,
  corrects TEXT    NOT NULL,
  meta     TEXT    NOT NULL
) STRICT;
CREATE INDEX entries_at ON entries (at, seq);

-- entry: entries.seq; amount: millionths of the commodity, debit positive.
CREATE TABLE postings (
  entry     INTEGER NOT NULL REFERENCES entries (seq),
  line      INTEGER NOT NULL,
  account   TEXT    NOT NULL,
  commodity TEXT    NOT NULL,
  amount    INTEGER NOT NULL,
  memo      TEXT    NOT NULL,
  PRIMARY KEY (entry, line)
) STRICT, WITHOUT ROWID;
CREATE INDEX postings_account ON postings (account, commodity, entry);

-- The running balance of each account, kept by a trigger so that no writer can
-- forget it. A sum that leaves 64 bits becomes a REAL, which STRICT refuses.
CREATE TABLE balances (
  account   TEXT    NOT NULL,
  commodity TEXT    NOT NULL,
  amount    INTEGER NOT NULL,
  PRIMARY KEY (account, commodity)
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER postings_balance AFTER INSERT ON postings BEGIN
  INSERT INTO balances (account, commodity, amount) VALUES (NEW.account, NEW.commodity, NEW.amount)
  ON CONFLICT (account, commodity) DO UPDATE SET amount = amount + excluded.amount;
END;
-- +goose StatementEnd

-- Nothing in the journal is ever changed; REPLACE would delete without a
-- DELETE trigger, so a taken id or seq is refused before.
-- +goose StatementBegin
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER entries_no_replace BEFORE INSERT ON entries
WHEN EXISTS (SELECT 1 FROM entries WHERE id = NEW.id OR seq = NEW.seq) BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER postings_no_update BEFORE UPDATE ON postings BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER postings_no_delete BEFORE DELETE ON postings BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END;
-- +goose StatementEnd
-- Postings belong to the newest entry: older ones are closed.
-- +goose StatementBegin
CREATE TRIGGER postings_only_newest BEFORE INSERT ON postings
WHEN NEW.entry IS NOT (SELECT max(seq) FROM entries)
  OR EXISTS (SELECT 1 FROM postings WHERE entry = NEW.entry AND line = NEW.line) BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END;
-- +goose StatementEnd

-- +goose Up

-- What was learned: how soon power moves, of machines and firmwares, and what
-- classes draw and hash in their modes. kind and key: see site.Lesson.
CREATE TABLE lessons (
  kind TEXT NOT NULL,
  key  TEXT NOT NULL,
  doc  TEXT NOT NULL,
  PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

-- Sluice has switched the machine's outlet off and must switch it on again.
ALTER TABLE machines ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;

-- +goose Up

-- What the feeds have said of the price of power, for what learns from it: the
-- newest of each interval, USD/MWh. quantity: feed.Quantity; times: nanoseconds
-- since 1970 UTC.
CREATE TABLE prices (
  quantity     TEXT    NOT NULL,
  from_at      INTEGER NOT NULL,
  to_at        INTEGER NOT NULL,
  published_at INTEGER NOT NULL,
  value        REAL    NOT NULL,
  PRIMARY KEY (quantity, from_at)
) STRICT, WITHOUT ROWID;

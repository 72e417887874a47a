-- +goose Up

-- What was credited of a job for promises that were not kept, micro-USD. Like what
-- was billed it changes only together with the entry that posts it.
ALTER TABLE job_billing ADD COLUMN credit_micro_usd INTEGER NOT NULL DEFAULT 0;

-- The energy that was posted with it, in thousandths of a watt-hour.
ALTER TABLE job_billing ADD COLUMN milli_wh INTEGER NOT NULL DEFAULT 0;

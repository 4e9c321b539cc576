-- Version 6: in which order jobs changed, so that whoever follows them can go on where it stopped.
--
-- Each change of a job gives it the next number. Numbers are never given twice: every start of the server begins
-- a range of its own (`changes` in `meta` counts the starts), whatever was deleted meanwhile.

ALTER TABLE jobs ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_changed ON jobs (changed) WHERE changed > 0;
INSERT INTO meta (name, value) VALUES ('changes', '0') ON CONFLICT (name) DO NOTHING;

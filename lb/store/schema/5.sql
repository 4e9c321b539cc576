-- Version 5: jobs that were purged, and what is left of them to be deleted.

-- Ids that are known no longer but must not be given again to who asks for a new one. A job that comes again leaves.
CREATE TABLE purged (
    unique_part TEXT    PRIMARY KEY,
    at          INTEGER NOT NULL       -- microseconds since the epoch
) WITHOUT ROWID;

-- Jobs whose row is deleted already and whose events, which may be many, go next. Their keys are not given again.
CREATE TABLE doomed (
    job INTEGER PRIMARY KEY
);

-- Dumps take events by the time of their arrival.
CREATE INDEX events_arrived ON events (arrived);

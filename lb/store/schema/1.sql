-- Version 1 of the store.
--
-- Texts in these tables are ISO-8859-1 views of the bytes that travelled, so that any bytes compare and sort
-- as bytes. Times are microseconds since the epoch. There is no foreign key: one writer keeps the tables in step,
-- in one transaction a batch.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- One row a job. `status` is lb.state.job.encode() and carries its own version.
CREATE TABLE jobs (
    id          INTEGER PRIMARY KEY,
    unique_part TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    port        INTEGER NOT NULL,
    owner       TEXT    NOT NULL,      -- registered owner, normalised
    owner_key   TEXT    NOT NULL,      -- comparable form of the owner
    grey        INTEGER NOT NULL,      -- 1: events came before any registration
    parent      TEXT,                  -- unique part of the parent job
    acl         TEXT,                  -- GACL document
    status      BLOB    NOT NULL
);
CREATE UNIQUE INDEX jobs_unique ON jobs (unique_part);
CREATE INDEX jobs_owner ON jobs (owner_key);
CREATE INDEX jobs_parent ON jobs (parent) WHERE parent IS NOT NULL;

-- Long texts of a job (JDL and the like), apart so that a change of state does not rewrite them.
CREATE TABLE texts (
    job     INTEGER PRIMARY KEY,
    content BLOB NOT NULL              -- lb.state.job.encode_texts()
);

-- Events in the order of their arrival. `digest` tells an event from all others of its job.
CREATE TABLE events (
    id      INTEGER PRIMARY KEY,
    job     INTEGER NOT NULL,
    arrived INTEGER NOT NULL,
    digest  BLOB    NOT NULL,
    line    BLOB    NOT NULL           -- as it came, without LF
);
CREATE UNIQUE INDEX events_of_job ON events (job, digest);

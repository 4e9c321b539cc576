-- Version 4: values of jobs that queries start from.
--
-- Owner and parent are columns of `jobs` with the unique part behind them, so that long lists are read in their
-- order, a page at a time. Everything else that is configured to be indexed stands in `indexed`.

DROP INDEX jobs_owner;
CREATE INDEX jobs_owner ON jobs (owner_key, unique_part);
CREATE INDEX jobs_family ON jobs (parent, unique_part) WHERE parent IS NOT NULL;

-- Columns that are filled or being filled; a job has a row in `indexed` for each that it has a value in.
CREATE TABLE index_columns (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: rows of a dropped one outlive it
    title   TEXT    NOT NULL,          -- lb.model.indexing.Column.title; the text is a view as everywhere
    filled  INTEGER,                   -- key of the last job whose value is in; NULL: those of all jobs are
    dropped INTEGER NOT NULL           -- 1: its rows go next
);

CREATE TABLE indexed (
    column_id   INTEGER NOT NULL,
    value       NOT NULL,              -- number, or the beginning of a text
    unique_part TEXT    NOT NULL,
    job         INTEGER NOT NULL,
    PRIMARY KEY (column_id, value, unique_part)
) WITHOUT ROWID;
CREATE INDEX indexed_job ON indexed (job, column_id);

-- Version 3: connections between jobs, e.g. a job and the virtual machine it runs on.
--
-- Each side keeps its own row. The other job is held by its whole id: it may be another server's (S32).

CREATE TABLE connections (
    job    INTEGER NOT NULL,
    other  TEXT    NOT NULL,           -- id of the other job
    type   INTEGER NOT NULL,           -- job type of the other, as in a status
    status INTEGER NOT NULL,           -- lb.store.interface.Link
    PRIMARY KEY (job, other)
) WITHOUT ROWID;
CREATE INDEX connections_other ON connections (other);

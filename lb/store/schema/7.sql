-- Version 7: how many jobs entered a state, and how long they took, counted in slots of time.
--
-- New counts go into slots of 10 s; older slots are merged into 60 s, 900 s, 3600 s and forgotten after a week.

CREATE TABLE statistics (
    counter  TEXT    NOT NULL,         -- lb.server.statistics.Counter.name
    grp      TEXT    NOT NULL,         -- destination
    start    INTEGER NOT NULL,         -- seconds since the epoch
    width    INTEGER NOT NULL,         -- seconds
    number   INTEGER NOT NULL,
    total    REAL    NOT NULL,         -- seconds
    squares  REAL    NOT NULL,
    PRIMARY KEY (counter, grp, start, width)
) WITHOUT ROWID;
CREATE INDEX statistics_age ON statistics (width, start);

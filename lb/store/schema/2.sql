-- Version 2: registrations for notifications, and the outbox of what they are to be told.
--
-- What several registrations are told is stored once: `notices` holds the states, `outbox` who gets which.
-- A notice without a row in the outbox has been delivered to everybody and is deleted with the last row.

CREATE TABLE registrations (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: the outbox of a dropped one outlives it
    unique_part TEXT,                  -- of the notification id, without NOTIF:; NULL: dropped, its outbox goes next
    host        TEXT    NOT NULL,      -- server part of the id as its client made it
    port        INTEGER NOT NULL,
    owner       TEXT    NOT NULL,      -- normalised
    destination TEXT    NOT NULL,      -- HOST:PORT, or another kind of address
    valid       INTEGER NOT NULL,      -- seconds since the epoch
    content     BLOB    NOT NULL       -- lb.server.notify.registration.encode(), with its own version
);
CREATE UNIQUE INDEX registrations_unique ON registrations (unique_part) WHERE unique_part IS NOT NULL;
CREATE INDEX registrations_dropped ON registrations (id) WHERE unique_part IS NULL;

-- Numbers grow in the order of the changes.
CREATE TABLE notices (
    id      INTEGER PRIMARY KEY,
    written INTEGER NOT NULL,          -- microseconds since the epoch
    content BLOB    NOT NULL           -- lb.state.job.encode() of the state as it is told
);

CREATE TABLE outbox (
    registration INTEGER NOT NULL,
    notice       INTEGER NOT NULL,
    size         INTEGER NOT NULL,     -- bytes of the notice
    PRIMARY KEY (registration, notice)
) WITHOUT ROWID;
CREATE INDEX outbox_of_notice ON outbox (notice);

-- Jobs that changed while the outbox of a registration was full: of these only the latest state will be told.
CREATE TABLE missed (
    registration INTEGER NOT NULL,
    job          INTEGER NOT NULL,
    PRIMARY KEY (registration, job)
) WITHOUT ROWID;

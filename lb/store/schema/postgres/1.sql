-- Version 1 of the store in PostgreSQL.
--
-- Texts in these tables are bytes as they travelled, so that any bytes can be held, and compare and sort as bytes.
-- Times are microseconds since the epoch. There is no foreign key: one writer keeps the tables in step, in one
-- transaction a batch. `meta` was made before, with the version of the schema in it.

INSERT INTO meta (name, value) VALUES ('changes', '0');

-- One row a job. `status` is lb.state.job.encode() and carries its own version.
CREATE TABLE jobs (
    id          bigint  PRIMARY KEY,
    unique_part bytea   NOT NULL,
    host        bytea   NOT NULL,
    port        integer NOT NULL,
    owner       bytea   NOT NULL,      -- registered owner, normalised
    owner_key   bytea   NOT NULL,      -- beginning of the comparable form of the owner
    grey        boolean NOT NULL,      -- events came before any registration
    parent      bytea,                 -- unique part of the parent job
    acl         bytea,                 -- GACL document
    status      bytea   NOT NULL,
    changed     bigint  NOT NULL       -- number of the job's last change, never given twice
);
CREATE UNIQUE INDEX jobs_unique ON jobs (unique_part);
CREATE INDEX jobs_owner ON jobs (owner_key, unique_part);
CREATE INDEX jobs_owned ON jobs (owner_key, id);
CREATE INDEX jobs_family ON jobs (parent, unique_part) WHERE parent IS NOT NULL;
CREATE INDEX jobs_parent ON jobs (parent, id) WHERE parent IS NOT NULL;
CREATE INDEX jobs_changed ON jobs (changed);

-- Long texts of a job (JDL and the like), apart so that a change of state does not rewrite them.
CREATE TABLE texts (
    job     bigint PRIMARY KEY,
    content bytea  NOT NULL            -- lb.state.job.encode_texts()
);

-- Events in the order of their arrival. `digest` tells an event from all others of its job.
CREATE TABLE events (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job     bigint NOT NULL,
    arrived bigint NOT NULL,
    digest  bytea  NOT NULL,
    line    bytea  NOT NULL            -- as it came, without LF
);
CREATE UNIQUE INDEX events_of_job ON events (job, digest);
CREATE INDEX events_in_order ON events (job, id);
CREATE INDEX events_arrived ON events (arrived, id);

-- Registrations for notifications.
CREATE TABLE registrations (
    id          bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- never given twice: an outbox outlives it
    unique_part bytea,                 -- of the notification id, without NOTIF:; NULL: dropped, its outbox goes next
    host        bytea   NOT NULL,      -- server part of the id as its client made it
    port        integer NOT NULL,
    owner       bytea   NOT NULL,      -- normalised
    destination bytea   NOT NULL,      -- HOST:PORT, or another kind of address
    valid       bigint  NOT NULL,      -- seconds since the epoch
    content     bytea   NOT NULL       -- lb.server.notify.registration.encode(), with its own version
);
CREATE UNIQUE INDEX registrations_unique ON registrations (unique_part) WHERE unique_part IS NOT NULL;
CREATE INDEX registrations_dropped ON registrations (id) WHERE unique_part IS NULL;

-- States that are told, once for all who are told the same. Numbers grow in the order of the changes.
CREATE TABLE notices (
    id      bigint PRIMARY KEY,
    written bigint NOT NULL,
    content bytea  NOT NULL            -- lb.state.job.encode() of the state as it is told
);

-- Who gets which. A notice that nobody waits for is deleted with the last row here.
CREATE TABLE outbox (
    registration bigint NOT NULL,
    notice       bigint NOT NULL,
    size         bigint NOT NULL,      -- bytes of the notice
    PRIMARY KEY (registration, notice)
);
CREATE INDEX outbox_of_notice ON outbox (notice);

-- Jobs that changed while the outbox of a registration was full: of these only the latest state will be told.
CREATE TABLE missed (
    registration bigint NOT NULL,
    job          bigint NOT NULL,
    PRIMARY KEY (registration, job)
);

-- Connections between jobs: each side keeps its own row, the other is held by its whole id.
CREATE TABLE connections (
    job    bigint  NOT NULL,
    other  bytea   NOT NULL,           -- id of the other job
    type   integer NOT NULL,           -- job type of the other, as in a status
    status integer NOT NULL,           -- lb.store.interface.Link
    PRIMARY KEY (job, other)
);
CREATE INDEX connections_other ON connections (other);

-- Columns that are filled or being filled; a job has a row in `indexed` for each that it has a value in.
CREATE TABLE index_columns (
    id      bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- never given twice: rows of a dropped one outlive it
    title   bytea   NOT NULL,          -- lb.model.indexing.Column.title
    filled  bigint,                    -- key of the last job whose value is in; NULL: those of all jobs are
    dropped boolean NOT NULL           -- its rows go next
);

CREATE TABLE indexed (
    column_id   bigint NOT NULL,
    value       bytea  NOT NULL,       -- lb.store.postgres_columns.sortable()
    unique_part bytea  NOT NULL,
    job         bigint NOT NULL,
    PRIMARY KEY (column_id, value, unique_part)
);
CREATE INDEX indexed_job ON indexed (job, column_id);

-- Ids of purged jobs: known no longer, and not given again to who asks for a new one. A job that comes again leaves.
CREATE TABLE purged (
    unique_part bytea  PRIMARY KEY,
    at          bigint NOT NULL
);

-- Jobs whose row is deleted already and whose events, which may be many, go next. Their keys are not given again.
CREATE TABLE doomed (
    job bigint PRIMARY KEY
);

-- How many jobs entered a state, and how long they took, counted in slots of time.
CREATE TABLE statistics (
    counter text             NOT NULL, -- lb.server.statistics.Counter.name
    grp     bytea            NOT NULL, -- destination
    start   bigint           NOT NULL, -- seconds since the epoch
    width   integer          NOT NULL, -- seconds
    number  bigint           NOT NULL,
    total   double precision NOT NULL, -- seconds
    squares double precision NOT NULL,
    PRIMARY KEY (counter, grp, start, width)
);
CREATE INDEX statistics_age ON statistics (width, start);

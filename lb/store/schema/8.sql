-- Version 8: jobs of an owner by age, newest first.

CREATE INDEX jobs_owned ON jobs (owner_key);  -- the row numbers are part of it

"""Jobs of families that a site describes in a file of its own (docs/job-families.md)."""

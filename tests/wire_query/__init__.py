"""Tests of the query protocol's values and codecs."""

"""Tests of the documents and lines of notifications."""

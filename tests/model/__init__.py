"""Tests of identifiers, the catalogue, sequence codes and the status record."""

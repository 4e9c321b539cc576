"""Tests of the logger."""

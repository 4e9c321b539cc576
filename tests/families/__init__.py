"""Tests of the families that come with lb."""

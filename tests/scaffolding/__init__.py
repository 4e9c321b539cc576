"""Tests of what builds, runs and tests the project."""

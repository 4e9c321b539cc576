"""Tests of the codecs of the logging path."""

"""Codecs of the L&B wire formats: bytes in, values out, cut at any byte. They know neither Twisted nor storage."""

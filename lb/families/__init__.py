"""Job families that come with lb: their descriptions, and converters of what their systems write into events."""

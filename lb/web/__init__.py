"""Pages for browsers and scripts on top of the server's questions; knows no storage."""

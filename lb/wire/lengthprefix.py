"""The one reader of messages that announce their length: interlogger frames and producer messages.

It takes bytes cut anywhere, refuses a bad header before memory is spent on what it announces,
holds no more than one begun message, and copies each byte a fixed number of times.
"""

from __future__ import annotations


class LengthPrefixError(Exception):
    """Bytes that begin no message: nothing after them can be read. `complete` holds the messages before them."""

    def __init__(self, reason: str, complete: list[bytes] | None = None) -> None:
        super().__init__(reason)
        self.complete = complete if complete is not None else []


class LengthPrefixReader:
    """Cuts a stream into messages, returned without their headers."""

    def __init__(self, header: int) -> None:
        """`header`: its bytes."""
        self._header = header
        self._begun = bytearray()  # one buffer: pieces of a few bytes each would take many times their length
        self._needed = header  # bytes of the begun message until more can be said about it

    def announced(self, header: bytes) -> int:
        """The bytes that a header announces; raises LengthPrefixError."""
        raise NotImplementedError

    @property
    def held(self) -> int:
        """Bytes kept of a message that has begun and not ended."""
        return len(self._begun)

    def feed(self, data: bytes) -> list[bytes]:
        """Messages that `data` completes; raises LengthPrefixError, and again whenever it is fed after that."""
        messages: list[bytes] = []
        position = 0
        if self._begun:
            missing = self._needed - len(self._begun)
            if len(data) < missing:
                self._begun += data
                return messages
            if self._needed > self._header:
                self._begun += data[:missing]
                with memoryview(self._begun) as begun:
                    messages.append(bytes(begun[self._header :]))
                position = missing
            else:
                data = bytes(self._begun) + data
        header, size = self._header, len(data)
        needed = header
        try:
            while size - position >= header:
                start = position + header
                end = start + self.announced(data[position:start])
                if end > size:
                    needed = end - position
                    break
                messages.append(data[start:end])
                position = end
        except LengthPrefixError as error:
            error.complete = messages
            size = position + header  # keep the bad header, so that it stays bad
            raise
        finally:
            self._begun = bytearray(data[position:size])
            self._needed = needed
        return messages

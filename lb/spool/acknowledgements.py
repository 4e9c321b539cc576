"""Which records of a queue are done: a contiguous prefix, and what was done beyond it out of turn.

Only the prefix ever reaches the disk, so no undelivered record can be skipped by one delivered before it.
"""


class Acknowledgements:
    """A set of record numbers that grows; `prefix` is the largest number with all up to it in the set."""

    def __init__(self, prefix: int) -> None:
        self.prefix = prefix
        self._single: set[int] = set()
        self._ranges: dict[int, int] = {}  # first -> last of numbers that no record has

    def __contains__(self, number: int) -> bool:
        return (
            number <= self.prefix
            or number in self._single
            or any(first <= number <= last for first, last in self._ranges.items())
        )

    def outstanding(self, last: int) -> int:
        """Return how many of the numbers up to `last` are not in the set."""
        beyond = len(self._single) + sum(end - first + 1 for first, end in self._ranges.items())
        return last - self.prefix - beyond

    def add(self, number: int) -> None:
        """Add one number."""
        if number == self.prefix + 1:
            self.prefix = number
            self._advance()
        elif number not in self:
            self._single.add(number)

    def add_through(self, number: int) -> None:
        """Add all numbers up to this one."""
        if number > self.prefix:
            self.prefix = number
            if self._single or self._ranges:
                self._absorb()

    def add_missing(self, first: int, last: int) -> None:
        """Add the numbers `first` to `last` at once: no intact record has them."""
        if last <= self.prefix:
            return
        for start, end in list(self._ranges.items()):
            if start <= last + 1 and end >= first - 1:
                del self._ranges[start]
                first, last = min(first, start), max(last, end)
        self._ranges[first] = last
        self._absorb()

    @property
    def scattered(self) -> bool:
        """Whether anything beyond the prefix is in the set."""
        return bool(self._single or self._ranges)

    def _absorb(self) -> None:
        """Restore the invariants: nothing at or below the prefix is kept apart, no number is kept twice."""
        for first, last in sorted(self._ranges.items()):
            if first <= self.prefix + 1:
                del self._ranges[first]
                self.prefix = max(self.prefix, last)
        prefix = self.prefix
        self._single = {
            number
            for number in self._single
            if number > prefix and not any(first <= number <= last for first, last in self._ranges.items())
        }
        self._advance()

    def _advance(self) -> None:
        single, ranges = self._single, self._ranges
        while single or ranges:
            following = self.prefix + 1
            if following in single:
                single.remove(following)
                self.prefix = following
            elif following in ranges:
                self.prefix = ranges.pop(following)
            else:
                return

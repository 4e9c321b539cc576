"""What private brokers have in common, whichever program they are."""

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from tests.peers.process import PrivateProcess


class PrivateBroker:
    """A running broker: a process with its files in a directory; a subclass starts it and knows its ports."""

    directory: Path
    _process: PrivateProcess

    def kill(self) -> None:
        """End the broker at once; its files stay."""
        self._process.stop()

    def restart(self) -> None:
        """Start the broker again after `kill`, on the same ports."""
        self._process.start()
        self._process.wait_until_ready()

    def frozen(self) -> AbstractContextManager[None]:
        """While it lasts the broker does nothing."""
        return self._process.frozen()

    def stop(self) -> None:
        """End the broker at once and remove its files."""
        self._process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

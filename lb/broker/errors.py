"""What goes wrong with a broker, told apart by what is to be done about it."""

from __future__ import annotations

import re
from typing import Final

from OpenSSL import SSL
from twisted.python.failure import Failure


class BrokerError(Exception):
    """Trouble with a broker; the text says what, where, and what to do."""


class LostError(BrokerError):
    """The session ended or could not be had; whatever was not confirmed has to be sent again."""


class LoginError(LostError):
    """The broker does not let us in. It is tried again like any other failure, for that may be mended there."""


class RefusedError(BrokerError):
    """The broker refuses a message, a destination or a subscription; the same again would be refused again.

    `everything`: whatever else goes to the same destination would be refused as well.
    """

    def __init__(self, reason: str, *, everything: bool = True) -> None:
        super().__init__(reason)
        self.everything = everything


#: Words about a message itself. RabbitMQ: its size, expiry, reply address, but not the user-id, which is everybody's.
#: ActiveMQ: its size, or that of its headers.
_ITS_OWN: Final = re.compile(
    r"precondition_failed(?!.*user_id)|the maximum [a-z ]+ was exceeded", re.IGNORECASE | re.DOTALL
)


def refused(text: str, words: str) -> RefusedError:
    """The refusal that a broker means by these words, which `text` tells."""
    return RefusedError(text, everything=_ITS_OWN.search(words) is None)


class UnroutableError(RefusedError):
    """No queue would get the message: whether that is a loss, its sender knows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, everything=False)


class ExpiredError(BrokerError):
    """The message was not confirmed before the time that it was good for."""


class FullError(BrokerError):
    """As many messages wait as may; the caller keeps this one and comes again."""


#: What to do about a broken handshake: words of OpenSSL's or ours, and of ours to be added.
_ADVICE: Final = (
    ("wrong version number", "that port does not speak TLS"),
    (" alert ", "the broker wants a certificate that it trusts: give it with the option cert of the URL"),
    ("is not the host", "give the name in the broker's certificate as host"),
    *(
        (words, "give whoever issued the broker's certificate with the option ca of the URL")
        for words in ("self signed cert", "issuer cert", "signature failure")
    ),
)


def words_of(failure: Failure) -> tuple[str, bool]:
    """Why a connection ended, and whether it is that one side does not trust the other (TLS)."""
    reason = failure.value
    if not isinstance(reason, SSL.Error):
        return failure.getErrorMessage(), False
    entries = reason.args[0] if reason.args and isinstance(reason.args[0], list) else []
    text = "TLS: " + ("; ".join(str(entry[-1]) for entry in entries) or "connection broken")
    advice = next((advice for words, advice in _ADVICE if words in text), None)
    return text if advice is None else f"{text}; {advice}", True

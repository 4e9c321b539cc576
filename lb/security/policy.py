"""What peers may do on the server: the policy file of the C implementation (spec/security.md §8).

Rules only permit; whatever no rule permits is denied. Without a file, every authenticated peer may register and log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

from lb.model.subject import same_person
from lb.security.identity import Identity
from lb.security.names import plain_fqan


class Action(Enum):
    """What a rule permits; the values are the names in the file."""

    ADMIN_ACCESS = "ADMIN_ACCESS"
    READ_ALL = "READ_ALL"
    READ_ANONYMIZED = "READ_ANONYMIZED"
    STATUS_FOR_MONITORING = "STATUS_FOR_MONITORING"
    GET_STATISTICS = "GET_STATISTICS"
    PURGE = "PURGE"
    REGISTER_JOBS = "REGISTER_JOBS"
    REGISTER_FOREIGN = "REGISTER_FOREIGN"
    LOG_WMS_EVENTS = "LOG_WMS_EVENTS"
    LOG_CE_EVENTS = "LOG_CE_EVENTS"
    LOG_GENERAL_EVENTS = "LOG_GENERAL_EVENTS"
    GRANT_OWNERSHIP = "GRANT_OWNERSHIP"


K = TypeVar("K")

#: What every authenticated peer may do where no file says otherwise.
_OPEN: Final = (
    Action.REGISTER_JOBS,
    Action.LOG_WMS_EVENTS,
    Action.LOG_CE_EVENTS,
    Action.LOG_GENERAL_EVENTS,
    Action.GRANT_OWNERSHIP,
)
#: The value that matches every peer, also one without a name; there are no other patterns.
_EVERYBODY: Final = ".*"
#: What tells a VOMS attribute from a name among super-users.
_FQAN_PREFIX: Final = "FQAN:"
#: Decisions kept; peers ask for the same ones with each event.
_REMEMBERED: Final = 4096


class PolicyError(Exception):
    """A policy file that cannot be used: ``FILE:LINE: what is wrong``."""


class Rule(NamedTuple):
    """Attributes of a peer that must all hold; a rule without any permits nobody."""

    attributes: tuple[tuple[str, str], ...]

    def matches(self, peer: Identity) -> bool:
        """Whether the peer has all attributes."""
        return bool(self.attributes) and all(_holds(name, value, peer) for name, value in self.attributes)


def _holds(name: str, value: str, peer: Identity) -> bool:
    if value == _EVERYBODY:
        return True
    if name == "subject":
        return same_person(value, peer.name)
    return plain_fqan(value) in map(plain_fqan, peer.fqans)


class Policy:
    """Rules by action; a value that is never changed."""

    def __init__(self, rules: Mapping[Action, tuple[Rule, ...]], *, authenticated_only: bool = False) -> None:
        self._rules = dict(rules)
        self._authenticated_only = authenticated_only
        self._decide = lru_cache(_REMEMBERED)(self._decided)

    @classmethod
    def open(cls) -> Policy:
        """The policy of a server without a file: who is authenticated may register and log."""
        everybody = (Rule((("subject", _EVERYBODY),)),)
        return cls(dict.fromkeys(_OPEN, everybody), authenticated_only=True)

    def allows(self, action: Action, peer: Identity) -> bool:
        """Whether a rule permits `action` to `peer`. No action implies another, not even ADMIN_ACCESS."""
        return self._decide(action, peer)

    def named(self, action: Action) -> tuple[str, ...]:
        """The values that rules for `action` name: subjects and VOMS attributes."""
        rules = self._rules.get(action, ())
        return tuple(dict.fromkeys(value for rule in rules for _, value in rule.attributes))

    def _decided(self, action: Action, peer: Identity) -> bool:
        rules = self._rules.get(action)
        if not rules or (self._authenticated_only and peer.name is None):
            return False
        return any(rule.matches(peer) for rule in rules)

    def permitting(self, subject: str, *actions: Action) -> Policy:
        """This policy with `actions` permitted to one more subject, e.g. a super-user or the server itself.

        ``FQAN:/vo/group`` permits them to those who have the VOMS attribute.
        """
        attribute = (
            ("fqan", subject.removeprefix(_FQAN_PREFIX)) if subject.startswith(_FQAN_PREFIX) else ("subject", subject)
        )
        rule = Rule((attribute,))
        rules = {**self._rules, **{action: (*self._rules.get(action, ()), rule) for action in actions}}
        return Policy(rules, authenticated_only=self._authenticated_only)


_TOKEN = re.compile(r'[ \t]*+(?:#[^\n]*)?(?:(?P<newline>\n)|(?P<string>"[^"\n]*")|(?P<word>[a-z]+)|(?P<sign>[{}=])|\Z)')


class _Token(NamedTuple):
    text: str
    line: int


def _tokens(text: str, name: str) -> Iterator[_Token]:
    position, line = 0, 1
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise PolicyError(f"{name}:{line}: cannot be understood: {text[position:].splitlines()[0].strip()!r}")
        position = found.end()
        if found["newline"]:
            line += 1
        elif found.lastgroup:
            yield _Token(found[found.lastgroup], line)
    yield _Token("", line)


class _Parser(Generic[K]):
    """Reads the grammar of §8.2 for one kind of resource."""

    def __init__(self, text: str, name: str, resource: str, read_action: Callable[[str], K]) -> None:
        self._name = name
        self._resource = resource
        self._read_action = read_action
        self._tokens = _tokens(text, name)
        self._token = next(self._tokens)

    def _error(self, message: str, token: _Token | None = None) -> PolicyError:
        return PolicyError(f"{self._name}:{(token or self._token).line}: {message}")

    def _take(self, text: str) -> None:
        if self._token.text != text:
            raise self._error(f"'{text}' expected, not {self._found()}")
        self._token = next(self._tokens, self._token)

    def _string(self, what: str) -> _Token:
        """Take a string; its token, without the quotes, tells the line for errors about its meaning."""
        token = self._token
        if not token.text.startswith('"'):
            raise self._error(f"{what} in double quotes expected, not {self._found()}")
        self._take(token.text)
        return _Token(token.text[1:-1], token.line)

    def _found(self) -> str:
        return f"'{self._token.text}'" if self._token.text else "the end of the file"

    def rules(self) -> dict[K, tuple[Rule, ...]]:
        self._take("resource")
        resource = self._string("a resource")
        if resource.text != self._resource:
            raise self._error(f"unknown resource '{resource.text}', there is only {self._resource}", resource)
        rules: dict[K, tuple[Rule, ...]] = {}
        self._take("{")
        while self._token.text == "action":
            self._take("action")
            name = self._string("an action")
            try:
                action = self._read_action(name.text)
            except ValueError as error:
                raise self._error(str(error), name) from None
            self._take("{")
            while self._token.text == "rule":
                rules[action] = (*rules.get(action, ()), self._rule())
            self._take("}")
        self._take("}")
        if self._token.text:
            raise self._error(f"nothing may follow the resource, found {self._found()}")
        return rules

    def _rule(self) -> Rule:
        self._take("rule")
        self._take("permit")
        self._take("{")
        attributes = []
        while (name := self._token.text) not in ("}", ""):
            if name not in ("subject", "fqan"):
                raise self._error(f"unknown attribute {self._found()}, there are subject and fqan")
            self._take(name)
            self._take("=")
            attributes.append((name, self._string(f"a {name}").text))
        self._take("}")
        return Rule(tuple(attributes))


def read_rules(text: str, name: str, resource: str, read_action: Callable[[str], K]) -> dict[K, tuple[Rule, ...]]:
    """Read the rules for one kind of resource, by action; `name` is what errors call the file.

    `read_action` raises ValueError with what is wrong with an action's name. Raises PolicyError.
    """
    return _Parser(text, name, resource, read_action).rules()


def read_file(path: Path) -> str:
    """The text of a policy file; raises PolicyError when it cannot be read."""
    try:
        return path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}. Give a readable file or none") from error


def _action(name: str) -> Action:
    if name not in Action.__members__:
        raise ValueError(f"unknown action '{name}', there are {', '.join(Action.__members__)}")
    return Action[name]


def parse(text: str, name: str) -> Policy:
    """Read a policy; `name` is what errors call the file. Raises PolicyError."""
    return Policy(read_rules(text, name, "LB", _action))


def load(path: Path) -> Policy:
    """Read a policy file; raises PolicyError, also when it cannot be read."""
    return parse(read_file(path), str(path))

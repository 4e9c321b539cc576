"""Signing policies of grid authorities: which subjects a CA may issue certificates for (the EACL form of Globus).

A policy that exists but does not cover a subject refuses it; whether a missing policy matters is the caller's decision.
Form: spec/security.md §3.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lb.model.subject import fold

# A word, or a text in single or double quotes; single quotes may hold double-quoted parts.
_TOKEN = re.compile(r"'([^'\n]*)'|\"([^\"\n]*)\"|([^\s'\"]+)")
_QUOTED_SUBJECT = re.compile(r'"([^"]*)"')
_WILDCARDS = {"*": ".*", "?": "."}


@dataclass(frozen=True, slots=True)
class SigningPolicy:
    """What one file permits: for each authority (folded name) the patterns of subjects it may sign."""

    subjects: dict[str, tuple[re.Pattern[str], ...]]

    def permits(self, issuer: str, subject: str) -> bool:
        """Tell whether the file lets the issuer sign the subject, both in slash form."""
        folded = fold(subject)
        return any(pattern.fullmatch(folded) for pattern in self.subjects.get(fold(issuer), ()))


def parse(text: str) -> SigningPolicy:
    """Read a signing policy file. Raises ValueError naming the line that cannot be understood."""
    subjects: dict[str, tuple[re.Pattern[str], ...]] = {}
    authority: str | None = None
    may_sign = False
    for number, keyword, value in _lines(text):
        match keyword:
            case "access_id_CA":
                authority, may_sign = fold(value), False
                subjects.setdefault(authority, ())
            case "pos_rights":
                may_sign = value == "CA:sign"
            case "neg_rights":
                raise ValueError(f"line {number}: negative rights are not supported")
            case "cond_subjects":
                if authority is None:
                    raise ValueError(f"line {number}: cond_subjects before access_id_CA")
                if may_sign:
                    subjects[authority] += tuple(map(_pattern, _QUOTED_SUBJECT.findall(value) or [value]))
            case _:
                raise ValueError(f"line {number}: unknown keyword {keyword!r}")
    if not subjects:
        raise ValueError("no access_id_CA")
    return SigningPolicy(subjects)


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line number, keyword and value of each line ``keyword authority value``; comments and blanks left out."""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        words = [next(filter(None, match), "") for match in _TOKEN.findall(stripped)]
        if len(words) != 3:
            raise ValueError(f"line {number}: expected a keyword, an authority and a value")
        yield number, words[0], words[2]


def _pattern(glob: str) -> re.Pattern[str]:
    expression = "".join(_WILDCARDS.get(char) or re.escape(char) for char in fold(glob))
    return re.compile(expression, re.DOTALL)

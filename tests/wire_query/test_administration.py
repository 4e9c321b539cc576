"""Documents of administrators: purge, dump, load, statistics, sequence codes, indices."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code, LBError
from lb.model.indexing import column
from lb.model.jobid import parse
from lb.model.status import State
from lb.wire import http
from lb.wire.lbxml import dump, indices, purge, sequence, statistics
from tests.wire_query.exchanges import Exchange, administration, body

JOB = "https://localhost:9000/dWWmwBH2fGB36R5nnnPW0Q"
#: Path → how a request is read and written again, an answer likewise.
CODECS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "/purgeRequest": (
        lambda data: purge.write_request(purge.read_request(data)),
        lambda data: purge.write_result(purge.read_result(data)),
    ),
    "/dumpRequest": (
        lambda data: dump.write_dump_request(dump.read_dump_request(data)),
        lambda data: dump.write_dump_result(dump.read_dump_result(data)),
    ),
    "/statsRequest": (
        lambda data: statistics.write_request(statistics.read_request(data)),
        lambda data: statistics.write_result(statistics.read_result(data)),
    ),
}
WORDS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=20).map(str.strip).filter(bool)


def recorded() -> list[tuple[str, Exchange]]:
    """The recorded requests by path."""
    requests = [exchange for exchange in administration() if exchange.asked.startswith(b"POST ")]
    return [(exchange.asked.split(b" ", 2)[1].decode(), exchange) for exchange in requests]


class Recorded(SynchronousTestCase):
    """C programs and the C server."""

    def test_again(self) -> None:
        """Each request and each answer is read, and written again byte for byte."""
        for path, exchange in recorded():
            request, answer = CODECS[path]
            self.assertEqual(http.request("POST", path, request(body(exchange.asked))), exchange.asked)
            if b" code=" in exchange.answered:
                error = self.assertRaises(LBError, answer, body(exchange.answered))
                self.assertEqual((error.code, error.description), (errno.EPERM, "only superusers may purge"))
                self.assertEqual(http.response(401, purge.write_result(error=error)), exchange.answered)
            else:
                self.assertEqual(http.response(200, answer(body(exchange.answered))), exchange.answered)
        self.assertEqual(len(recorded()), 5)

    def test_meaning(self) -> None:
        """What the recorded requests ask for."""
        asked = {exchange.name[:3]: body(exchange.asked) for _, exchange in recorded()}
        dumped = purge.read_request(asked["41b"])
        self.assertEqual([str(job) for job in dumped.jobs or ()], [JOB])
        wanted = purge.PurgeFlag.REALLY_PURGE | purge.PurgeFlag.LIST_JOBS | purge.PurgeFlag.SERVER_DUMP
        self.assertEqual((dumped.flags, set(dumped.timeouts)), (wanted, {purge.SERVER_DEFAULT}))
        self.assertEqual(dump.read_dump_request(asked["40-"]), dump.DumpRequest(dump.LAST_END, dump.NOW))
        rate = statistics.read_request(asked["27-"])
        self.assertEqual((rate.function, rate.base, rate.minor), (statistics.Function.RATE, State.Done, 0))
        self.assertEqual(rate.groups, statistics.by_destination("destination CE/queue"))


class Written(SynchronousTestCase):
    """What is written is read back."""

    @given(
        st.none() | st.lists(st.sampled_from([parse(JOB), parse("https://h:1/a")]), max_size=3).map(tuple),
        st.lists(st.integers(-2, (1 << 31) - 1), min_size=12, max_size=12).map(tuple),
        st.integers(0, 1000),
        st.integers(0, 31).map(purge.PurgeFlag),
        st.none() | WORDS,
    )
    def test_purge(self, jobs: Any, timeouts: Any, runtime: int, flags: purge.PurgeFlag, path: str | None) -> None:
        """Any purge, and its answer."""
        asked = purge.Request(jobs, timeouts, runtime, flags)
        self.assertEqual(purge.read_request(purge.write_request(asked)), asked)
        result = purge.Result(None if jobs is None else tuple(map(str, jobs)), path)
        self.assertEqual(purge.read_result(purge.write_result(result)), result)

    @given(st.integers(-3, 1 << 32), st.integers(-3, 1 << 32), WORDS)
    def test_dump(self, since: int, until: int, path: str) -> None:
        """Any dump and load."""
        asked = dump.DumpRequest(since, until)
        self.assertEqual(dump.read_dump_request(dump.write_dump_request(asked)), asked)
        self.assertEqual(dump.read_load_request(dump.write_load_request(path)), path)
        result = dump.Result(path, max(since, 0), max(until, 0))
        self.assertEqual(dump.read_dump_result(dump.write_dump_result(result)), result)
        self.assertEqual(dump.read_load_result(dump.write_load_result(result)), result)

    @given(st.sampled_from(statistics.Function), st.sampled_from(State), st.integers(0, 3), WORDS)
    def test_statistics(self, function: statistics.Function, state: State, minor: int, group: str) -> None:
        """Any statistics; figures have six decimals."""
        final = state if function is statistics.Function.DURATION_FROM_TO else State.Undefined
        asked = statistics.Request(function, state, 1, 2, final, minor, statistics.by_destination(group))
        self.assertEqual(statistics.read_request(statistics.write_request(asked)), asked)
        figures = (statistics.Figure(group, rate=0.25), statistics.Figure(group, duration=1.5, dispersion=0.5))
        result = statistics.Result(1, 2, 10, 60, figures)
        self.assertEqual(statistics.read_result(statistics.write_result(result)), result)

    def test_indices(self) -> None:
        """Indices of one and of more columns, of each type; none at all."""
        some = [(column("system", "owner"),), (column("user", "Color"), column("time", "done"))]
        for configured in [], some:
            self.assertEqual(indices.read_result(indices.write_result(configured)), configured)

    def test_sequence_code(self) -> None:
        """The job asked for, and its code."""
        self.assertEqual(sequence.read_request(sequence.write_request(parse(JOB))), parse(JOB))
        self.assertEqual(sequence.read_result(sequence.write_result("UI=1<2")), "UI=1<2")


class Refused(SynchronousTestCase):
    """What makes no sense."""

    def test_missing_timeouts(self) -> None:
        """wire-query.md §8.1: a state without a time-out has the server's, it is not purged at once."""
        for part in b"", b"<timeout/>", b"<timeout><Done>5</Done></timeout>":
            read = purge.read_request(b"<edg_wll_PurgeRequest>" + part + b"</edg_wll_PurgeRequest>")
            self.assertEqual(read.timeouts[State.Submitted], purge.SERVER_DEFAULT)
            self.assertEqual(read.timeouts[State.Done], 5 if b"5" in part else purge.SERVER_DEFAULT)

    def test_empty_list(self) -> None:
        """A list of no jobs means no jobs, not all of them."""
        self.assertEqual(purge.read_request(b"<edg_wll_PurgeRequest><jobs/></edg_wll_PurgeRequest>").jobs, ())

    def test_nonsense(self) -> None:
        """P10: elements out of place are 1407, values without sense EINVAL, each with its words."""
        for read, document, code in (
            (purge.read_request, b"<edg_wll_PurgeRequest><x/></edg_wll_PurgeRequest>", Code.XML_PARSE),
            (purge.read_request, b"<edg_wll_PurgeRequest><jobs><x/></jobs></edg_wll_PurgeRequest>", Code.XML_PARSE),
            (
                purge.read_request,
                b"<edg_wll_PurgeRequest><timeout><x/></timeout></edg_wll_PurgeRequest>",
                Code.XML_PARSE,
            ),
            (purge.read_request, b"<edg_wll_DumpRequest/>", Code.XML_PARSE),
            (purge.read_request, b"<edg_wll_PurgeRequest><flags/><flags/></edg_wll_PurgeRequest>", Code.XML_PARSE),
            *(
                (
                    purge.read_request,
                    b"<edg_wll_PurgeRequest><timeout><Done>%b</Done></timeout></edg_wll_PurgeRequest>" % number,
                    errno.EINVAL,
                )
                for number in (b"-3", b"x", b"", b"2147483648", b"--1")
            ),
            (dump.read_dump_request, b"<edg_wll_DumpRequest><from>x</from></edg_wll_DumpRequest>", errno.EINVAL),
            (dump.read_load_request, b"<edg_wll_LoadRequest/>", errno.EINVAL),
            (statistics.read_request, b"<edg_wll_StatsRequest/>", errno.EINVAL),
            (
                statistics.read_request,
                b'<edg_wll_StatsRequest function="Rate"><x/></edg_wll_StatsRequest>',
                Code.XML_PARSE,
            ),
            (
                statistics.read_request,
                b'<edg_wll_StatsRequest function="Rate"><base_state>x</base_state></edg_wll_StatsRequest>',
                errno.EINVAL,
            ),
            (sequence.read_result, b"<edg_wll_QuerySequenceCodeResult/>", Code.XML_PARSE),
            (indices.read_result, b"<x/>", Code.XML_PARSE),
        ):
            error = self.assertRaises(LBError, read, document)
            self.assertEqual(error.code, code, document)
            self.assertTrue(error.description)

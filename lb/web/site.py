"""What a browser or a script sees on the main port: own jobs, one job, as HTML or plain text (spec: wire-web.md).

Every value is escaped for the form it goes into; nothing is done for a peer that is not authenticated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from html import escape
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

import lb
from lb.model.errors import LBError, forbidden, invalid, text_of
from lb.model.event import Event
from lb.model.query import Flag, read_flags
from lb.model.status import PARENT_TYPES, STATE_NAMES, TERMINAL, JobStatus, display
from lb.security.identity import ANONYMOUS, Identity, identity_of
from lb.server.query import Questions
from lb.wire.http_status import REASONS, Operation, status_of
from lb.wire.ulm import escape as ulm_escape

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2733;--dim:#5b6b7b;--paper:#fbfcfd;--card:#fff;--line:#dde4ea;--accent:#0b6bcb}
@media(prefers-color-scheme:dark){:root{--ink:#e3e9ef;--dim:#93a1b0;--paper:#10161d;--card:#18212b;--line:#2a3642;--accent:#6cb2ff}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:64rem;margin:0 auto;padding:1.5rem}a{color:var(--accent)}h1{font-size:1.35rem;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;background:var(--card);border:1px solid var(--line);margin:1rem 0}
th,td{text-align:left;vertical-align:top;padding:.4rem .7rem;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
th{font-weight:600;color:var(--dim);white-space:nowrap}
pre{overflow:auto;background:var(--card);padding:1rem}
.state{display:inline-block;font-weight:600;
padding:.1rem .6rem;border-radius:1rem;border:1px solid currentColor;font-size:.85em}
.open{color:var(--accent)}.good{color:#178a48}.bad{color:#d0402b}.dim{color:var(--dim)}
"""
_HEADERS: Final = (
    (b"content-security-policy", b"default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)
_SECOND: Final = 1_000_000


class Address(NamedTuple):
    """A URI of this port: path, and modifiers that were appended with ``?``, name → value."""

    path: str
    modifiers: dict[str, str]


def parse_address(uri: str) -> Address:
    """Modifiers are separated by ``?`` and never by ``&`` (wire-web.md §1.1)."""
    path, *modifiers = uri.split("?")
    pairs = (modifier.partition("=") for modifier in modifiers)
    return Address(path, {name.lower(): value for name, _, value in pairs})


class Row(NamedTuple):
    """One line of the job page: key of the plain text, label of the table, what is shown."""

    key: str
    label: str
    value: Callable[[JobStatus], Any]


def _time(microseconds: int) -> str:
    return time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(microseconds // _SECOND)) if microseconds else ""


def _yes(value: bool) -> str:
    return "YES" if value else "NO"


def _known(value: int) -> str:
    return "" if value == -1 else str(value)


def _list(values: Iterable[str] | None) -> str:
    return ",".join(values or ())


_ROWS: Final = (
    Row("Job", "Job ID", lambda s: s.jobId),
    Row("parent_job", "Parent job", lambda s: s.parent_job),
    Row("Status", "Status", lambda s: STATE_NAMES[s.state]),
    Row("job_type", "Type", lambda s: display("jobtype", s.jobtype) or "Unknown!"),
    Row("jw_status", "JW status", lambda s: display("jw_status", s.jw_status)),
    Row("seed", "Seed", lambda s: s.seed),
    Row("children_num", "No. of Children", lambda s: s.children_num or ""),
    Row("owner", "Owner", lambda s: s.owner),
    Row("payload_owner", "Payload Owner", lambda s: s.payload_owner),
    Row("condorId", "Condor Id", lambda s: s.condorId),
    Row("globusId", "Globus Id", lambda s: s.globusId),
    Row("localId", "Local Id", lambda s: s.localId),
    Row("reason", "Reason", lambda s: s.reason),
    Row("stateEnterTime", "State entered", lambda s: _time(s.stateEnterTime)),
    Row("lastUpdateTime", "Last update", lambda s: _time(s.lastUpdateTime)),
    Row("expectUpdate", "Expect update", lambda s: _yes(s.expectUpdate)),
    Row("expectFrom", "Expect update from", lambda s: s.expectFrom),
    Row("location", "Location", lambda s: s.location),
    Row("destination", "Destination", lambda s: s.destination),
    Row("ce_node", "CE Node", lambda s: s.ce_node),
    Row("resubmitted", "Resubmitted", lambda s: int(s.resubmitted) or ""),
    Row("cancelling", "Cancelling", lambda s: _yes(s.cancelling)),
    Row("cancelReason", "Cancel reason", lambda s: s.cancelReason),
    Row("cpuTime", "CPU time", lambda s: _known(s.cpuTime)),
    Row("done_code", "Done code", lambda s: _known(s.done_code)),
    Row("exit_code", "Exit code", lambda s: s.exit_code),
    Row("input_sandbox", "Input sandbox", lambda s: s.isb_transfer),
    Row("output_sandbox", "Output sandbox", lambda s: s.osb_transfer),
    Row("acl", "ACL", lambda s: s.acl),
    Row("user_tags", "User Tags", lambda s: ",".join(f'"{name}={value}"' for name, value in s.user_tags or ())),
    Row("payload_running", "Payload Running", lambda s: int(s.payload_running) or ""),
    Row("possible_destinations", "Possible destinations", lambda s: _list(s.possible_destinations)),
    Row("possible_ce_nodes", "Possible CE Nodes", lambda s: _list(s.possible_ce_nodes)),
    Row("suspended", "Suspended", lambda s: int(s.suspended) or ""),
    Row("suspend_reason", "Suspend Reason", lambda s: s.suspend_reason),
    Row("failure_reasons", "Failure Reasons", lambda s: s.failure_reasons),
    Row("remove_from_proxy", "Remove From Proxy", lambda s: int(s.remove_from_proxy) or ""),
    Row("ui_host", "UI host", lambda s: s.ui_host),
)
_TEXTS: Final = (
    Row("history", "Job history", lambda s: s.history),
    Row("jdl", "Job description", lambda s: s.jdl),
    Row("rsl", "RSL", lambda s: s.rsl),
)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def text_job(status: JobStatus) -> str:
    """The job page as ``key=value`` lines; values are escaped so that none can forge a line."""
    return "".join(f"{row.key}={_line(_shown(row.value(status)))}\n" for row in (*_ROWS, *_TEXTS))


def _line(value: str) -> str:
    return ulm_escape(value) if "\n" in value or value.startswith(("[", "{")) else value


def text_jobs(jobs: list[JobStatus], peer: str) -> str:
    """The list of own jobs as plain text."""
    return f"User_jobs={_list(str(job.jobId) for job in jobs)}\nUser_subject={_line(peer)}\n"


def _badge(status: JobStatus) -> str:
    good = status.state in (6, 7) and status.done_code <= 0
    kind = "good" if good else "bad" if status.state in TERMINAL or status.state == 6 else "open"
    return f'<span class="state {kind}">{STATE_NAMES[status.state]}</span>'


def _page(title: str, body: str) -> str:
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="/?style"></head>'
        f"<body><main>{body}</main></body></html>"
    )


def _link(jobid: str) -> str:
    """A link to a job on this server, by its unique part."""
    return f'<a href="/{escape(jobid.split("/", 3)[-1])}">{escape(jobid)}</a>'


def html_jobs(jobs: list[JobStatus], peer: str) -> str:
    """The list of own jobs, those that changed last first."""
    rows = "".join(
        f"<tr><td>{_link(str(job.jobId))}</td><td>{escape(display('jobtype', job.jobtype))}</td><td>{_badge(job)}</td>"
        f"<td>{_time(job.lastUpdateTime)}</td></tr>"
        for job in sorted(jobs, key=lambda job: -job.lastUpdateTime)
    )
    head = "<tr><th>Job</th><th>Type</th><th>State</th><th>Last update (UTC)</th></tr>"
    return _page(
        "User Jobs",
        f'<h1>User Jobs</h1><p class="dim">Total of {len(jobs)} | User subject: {escape(peer)}</p>'
        f"<table>{head}{rows}</table>",
    )


def html_job(status: JobStatus, events: list[Event]) -> str:
    """One job: its attributes, its events, its texts."""
    rows = "".join(
        f"<tr><th>{row.label}</th><td>{escape(value)}</td></tr>"
        for row in _ROWS
        if (value := _shown(row.value(status))) and row.key != "Status"
    )
    logged = "".join(
        f"<tr><td>{_time(event.timestamp)}</td><td>{event.type.name}</td><td>{event.source_name}</td>"
        f"<td>{escape(event.host)}</td><td>{escape(_details(event))}</td></tr>"
        for event in events
    )
    texts = "".join(
        f"<h2>{row.label}</h2><pre>{escape(value)}</pre>" for row in _TEXTS if (value := _shown(row.value(status)))
    )
    children = "".join(f"<li>{_link(child)}</li>" for child in status.children or ())
    return _page(
        f"Job {status.jobId}",
        f"<h1>{escape(_shown(status.jobId))}</h1><p>Status {_badge(status)}</p><table>{rows}</table>"
        + (f"<h2>Children</h2><ul>{children}</ul>" if status.jobtype in PARENT_TYPES else "")
        + "<h2>Events</h2><table><tr><th>Time (UTC)</th><th>Event</th><th>Source</th><th>Host</th><th>Details</th></tr>"
        + f"{logged}</table>{texts}",
    )


def _details(event: Event) -> str:
    shown = ((name, str(value)) for name, value in event.attributes.items() if name not in ("jdl", "job"))
    return ", ".join(f"{name}={value[:200]}" for name, value in shown)


def _error(error: LBError, text: bool) -> tuple[int, str]:
    status = status_of(Operation.PAGE, error.code)
    reason = REASONS[status]
    what = f"{text_of(error.code)} ({error.description})"
    if text:
        return status, f"Error={reason}\nCode={error.code}\nDescription={_line(what)}\n"
    return status, _page("Error", f"<h1>{reason}</h1><p>{error.code}: {escape(what)}</p>")


class Pages(Resource):
    """All pages."""

    isLeaf = True

    def __init__(self, questions: Questions) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._questions = questions

    def render(self, request: Request) -> Any:
        address = parse_address(request.uri.decode("utf-8", "surrogateescape"))
        text = "text" in address.modifiers
        if request.method not in (b"GET", b"HEAD"):
            refused = 501 if request.method == b"POST" else 405
            return self._send(request, refused, _page("Error", f"<h1>{REASONS[refused]}</h1>"), text)
        if "style" in address.modifiers:
            return self._send(request, 200, _STYLE, text, b"text/css")
        peer = _peer(request)
        if peer.name is None:
            return self._send(request, *_error(forbidden("user not authenticated"), text), text)
        if "version" in address.modifiers:
            return self._send(request, 200, lb.__version__, True)
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)

        def finish(answer: tuple[int, str]) -> None:
            if not gone:
                request.write(self._send(request, *answer, text))
                request.finish()

        self._answer(address, peer, peer.name, text).addErrback(_failed, text).addCallback(finish)
        return NOT_DONE_YET

    def _answer(self, address: Address, peer: Identity, name: str, text: bool) -> Deferred[tuple[int, str]]:
        flags = read_flags(address.modifiers.get("flags", ""))
        if address.path == "/":
            shown = text_jobs if text else html_jobs
            return self._questions.own_jobs(peer, flags).addCallback(lambda jobs: (200, shown(jobs, name)))
        unique = address.path[1:]
        status = self._questions.status(peer, unique, flags | Flag.CLASSADD | Flag.CHILDREN)
        if text:
            return status.addCallback(lambda found: (200, text_job(found)))
        return status.addCallback(
            lambda found: self._questions.events(peer, unique).addCallback(
                lambda events: (200, html_job(found, events))
            )
        )

    @staticmethod
    def _send(request: Request, status: int, page: str, text: bool, type_: bytes = b"") -> bytes:
        request.setResponseCode(status, REASONS.get(status, "").encode("ascii"))
        kind = type_ or (b"text/plain; charset=utf-8" if text else b"text/html; charset=utf-8")
        request.setHeader(b"content-type", kind)
        for name, value in _HEADERS:
            request.setHeader(name, value)
        body = page.encode("utf-8", "surrogateescape")
        request.setHeader(b"content-length", b"%d" % len(body))
        return body


def _failed(failure: Failure, text: bool) -> tuple[int, str]:
    error = failure.value
    return _error(error if isinstance(error, LBError) else invalid("the page cannot be made"), text)


def _peer(request: Request) -> Identity:
    """Who asks, from the TLS connection below."""
    transport = request.transport
    if not isinstance(transport, TLSMemoryBIOProtocol):
        return ANONYMOUS
    return identity_of(transport.getHandle())


def site(questions: Questions, reactor: Any) -> Site:
    """The web site of the main port."""
    return Site(Pages(questions), reactor=reactor)

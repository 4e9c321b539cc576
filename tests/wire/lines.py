"""Lines in the form of C programs, of Java and of nobody: what they say, and what is said of them (model.md §4)."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from lb.model.catalogue import BY_NAME, Source
from lb.model.errors import ParseError
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.wire.ulm import parse, write
from tests.wire import strategies
from tests.wire.recorded import examples

COMMON = {
    "DATE": "20240102030405.123456",
    "HOST": '"wn1"',
    "PROG": "edg-wms",
    "LVL": "SYSTEM",
    "DG.PRIORITY": "4",
    "DG.SOURCE": '"LRMS"',
    "DG.SRC_INSTANCE": '""',
    "DG.EVNT": '"UserTag"',
    "DG.JOBID": '"https://lb:9000/abc"',
    "DG.SEQCODE": '"UI=000001"',
    "DG.USER": '"/CN=x"',
}
USER_TAG = {"DG.USERTAG.NAME": '"n"', "DG.USERTAG.VALUE": '"v"'}
#: Mandatory fields in the order in which a missing one is reported.
REPORTED = ("DATE", "HOST", "DG.PRIORITY", "DG.JOBID", "DG.SEQCODE", "DG.USER", "DG.SOURCE")


def line(_specific: dict[str, str] | None = None, _more: str = "", **changed: str | None) -> bytes:
    """A line in the C form; `changed`: raw values by key with ``_`` for ``.``, None to leave a field out."""
    known = {key.replace(".", "_"): key for key in COMMON}
    given_ = COMMON | {known[name]: value for name, value in changed.items()}
    specific = USER_TAG if _specific is None else _specific
    text = "".join(f"{key}={value} " for key, value in (given_ | specific).items() if value is not None)
    return (text + _more + "\n").encode("utf-8", "surrogateescape")


def done(**attributes: str) -> bytes:
    """A Done event with these raw attribute values."""
    values = {"status_code": '"OK"', "reason": '""', "exit_code": '"0"'} | attributes
    return line({f"DG.DONE.{name.upper()}": value for name, value in values.items()}, DG_EVNT='"Done"')


def outcome(text: bytes, user: str | None = None) -> Event | tuple[int, str]:
    """The event of a line, or the error's number and text."""
    try:
        return parse(text, user)
    except ParseError as error:
        return error.code, error.description


#: Bad lines and what is said of them.
BAD = (
    (line(DG_EVNT='"Foo"'), 1402, "Unknown or missing event type"),
    (line(DG_EVNT='"SysCmpStat"'), 1402, "Unknown or missing event type"),
    (line(DG_EVNT='"SysClStat"'), 1402, "Unknown or missing event type"),
    (line(DG_EVNT='"Undefined"'), 1402, "Unknown or missing event type"),
    (line(DG_EVNT='""'), 1402, "Unknown or missing event type"),
    (line(DG_EVNT=None), 1402, "Unknown or missing event type"),
    (line({"DG.USERTAG.NAME": '"n"', "DG.USERTAG.VALUE": '""'}), 1403, "DG.USERTAG.VALUE."),
    (line({"DG.USERTAG.NAME": '"n"'}), 1403, "DG.USERTAG.VALUE."),
    (line({}), 1403, "DG.USERTAG.NAME."),
    (line(_more='DG.USERTAG.NAME="n"'), 1404, "Key DG.USERTAG.NAME already exists."),
    (line(_more='dg.usertag.name="m"'), 1404, "Key DG.USERTAG.NAME already exists."),
    (line(_more='DG.EVNT="Done"'), 1404, "Key DG.EVNT already exists."),
    (line(_more='DG.USER="/CN=x"'), 1404, "Key DG.USER already exists."),
    (line(HOST='""', _more='HOST="h"'), 1404, "Key HOST already exists."),
    (line(_more='DG.SEQCODE=""'), 1404, "Key DG.SEQCODE already exists."),
    (line(_more="DATE=20240102030405"), 1404, "Key DATE already exists."),
    (line(_more="LVL=DEBUG"), 1404, "Key LVL already exists."),
    (line(_more='DG.ABORT.REASON="x"'), 1405, "Key DG.ABORT.REASON shouldn't be used for event type UserTag."),
    (line(_more='DG.NOTIFICATION.OWNER="x"'), 1405, "Key DG.NOTIFICATION.OWNER shouldn't be used"),
    (line({"DG.USERTAG.NAME": '"n"', "DG.USERTAG.VALUE": '"a'}), 1401, "ULM parse error"),
    (line({"DG.USERTAG.NAME": '"n"', "DG.USERTAG.VALUE": '"a"b'}), 1401, "ULM parse error"),
    (line({"DG.USERTAG.NAME": '"n"', "DG.USERTAG.VALUE": "a\\b"}), 1401, "ULM parse error"),
    (line({"DG.USERTAG.VALUE": '"v"', "DG.USERTAG.NAME": ' "n"'}), 1401, "ULM parse error"),
    (line() + line(), 1401, "ULM parse error"),
    (line().replace(b"HOST", b"HO\0ST"), 1402, "Unknown or missing event type"),
    (b"", 1401, "ULM parse error"),
    (b"\0", 1401, "ULM parse error"),
    (line(DG_JOBID='"http://lb/x"'), 1403, "DG.JOBID."),
    (line(DG_JOBID='"https://lb:70000/x"'), 1403, "DG.JOBID."),
    (line(DATE="19700101000000.000000"), 1403, "DATE."),
    (line(DATE="20241302030405.000000"), 1403, "DATE."),
    (line(DATE='"yesterday"'), 1403, "DATE."),
    (line(DG_PRIORITY="-1"), 1403, "DG.PRIORITY."),
    (line(DG_PRIORITY="-01"), 1403, "DG.PRIORITY."),
    (line(DG_SOURCE='"Undefined"'), 1403, "DG.SOURCE."),
    (line(DG_SOURCE='"null"'), 1403, "DG.SOURCE."),
    (line(DG_SOURCE='""'), 1403, "DG.SOURCE."),
    (done(status_code='"1"'), 1403, "DG.DONE.STATUS_CODE."),
    (done(status_code='"(null)"'), 1403, "DG.DONE.STATUS_CODE."),
    (done(exit_code='"-1"'), 1403, "DG.DONE.EXIT_CODE."),
    (done(exit_code='""'), 1403, "DG.DONE.EXIT_CODE."),
)

#: Odd lines that are taken, and what they change of the event.
TAKEN: tuple[tuple[bytes, dict[str, Any]], ...] = (
    (line({"DG.USERTAG.NAME": '""', "DG.USERTAG.VALUE": '"v"'}, 'DG.USERTAG.NAME="n"'), {}),
    (line(_more='VENDOR.KEY="x" FOO=bar'), {}),
    (line(_more='DG.TYPE="x" DG.LLLID=-5 DG.LLPID=1 DG.ARRIVED=20240102030405'), {}),
    (line(_more='DG.EVNT="usertag"'), {}),
    (line(_more="PROG=again"), {}),
    (line(DG_EVNT='"USERTAG"'), {}),
    (line().lower().replace(b"ui=", b"UI=").replace(b"/cn", b"/CN"), {}),
    (line().removesuffix(b"\n"), {}),
    (line().removesuffix(b" \n"), {}),
    (line() + b"\0\0", {}),
    (line().removesuffix(b"\n") + b"\r\n", {}),
    (line(LVL="8"), {"level": 0}),
    (line(LVL="UNDEFINED"), {"level": 0}),
    (line(LVL=None), {"level": 0}),
    (line(LVL="debug"), {"level": 10}),
    (line(LVL="(null)", _more="LVL=DEBUG"), {"level": 10}),
    (line(HOST='""'), {"host": ""}),
    (line(DG_SEQCODE='""'), {"seqcode": ""}),
    (line(DG_USER='""'), {"user": ""}),
    (line(DG_SRC_INSTANCE=None), {"src_instance": None}),
    (line(DG_SRC_INSTANCE='"(nil)"'), {"src_instance": "(nil)"}),
    (line(DG_PRIORITY="junk"), {"priority": 0}),
    (line(DG_PRIORITY='"6"'), {"priority": 6}),
    (line(DG_PRIORITY="9" * 5000), {"priority": 0}),
    (line(DG_PRIORITY="-1", _more="DG.PRIORITY=4"), {}),
    (line(DG_SOURCE='"lrms"'), {}),
    (line(DG_SOURCE='"JobSubmission"'), {"source": Source.JobController}),
    (line(DATE="20240102030405.5"), {"timestamp": 1704164645_000005}),
    (line(DATE="20240102030405123000"), {"timestamp": 1704164645_000000}),
    (line(DATE='"20240102030405.123456"'), {}),
    (line(_more="ARR_DATE=20240102030405.5"), {"arrived": 1704164645_000005}),
    (line(DG_JOBID='"https://lb/abc"'), {}),
    (line(DG_JOBID='"https://lb/abc?i"'), {"jobid": JobId("lb", 9000, "abc", "i")}),
    (line(HOST='"a\nb"'), {"host": "a\nb"}),
    (line(HOST='"a\\nb\\t"'), {"host": "a\nbt"}),
    (line(HOST='"\udcff\udcfe"'), {"host": "\udcff\udcfe"}),
    (line(HOST='a"b c"'), {"host": 'a"b c"'}),
    (line(HOST='"x DG.EVNT="'), {"host": "x DG.EVNT="}),
)


def plain() -> Event:
    """The event of `line()`."""
    return Event(
        BY_NAME["UserTag"],
        JobId("lb", 9000, "abc"),
        timestamp=1704164645_123456,
        host="wn1",
        source=Source.LRMS,
        seqcode="UI=000001",
        user="/CN=x",
        attributes={"name": "n", "value": "v"},
        level=8,
        priority=4,
    )


#: As a Java client writes to a spool file: other order, no blank at the end, two before the first attribute.
JAVA = (
    b' DG.LLLID="0" DG.USER="/CN=host/cream.example.org" DATE=20240102030405123000 HOST="cream.example.org" '
    b'PROG=edg-wms LVL=SYSTEM DG.PRIORITY=0 DG.SOURCE="CREAMExecutor" DG.SRC_INSTANCE="" DG.EVNT="CREAMStore" '
    b'DG.JOBID="https://lb.example.org:9000/7-31F2bdWH6EFPUMCk4ztg" DG.SEQCODE="no_seqcodes_with_cream"  '
    b'DG.CREAMSTORE.COMMAND="CMDSTART" DG.CREAMSTORE.CMDID="C:\\x" DG.CREAMSTORE.RESULT="START" '
    b'DG.CREAMSTORE.REASON="null"'
)
#: As a C logger stores and forwards it.
LOGGED = (
    b'DG.LLLID=4242000 DG.USER="/DC=org/DC=example/CN=Some User" DATE=20240102030405.123456 HOST="ui.example.org" '
    b'PROG=edg-wms LVL=SYSTEM DG.PRIORITY=4 DG.SOURCE="UserInterface" DG.SRC_INSTANCE="" DG.EVNT="Abort" '
    b'DG.JOBID="https://lb.example.org:9000/7-31F2bdWH6EFPUMCk4ztg" DG.SEQCODE="UI=000002:NS=0000000000:WM=000000:'
    b'BH=0000000000:JSS=000000:LM=000000:LRMS=000000:APP=000000:LBS=000000" DG.ABORT.REASON="no resources" \n'
)

#: A value of each kind that is not null.
TEXTS: dict[str, Any] = {
    "string": lambda a: "text",
    "int": lambda a: "7",
    "port": lambda a: "7",
    "double": lambda a: "7.5",
    "coded": lambda a: next(iter(a.codes)),
    "logsrc": lambda a: "LRMS",
    "jobid": lambda a: "https://lb:9000/x",
    "notifid": lambda a: "https://lb:9000/NOTIF:x",
    "timeval": lambda a: "20240102030405.000000",
    "taglist": lambda a: "a=b",
}


lines = st.one_of(
    st.sampled_from(examples()),
    st.sampled_from([LOGGED, JAVA]),
    st.sampled_from([text for text, _ in TAKEN] + [text for text, *_ in BAD]),
    strategies.events.map(write),
)

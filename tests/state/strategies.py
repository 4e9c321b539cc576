"""Events as they might come: of any type, with any attributes, codes readable or not."""

from __future__ import annotations

from hypothesis import strategies as st

from lb.model.catalogue import TYPES, Attribute, Kind, Source
from lb.model.event import Event, Value
from lb.model.seqcode import format_normal, format_pbs
from lb.state.registration import REGISTRATION
from tests.state.make import JOB, OWNER, registered

#: Texts of any bytes, as lb keeps them; few enough to meet each other.
texts = st.sampled_from(["a", "A", "ž", "\udcff", 'q"\\\n', "done-ok", "running", "Done", "N/A", "12x", "https://h/u"])

normal_codes = st.builds(format_normal, st.tuples(*[st.integers(0, 3)] * 9))
codes = st.one_of(
    normal_codes,
    normal_codes,
    st.builds(format_pbs, st.tuples(*[st.integers(0, 3)] * 5)),
    st.builds(
        "TIMESTAMP=2008011021200{}:POS=000000000{}:EV.CODE=0{}:SRC={}".format,
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from(["00", "17"]),
        st.sampled_from("mNCHsSj"),
    ),
    st.sampled_from(["", "none", "\udcff"]),
)

job_types = st.sampled_from(sorted(REGISTRATION.by_name["jobtype"].codes))
#: Types whose events are ordered by codes as `normal_codes` makes them.
ordinary_types = job_types.filter(lambda name: name != "CONDOR")


def is_ordinary(event: Event) -> bool:
    """Whether an event leaves its job with a type of those."""
    return (
        event.type is not REGISTRATION
        or event.attributes.get("jobtype") != REGISTRATION.by_name["jobtype"].codes["CONDOR"]
    )


def _values(attribute: Attribute) -> st.SearchStrategy[Value]:
    match attribute.kind:
        case Kind.CODED:
            return st.sampled_from(sorted(attribute.codes.values()))
        case Kind.LOGSRC:
            return st.sampled_from([int(source) for source in Source])
        case Kind.INT:
            return st.sampled_from([-1, 0, 1, 2, 7, 2**31])
        case Kind.PORT:
            return st.integers(0, 65535)
        case Kind.TIMEVAL:
            return st.integers(0, 2**50)
        case Kind.DOUBLE:
            return st.floats(allow_nan=False)
        case Kind.TAGLIST:
            return st.lists(st.tuples(texts, texts), max_size=2).map(tuple)
        case Kind.JOBID | Kind.NOTIFID:
            return st.just("https://lb.ex:9000/other")
        case _:
            return texts


@st.composite
def events(draw: st.DrawFn, seqcodes: st.SearchStrategy[str] = codes) -> Event:
    """One event of the job `JOB`; any of its attributes may be absent, its coded ones unknown."""
    event_type = draw(st.sampled_from(TYPES))
    given = draw(st.fixed_dictionaries({}, optional={each.name: _values(each) for each in event_type.attributes}))
    return Event(
        event_type,
        JOB,
        timestamp=draw(st.integers(0, 10)) * 1_000_000,
        host="h.ex",
        source=draw(st.sampled_from(Source)),
        seqcode=draw(seqcodes),
        user=draw(st.sampled_from([None, OWNER, "/CN=Bob"])),
        attributes=given,
        src_instance=draw(st.sampled_from([None, "", "7443"])),
    )


def streams(
    seqcodes: st.SearchStrategy[str] = codes, job_types: st.SearchStrategy[str] = job_types
) -> st.SearchStrategy[list[Event]]:
    """A registration, then whatever comes."""
    return st.builds(
        lambda jobtype, seqcode, rest: [registered(jobtype, seqcode), *rest],
        job_types,
        seqcodes,
        st.lists(events(seqcodes), max_size=25),
    )

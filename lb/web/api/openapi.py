"""The description of the API (OpenAPI 3.1), made of the tables that the API itself works by.

Routes, query attributes, event types and the attributes of a state come from their catalogues; nothing is listed here
a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import lb
from lb.model.catalogue import LEVEL_CODES, TYPES, Attribute, EventType, Kind, Source
from lb.model.grammar import UNSUPPORTED
from lb.model.query import FORMS, NAMED, AttributeForm, Operator
from lb.model.query import Attribute as QueryAttribute
from lb.model.query import Kind as ConditionKind
from lb.model.status import ATTRIBUTES, STATE_NAMES, StatusAttribute
from lb.web.api.messages import PROBLEM
from lb.web.api.parameters import LIMIT, Parameter
from lb.wire.jsonevent import MANDATORY

if TYPE_CHECKING:
    from lb.web.api.routes import Route

_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": "string", "format": "date-time"}
_TEXTS: Final = {"type": "object", "additionalProperties": _TEXT}
_COUNTS: Final = {"type": "object", "additionalProperties": {"type": "integer"}}

#: Attributes that no parameter can be about: they are of events, or need a name beside the value.
_NOT_ASKED: Final = UNSUPPORTED | NAMED | {QueryAttribute.TIME} | {a for a in FORMS if not FORMS[a].job_operators}

_STREAM: Final = (
    "server-sent events: `job` with the state of a job that changed, `gone` with the jobId of one that does not meet "
    "the conditions now; `begin` first, or `reset` when changes may have been missed: then ask for the list again"
)

_CONDITION: Final = {
    "type": "object",
    "required": ["attribute", "operator"],
    "properties": {
        "attribute": {"type": "string", "enum": [form.element for form in FORMS.values()]},
        "name": _TEXT,
        "state": {"type": "string", "enum": list(STATE_NAMES)},
        "operator": {"type": "string", "enum": [operator.name.lower() for operator in Operator]},
        "value": {"type": ["string", "integer"]},
        "value2": {"type": ["string", "integer"]},
    },
}

#: What every error looks like.
_PROBLEM: Final = {
    "type": "object",
    "required": ["title", "status", "detail", "code", "text"],
    "properties": {
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong, in words"},
        "code": {"type": "integer", "description": "error number of the L&B protocol: errno, or 1401 and more"},
        "text": {"type": "string", "description": "standard text of the number"},
    },
}


def document(routes: Iterable[Route], root: str, most_jobs: int) -> dict[str, Any]:
    """The description of some routes below a root; `most_jobs`: the greatest limit of a list."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, most_jobs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Logging and Bookkeeping",
            "version": lb.__version__,
            "description": "Jobs, their states and their events. Whoever asks is known by the certificate of the TLS "
            "connection; jobs that may not be read are left out of lists.",
        },
        "servers": [{"url": root}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"certificate": {"type": "mutualTLS"}},
        },
        "security": [{"certificate": []}],
    }


# --- operations -------------------------------------------------------------------------------------------------


def _operation(route: Route, most_jobs: int) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT, "description": "unique part of a job id"}
        for name in route.variables
    ]
    parameters += [_parameter(parameter, most_jobs) for parameter in route.parameters]
    if route.conditions:
        parameters += [_condition(form) for attribute, form in FORMS.items() if attribute not in _NOT_ASKED]
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "The answer.", "content": {route.produces: {"schema": _reference(route.schema)}}},
            "default": {"description": "An error.", "content": {PROBLEM: {"schema": _reference("Problem")}}},
        },
    }
    if route.takes:
        operation["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": _reference(name)} for kind, name in route.takes.items()},
        }
    if route.anonymous:
        operation["security"] = []
    return operation


def _operation_id(route: Route) -> str:
    words = [word.strip("{}") for word in route.path.replace(".", "/").split("/") if word]
    return "_".join([route.method.lower(), *words])


def _parameter(parameter: Parameter, most_jobs: int) -> dict[str, Any]:
    schema = dict(parameter.schema)
    if parameter is LIMIT:
        schema["maximum"] = most_jobs
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": "query",
        "schema": schema,
        "description": parameter.meaning,
    }
    if schema["type"] == "array":
        described |= {"style": "form", "explode": False}
    return described


def _condition(form: AttributeForm) -> dict[str, Any]:
    meaning = f"condition on the {form.noun}: a value or an operator (<>, <, >) and a value; | between alternatives"
    if form.kind is ConditionKind.SECONDS:
        meaning += "; seconds since the epoch, or last3600 for an hour ago"
    elif form.names:
        meaning += "; values: " + ", ".join(form.names.values())
    return {
        "name": form.element.lower(),
        "in": "query",
        "schema": _TEXT,
        "description": meaning,
        "allowReserved": True,
    }


# --- schemas ----------------------------------------------------------------------------------------------------


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Iterable[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _reference(name)}


def _schemas() -> dict[str, Any]:
    result = _object(
        ("code", "text", "again"),
        code={"type": "integer", "description": "0 when the event is stored, else the number of the error"},
        text=_TEXT,
        again={"type": "boolean", "description": "whether the same event may be taken another time"},
    )
    results = _object(
        ("stored", "refused", "results"),
        stored={"type": "integer"},
        refused={"type": "integer"},
        results={"type": "array", "items": result, "description": "one for each event, in their order"},
    )
    return {
        "Problem": _PROBLEM,
        "Job": {"type": "object", "required": ["state"], "properties": {a.name: _of_status(a) for a in ATTRIBUTES}},
        "Jobs": _object(("jobs",), jobs=_list("Job"), next_cursor=_TEXT),
        "Event": {
            "oneOf": [_reference(f"Event{type_.name}") for type_ in TYPES],
            "discriminator": {
                "propertyName": "type",
                "mapping": {type_.name: f"#/components/schemas/Event{type_.name}" for type_ in TYPES},
            },
        },
        "NewEvent": {
            **_reference("Event"),
            "description": "an event of which type and jobId suffice beside what its type needs; user and arrived are "
            "the server's to say",
        },
        "EventsIn": {"oneOf": [_reference("NewEvent"), {"type": "array", "items": _reference("NewEvent")}]},
        "Events": _object(("events",), events=_list("Event")),
        "Results": {"oneOf": [result, results]},
        "Change": {"type": "string", "description": _STREAM},
        "Registration": _object(
            ("id", "owner", "destination", "valid", "flags", "jobs", "conditions"),
            id=_TEXT,
            owner=_TEXT,
            destination=_TEXT,
            valid=_TIME,
            flags={"type": "array", "items": _TEXT},
            jobs={"type": "array", "items": _TEXT},
            conditions={
                "type": "array",
                "items": {"type": "array", "items": _CONDITION},
                "description": "all groups must hold, of each group one condition",
            },
        ),
        "Registrations": _object(("registrations",), registrations=_list("Registration")),
        "Stats": _object(
            ("version", "uptime", "figures"),
            version=_TEXT,
            uptime={"type": "number", "description": "seconds since the start"},
            figures={"type": "object", "additionalProperties": {"type": "number"}},
        ),
        "Description": {"type": "object"},
        **{f"Event{type_.name}": _of_event(type_) for type_ in TYPES},
    }


_STATUS_TYPES: Final[dict[str, Mapping[str, Any]]] = {
    "string": _TEXT,
    "jobid": _TEXT,
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "timeval": _TIME,
    "taglist": _TEXTS,
    "strlist": {"type": "array", "items": _TEXT},
    "intlist": _COUNTS,
    "stslist": {"type": "array", "items": {"$ref": "#/components/schemas/Job"}},
}


def _of_status(attribute: StatusAttribute) -> Mapping[str, Any]:
    if attribute.name == "state":
        return {"type": "string", "enum": list(STATE_NAMES)}
    if attribute.name == "stateEnterTimes":
        return {"type": "object", "additionalProperties": _TIME, "description": "by state"}
    if attribute.type == "int" and (attribute.codes or attribute.display):
        return {"type": ["string", "integer"], "examples": list(attribute.display or attribute.codes)}
    return _STATUS_TYPES[attribute.type]


_COMMON: Final[dict[str, Mapping[str, Any]]] = {
    "timestamp": {**_TIME, "description": "when it happened; now, when it is not said"},
    "arrived": {**_TIME, "readOnly": True},
    "host": _TEXT,
    "level": {"type": ["string", "integer"], "examples": list(LEVEL_CODES)},
    "priority": {"type": "integer"},
    "jobId": _TEXT,
    "seqcode": _TEXT,
    "user": _TEXT,
    "source": {"type": "string", "enum": [source.name for source in Source]},
    "src_instance": _TEXT,
}

_EVENT_TYPES: Final[dict[Kind, Mapping[str, Any]]] = {
    Kind.STRING: _TEXT,
    Kind.INT: {"type": "integer"},
    Kind.PORT: {"type": "integer", "minimum": 0, "maximum": 65535},
    Kind.DOUBLE: {"type": "number"},
    Kind.LOGSRC: {"type": "string", "enum": [source.name for source in Source]},
    Kind.JOBID: _TEXT,
    Kind.NOTIFID: _TEXT,
    Kind.TIMEVAL: _TIME,
    Kind.TAGLIST: _TEXTS,
}


def _of_event(type_: EventType) -> dict[str, Any]:
    own = {attribute.name: _of_attribute(attribute) for attribute in type_.attributes}
    needed = [attribute.name for attribute in type_.attributes if attribute.mandatory]
    return {
        "type": "object",
        "required": [*MANDATORY, *needed],
        "properties": {"type": {"const": type_.name}, **_COMMON, **own},
    }


def _of_attribute(attribute: Attribute) -> Mapping[str, Any]:
    if attribute.kind is Kind.CODED:
        return {"type": ["string", "integer"], "examples": list(attribute.codes)}
    return _EVENT_TYPES[attribute.kind]

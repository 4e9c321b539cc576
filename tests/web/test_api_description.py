"""The description of the API: valid in its structure, complete, and true of the answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lb.model.catalogue import TYPES
from lb.model.jobid import parse
from lb.model.query import BY_ELEMENT
from lb.model.status import ATTRIBUTES
from lb.security.identity import ANONYMOUS
from lb.web.api.routes import ROUTES
from tests.web.api import Served, document
from tests.web.fixture import replay
from tests.web.test_registrations import Given

SCHEMA_TYPES = {"string", "integer", "number", "boolean", "object", "array"}
#: Members of a schema that we use (JSON Schema 2020-12, OpenAPI 3.1 §4.8.24).
SCHEMA_MEMBERS = {
    *("type", "properties", "required", "items", "oneOf", "enum", "const", "format", "description", "examples"),
    *("additionalProperties", "minimum", "maximum", "default", "readOnly", "discriminator", "$ref"),
}


def matches(schema: Any, value: Any, schemas: Any) -> bool:
    """Whether a value is what a schema of the kind used here says."""
    if "$ref" in schema and not matches(schemas[schema["$ref"].rpartition("/")[2]], value, schemas):
        return False
    if "oneOf" in schema and sum(matches(each, value, schemas) for each in schema["oneOf"]) != 1:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list}
    named = schema.get("type", [])
    wanted = [named] if isinstance(named, str) else named
    if wanted and not any(isinstance(value, kinds[kind]) for kind in wanted):  # type: ignore[arg-type]
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        other = schema.get("additionalProperties")
        return set(schema.get("required", ())) <= value.keys() and all(
            matches(known[name], each, schemas) if name in known else other is None or matches(other, each, schemas)
            for name, each in value.items()
        )
    return not isinstance(value, list) or all(matches(schema.get("items", {}), each, schemas) for each in value)


def every_schema(schema: Any) -> Iterator[Any]:
    """A schema and all inside it."""
    yield schema
    for inner in (*schema.get("properties", {}).values(), *schema.get("oneOf", ())):
        yield from every_schema(inner)
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from every_schema(schema[name])


class Description(SynchronousTestCase):
    """`/api/v1/openapi.json`."""

    def setUp(self) -> None:
        """Asked for by somebody without a certificate."""
        self.served = Served(Path(self.mktemp()))
        self.served.registrations = Given()
        self.served.api = self.served.make()
        self.addCleanup(self.served.close)
        self.described = self.served.get("/openapi.json", ANONYMOUS)
        self.schemas = self.described["components"]["schemas"]

    def test_structure(self) -> None:
        """It has what OpenAPI 3.1 demands: info, paths, operations with responses, parameters with schemas."""
        self.assertRegex(self.described["openapi"], r"^3\.1\.\d+$")
        self.assertLessEqual({"title", "version"}, self.described["info"].keys())
        ids = []
        for path, item in self.described["paths"].items():
            self.assertTrue(path.startswith("/"))
            for method, operation in item.items():
                self.assertIn(method, ("get", "post", "put", "delete"))
                ids.append(operation["operationId"])
                self.assertIn("default", operation["responses"])
                for response in operation["responses"].values():
                    self.assertTrue(response["description"])
                named = [(p["in"], p["name"]) for p in operation["parameters"]]
                self.assertEqual(len(set(named)), len(named))
                self.assertEqual({n for where, n in named if where == "path"}, set(re.findall(r"\{(\w+)\}", path)))
                for parameter in operation["parameters"]:
                    self.assertIn("schema", parameter)
                    self.assertTrue(parameter.get("required") or parameter["in"] == "query")
        self.assertEqual(len(set(ids)), len(ids))

    def test_schemas(self) -> None:
        """Every schema is one, and every reference leads to one."""
        contents = [
            content["schema"]
            for item in self.described["paths"].values()
            for operation in item.values()
            for holder in (*operation["responses"].values(), operation.get("requestBody", {}))
            for content in holder.get("content", {}).values()
        ]
        for schema in (each for whole in (*self.schemas.values(), *contents) for each in every_schema(whole)):
            self.assertLessEqual(schema.keys(), SCHEMA_MEMBERS)
            types = schema.get("type", [])
            self.assertLessEqual({types} if isinstance(types, str) else set(types), SCHEMA_TYPES)
            if "$ref" in schema:
                prefix, _, name = schema["$ref"].rpartition("/")
                self.assertEqual(prefix, "#/components/schemas")
                self.assertIn(name, self.schemas)

    def test_complete(self) -> None:
        """All routes, all types of events, all attributes of states; each parameter of a list is understood."""
        described = {(m, p) for p, item in self.described["paths"].items() for m in item}
        self.assertEqual(described, {(route.method.lower(), route.path) for route in ROUTES})
        for type_ in TYPES:
            self.assertLessEqual(set(type_.by_name), self.schemas[f"Event{type_.name}"]["properties"].keys())
        self.assertEqual({a.name for a in ATTRIBUTES}, self.schemas["Job"]["properties"].keys())
        conditions = [
            p["name"] for p in self.described["paths"]["/jobs"]["get"]["parameters"] if p["name"] in BY_ELEMENT
        ]
        self.assertIn("status", conditions)
        self.assertNotIn("level", conditions)
        for name in conditions:
            value = {"status": "done", "jobtype": "simple", "vm_status": "vm_running"}.get(name, "1")
            value = "https://localhost:9000/x" if name in ("jobid", "parent_job") else value
            self.assertEqual(self.served.get(f"/jobs?jobid=https://localhost:9000/x&{name}={value}"), {"jobs": []})

    def test_true(self) -> None:
        """Every route answers, and what it answers is what the description says."""
        unique = parse(replay(self.served.server, "job-resubmitted")).unique
        for path, item in self.described["paths"].items():
            name = "own1" if path.startswith("/registrations") else unique
            for method, operation in item.items():
                body = b'{"type":"UserTag","jobId":"https://localhost:9000/x","name":"a","value":"b"}'
                posted = (body, {"Content_Type": "application/json"}) if method == "post" else (None, {})
                if path == "/stream":  # it does not end; its head does
                    method = "head"
                response = self.served.ask(method.upper(), path.replace("{unique}", name), posted[0], **posted[1])
                if method == "post":
                    response = self.served.ask(method.upper(), path, b"[%b]" % body, **posted[1])
                content = operation["responses"]["200"]["content"]
                (kind,) = content
                self.assertEqual((response.status, response.headers["content-type"]), (200, kind), path)
                if kind == "text/event-stream":
                    continue
                schema = content[kind]["schema"]
                self.assertTrue(matches(schema, document(response), self.schemas), (path, response.body))
        problem = document(self.served.ask("GET", "/jobs/nosuch"), 404)
        self.assertTrue(matches(self.schemas["Problem"], problem, self.schemas))
        self.assertFalse(matches(self.schemas["Job"], problem, self.schemas))

"""Whether an answer to an operator is as /ops/openapi.json describes it, and has nothing more."""

import json
from functools import cache
from typing import Any

import jsonschema_rs

from chalicelib.api.ops.document import document

_JSON = ("application/json", "application/problem+json")


def check(method: str, path: str, status: int, type_: str, body: bytes | str) -> None:
    """Raise AssertionError for an answer to a call below /ops that is not as described. path: with
    /ops, without a query. Other types than JSON are not looked into."""
    described = _operation(method, path)
    if described is None or type_ not in _JSON:
        return
    responses = described["responses"]
    answer = responses.get(str(status)) if status < 300 else responses["default"]
    assert answer, f"{method} {path} is not described to answer {status}"
    reference = answer["content"][type_]["schema"]["$ref"]
    for error in _validator(reference.rpartition("/")[2]).iter_errors(json.loads(body)):
        where = "/".join(map(str, error.instance_path))
        raise AssertionError(f"{method} {path}: {where}: {error.message}")


def _operation(method: str, path: str) -> Any:
    own = path.split("/")
    found = [
        operations[method.lower()]
        for template, operations in document()["paths"].items()
        if method.lower() in operations and _matches(template.split("/"), own)
    ]
    return found[0] if found else None


def _matches(template: list[str], own: list[str]) -> bool:
    return len(template) == len(own) and all(
        name in ("{id}", text) for name, text in zip(template, own, strict=True)
    )


@cache
def _validator(name: str) -> Any:
    schemas = _closed(document()["components"]["schemas"])
    whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
    return jsonschema_rs.validator_for(whole)


def _closed(part: Any) -> Any:
    """Schemas whose objects have the described members alone."""
    if isinstance(part, list):
        return [_closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {name: _closed(each) for name, each in part.items()}
    return {**found, "additionalProperties": False} if "required" in part else found

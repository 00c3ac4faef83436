"""Documents that people write: read, and checked against a JSON Schema."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chalicelib.contract.validator import compiled

_INTEGER = "tag:yaml.org,2002:int"


class PlanningError(Exception):
    """What was given cannot be planned with; the text says what is wrong and what is accepted."""


def read(path: Path) -> Any:
    """The contents of a YAML or JSON file. Raises PlanningError."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PlanningError(f"{path} cannot be read: {reason}.") from None
    is_json = path.suffix == ".json"
    try:
        return json.loads(text) if is_json else yaml.load(text, _loader())  # noqa: S506
    except (ValueError, yaml.YAMLError) as error:
        kind = "JSON" if is_json else "YAML"
        raise PlanningError(f"{path} is not {kind}: {' '.join(str(error).split())}") from None


def check(document: Any, schema: Mapping[str, Any], name: str) -> None:
    """Raises PlanningError with each fault of a document: its field, what is wrong, and what would
    be right, which the schema's descriptions say. name: what the document is called."""
    refuse(_faults(document, schema), name)


def refuse(faults: Iterator[str], name: str) -> None:
    """Raises PlanningError if there are faults, each a line."""
    if found := [*dict.fromkeys(faults)]:
        raise PlanningError("\n".join(f"{name}: {each}" for each in found))


def _faults(document: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    for error in compiled(schema).iter_errors(document):
        place = ".".join(map(str, error.instance_path)) or "the document"
        meant = _description(schema, error.schema_path)
        yield f"{place}: {error.message}{f'; it is {meant}' if meant else ''}"


def _description(schema: Any, path: list[str | int]) -> str:
    """The description of the innermost schema on the way to a violated keyword that has one."""
    found = ""
    for step in path:
        if isinstance(schema, Mapping) and isinstance(schema.get("description"), str):
            found = schema["description"]
        schema = schema[step]
    return found


def _loader() -> Any:
    """YAML's safe loader, without whole numbers to the base of 60, as which YAML 1.1 reads 12:00,
    and to the base of 8."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # its types are not known
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [each for each in found if each[0] != _INTEGER]
            for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver(_INTEGER, re.compile(r"[-+]?(0|[1-9][0-9]*)$"), [*"-+0123456789"])
    return Loader

"""The template of a deployment's first update: what is deployed, with the new migrate function."""

import copy
import re
from collections.abc import Iterator
from typing import Any

from decanter.deployment import functions
from decanter.deployment.references import Json

_SUBSTITUTED = re.compile(r"\$\{([A-Za-z0-9]+)[.}]")


def only_migrate(new: Json, deployed: Json | None, secrets_version: str) -> Json:
    """The deployed template with the new migrate function; if nothing is deployed, only what that
    function needs.

    secrets_version: of the migrate function alone. The others keep their passwords, as the database
    does until the migration sets new ones.
    """
    head = ("AWSTemplateFormatVersion", "Transform")
    empty = {**{name: new[name] for name in head if name in new}, "Resources": {}}
    base: Json = copy.deepcopy(deployed or empty)
    resources, function = new["Resources"], functions.function("migrate")
    migrate = copy.deepcopy(resources[function.logical])
    migrate["Properties"]["Environment"]["Variables"]["DECANTER_SECRETS_VERSION"] = secrets_version
    for layer in migrate["Properties"].get("Layers", []):
        name = layer.get("Ref") if isinstance(layer, dict) else None
        old = base["Resources"].get(name)
        if name in resources and old is not None and old != resources[name]:
            base["Resources"][f"{function.logical}{name}"] = copy.deepcopy(resources[name])
            layer["Ref"] = f"{function.logical}{name}"
    base["Resources"][function.logical] = migrate
    role = copy.deepcopy(resources[function.execution_role])
    base["Resources"][function.execution_role] = role
    base.setdefault("Outputs", {})[function.output] = {"Value": {"Ref": function.logical}}
    while missing := [
        (section, name)
        for name in {*_references(base["Resources"]), *_references(base.get("Conditions", {}))}
        for section in ("Parameters", "Conditions", "Resources")
        if name in new.get(section, {}) and name not in base.get(section, {})
    ]:
        for section, name in missing:
            base.setdefault(section, {})[name] = copy.deepcopy(new[section][name])
    return base


def _references(part: Any) -> Iterator[str]:
    """Names of the parameters, conditions and resources that a part of a template refers to."""
    if isinstance(part, list):
        part = {str(place): each for place, each in enumerate(part)}
    for name, value in part.items() if isinstance(part, dict) else ():
        if name in ("Ref", "Condition", "DependsOn") and isinstance(value, str):
            yield value
        elif name == "DependsOn" and isinstance(value, list):
            yield from value
        elif name == "Fn::GetAtt":
            yield value[0] if isinstance(value, list) else value.split(".")[0]
        elif name == "Fn::If":
            yield value[0]
        elif name == "Fn::Sub":
            yield from _SUBSTITUTED.findall(value if isinstance(value, str) else value[0])
        yield from _references(value)

"""The event source mappings of a deployed stage, and which of them an operator has paused."""

import time
from collections.abc import Callable, Iterable, Mapping

from chalicelib.settings import mapping_variable
from decanter.deployment import functions
from decanter.deployment.aws import Aws, is_local
from decanter.deployment.findings import DeploymentError
from decanter.deployment.functions import Function
from decanter.deployment.references import Json
from decanter.deployment.stage import Stage

_SECONDS = 120.0
PAUSED = "Disabled"
"""The state of a mapping that an operator has paused."""

_PAUSING = "Disabling"


def of_function(aws: Aws, function: str) -> list[Json]:
    """The mappings of a deployed function; none if there is no such function."""
    client = aws("lambda")
    try:
        answer = client.list_event_source_mappings(FunctionName=function)
    except client.exceptions.ResourceNotFoundException:
        return []
    found: list[Json] = answer["EventSourceMappings"]
    return found


def paused(aws: Aws, deployed: Mapping[str, str]) -> list[str]:
    """The functions whose mapping is paused. deployed: their deployed names."""
    return [
        each.name
        for each in functions.FUNCTIONS
        if each.buffer and each.name in deployed
        for mapping in of_function(aws, deployed[each.name])
        if mapping.get("State") in (PAUSED, _PAUSING)
    ]


def keep_paused(document: Json, names: Iterable[str]) -> None:
    """Say in a template that the mappings of these functions are paused, so that its deployment
    does not resume them."""
    for each in map(functions.function, names):
        if resource := document["Resources"].get(each.logical):
            resource["Properties"]["Events"][each.event_source]["Properties"]["Enabled"] = False


def note(function: Function) -> str:
    """A line for whoever deploys to a stage with a paused buffer."""
    return (
        f"note: the {function.buffer} buffer is paused, and stays so: {function.name} pours nothing"
        f" until `python -m decanter ops resume {function.buffer}`"
    )


def name_in_functions(
    aws: Aws, stage: Stage, say: Callable[[str], None] = lambda _line: None
) -> None:
    """Give API and audit the UUIDs of the mappings that ``chalice deploy`` has made, so that they
    can see and pause them. May be repeated at any time."""
    named = variables_of(aws, stage)
    for function in ("api", "audit"):
        _name_in(aws, functions.function(function).deployed_name(stage.application), named, say)


def _name_in(aws: Aws, name: str, named: Mapping[str, str], say: Callable[[str], None]) -> None:
    client = aws("lambda")
    settings = client.get_function_configuration(FunctionName=name)
    variables = settings.get("Environment", {}).get("Variables", {})
    wanted = {**variables, **named}
    if wanted == variables:
        return
    say(f"naming the mappings of the buffers in {name}")
    client.update_function_configuration(
        FunctionName=name,
        Environment={"Variables": wanted},
        RevisionId=settings["RevisionId"],  # refuses to overwrite a concurrent change
    )
    client.get_waiter("function_updated_v2").wait(FunctionName=name)


def variables_of(aws: Aws, stage: Stage) -> dict[str, str]:
    """Variables of functions with the UUIDs of the mappings that ``chalice deploy`` has
    made; before it has made any, there are none."""
    return {
        mapping_variable(each.buffer): mapping["UUID"]
        for each in stage.functions
        if each.buffer
        for mapping in of_function(aws, each.deployed_name(stage.application))[:1]
    }


def await_settings(aws: Aws, function: str, wanted: Json) -> Json:
    """Set what is wanted of the mapping of a function, and wait until it holds; returns the
    mapping. One that is paused stays so. Raises DeploymentError."""
    client = aws("lambda")
    deadline = time.monotonic() + _SECONDS
    while True:
        found = of_function(aws, function)
        if len(found) != 1:
            raise DeploymentError(
                f"{function} has {len(found)} event source mappings, not 1. Run `chalice deploy` if"
                " there is none; remove those of other queues and streams."
            )
        [mapping] = found
        is_on = wanted.items() <= mapping.items()
        if is_on and mapping.get("State") in ("Enabled", PAUSED):
            return mapping
        if time.monotonic() > deadline:
            raise DeploymentError(
                f"The event source mapping of {function} is {mapping.get('State')}, not Enabled"
                " with partial responses. Run this again."
            )
        if not is_on and not mapping.get("State", "").endswith("ing"):
            client.update_event_source_mapping(UUID=mapping["UUID"], **wanted)
        time.sleep(0.2 if is_local(aws) else 2)

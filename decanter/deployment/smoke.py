"""A test of a deployed stage from outside, which writes nothing."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from decanter.deployment import functions, invocation
from decanter.deployment.aws import Aws
from decanter.deployment.deploy import DeployedStack
from decanter.deployment.mappings import PAUSED, of_function
from decanter.deployment.references import Json

_SECONDS = 120.0
_PAUSE_SECONDS = 1.0


def await_faults(
    aws: Aws, stack: DeployedStack, contract: Any, seconds: float = _SECONDS
) -> list[str]:
    """Return what is still wrong after so many seconds, which AWS may need for some changes.

    contract: the packaged one.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = [*_faults(aws, stack, contract)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(_PAUSE_SECONDS)


def _faults(aws: Aws, stack: DeployedStack, contract: Any) -> Iterator[str]:
    if (status := _status(f"{stack.api_url}/health")) != 200:
        yield f"GET /health answers {status}, not 200"
    if (status := _status(f"{stack.api_url}/openapi.json")) != 401:
        yield f"GET /openapi.json without credentials answers {status}, not 401"
    served = invocation.served_contract(aws, stack.function("api"))
    if served != contract:
        yield "the API serves another contract than the packaged one"
    for drain, _queue in functions.drains():
        yield from mapping_faults(aws, drain.name, stack.function(drain.name))
    for name, function in stack.functions.items():
        if functions.function(name).reads_stream:
            yield from stream_faults(aws, name, function)


def mapping_faults(aws: Aws, name: str, function: str) -> Iterator[str]:
    """Faults of the event source mapping of a queue's drain. function: its deployed name."""
    mappings = of_function(aws, function)
    yield from _common_faults(name, mappings)
    for mapping in mappings:
        if not mapping.get("ScalingConfig", {}).get("MaximumConcurrency"):
            yield f"the event source mapping of {name} has no MaximumConcurrency"


def stream_faults(aws: Aws, name: str, function: str) -> Iterator[str]:
    """Faults of the event source mapping of the stream's drain. function: its deployed name."""
    mappings = of_function(aws, function)
    yield from _common_faults(name, mappings)
    for mapping in mappings:
        if not mapping.get("FilterCriteria", {}).get("Filters"):
            yield f"the event source mapping of {name} has no filter"
        for limit in ("MaximumRetryAttempts", "MaximumRecordAgeInSeconds"):
            if (found := mapping.get(limit, -1)) != -1:
                yield f"the event source mapping of {name} has {limit} {found}, and drops records"


def _common_faults(name: str, mappings: list[Json]) -> Iterator[str]:
    if len(mappings) != 1:
        yield f"{name} has {len(mappings)} event source mappings, not 1"
    for mapping in mappings:
        if mapping.get("State") not in ("Enabled", PAUSED):
            yield f"the event source mapping of {name} is {mapping.get('State')}, not Enabled"
        if functions.PARTIAL_RESPONSES not in mapping.get("FunctionResponseTypes", []):
            yield f"the event source mapping of {name} has partial responses off"


def _status(url: str) -> int | str:
    """The HTTP status, or the name of the error; through the proxy, if there is one, as SDKs do."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError as error:
        return type(error).__name__

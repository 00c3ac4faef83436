"""Whether a stage that was deployed does what it should, seen from outside; nothing is written."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from decanter.deployment import functions, invocation
from decanter.deployment.aws import Aws
from decanter.deployment.deploy import DeployedStack

_SECONDS = 120.0
_PAUSE_SECONDS = 1.0


def wrong(aws: Aws, stack: DeployedStack, contract: Any, seconds: float = _SECONDS) -> list[str]:
    """What is wrong, each in a sentence; what AWS takes a while for is waited for.

    contract: that was packaged.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = [*_look(aws, stack, contract)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(_PAUSE_SECONDS)


def _look(aws: Aws, stack: DeployedStack, contract: Any) -> Iterator[str]:
    if (status := _status(f"{stack.api_url}/health")) != 200:
        yield f"GET /health answers {status}, not 200"
    if (status := _status(f"{stack.api_url}/openapi.json")) != 401:
        yield f"GET /openapi.json without credentials answers {status}, not 401"
    served = invocation.served_contract(aws, stack.function("api"))
    if served != contract:
        yield "the contract that is served is not the one that was packaged"
    for drain, _queue in functions.drains():
        yield from mapping_faults(aws, drain.name, stack.function(drain.name))


def mapping_faults(aws: Aws, name: str, function: str) -> Iterator[str]:
    """What is wrong with the event source mapping of a drain."""
    found = aws("lambda").list_event_source_mappings(FunctionName=function)
    mappings = found["EventSourceMappings"]
    if len(mappings) != 1:
        yield f"{name} takes from {len(mappings)} queues, not from one"
    for mapping in mappings:
        if mapping.get("State") != "Enabled":
            yield f"the event source mapping of {name} is {mapping.get('State')}, not Enabled"
        if "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", []):
            yield f"the event source mapping of {name} has partial responses off"
        if not mapping.get("ScalingConfig", {}).get("MaximumConcurrency"):
            yield f"the event source mapping of {name} has no MaximumConcurrency"


def _status(url: str) -> int | str:
    """Through the proxy, if there is one, as an SDK goes."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError as error:
        return type(error).__name__

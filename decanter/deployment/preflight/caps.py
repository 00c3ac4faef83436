"""Checks of the functions' concurrency: caps in a packaged template, and the account's limit."""

from collections.abc import Iterable, Iterator
from typing import Any

from decanter.deployment import budget, functions
from decanter.deployment.aws import Aws
from decanter.deployment.findings import Finding
from decanter.deployment.references import Json
from decanter.deployment.stage import CONFIG_FILE

_LEAST_MAPPING_CAP = 2  # AWS accepts no lower MaximumConcurrency
_LEAST_UNRESERVED = 100  # AWS keeps as much for functions without a reservation


def caps(document: Json) -> Iterator[Finding]:
    """Check the caps in a packaged template."""
    for drain, _queue in functions.drains():
        name, properties = drain.name, document["Resources"][drain.logical]["Properties"]
        [event] = [each for each in properties["Events"].values() if each.get("Type") != "Schedule"]
        cap = event["Properties"].get("ScalingConfig", {}).get("MaximumConcurrency")
        reserved = properties.get("ReservedConcurrentExecutions")
        if cap is None or cap < _LEAST_MAPPING_CAP:
            yield Finding(
                "mapping-cap",
                f"the queue of {name} has maximum_concurrency={cap} in app.py. AWS accepts no less"
                f" than {_LEAST_MAPPING_CAP}, and nothing caps the drain without it. Set it to"
                f" {_LEAST_MAPPING_CAP} or more.",
            )
        elif reserved is not None and reserved < cap:
            yield Finding(
                "reserved-below-cap",
                f"{name} has reserved_concurrency={reserved} in {CONFIG_FILE}, below"
                f" maximum_concurrency={cap} in app.py: SQS would deliver messages that no"
                " container can take, until they become dead letters. Set reserved_concurrency to"
                f" {cap} or more.",
            )
    for holder in functions.holders_in(document):
        if not _reservation(document, holder):
            yield budget.no_cap(holder)


def concurrency(aws: Aws, document: Json, deployed: Iterable[str]) -> Iterator[Finding]:
    """Check that the account can reserve the concurrency that the functions ask for.

    deployed: functions that may exist already; their reservations are part of what is asked for.
    """
    client = aws("lambda")
    account = client.get_account_settings()["AccountLimit"]
    limit, unreserved = account["ConcurrentExecutions"], account["UnreservedConcurrentExecutions"]
    wanted = sum(_reservation(document, each) for each in functions.FUNCTIONS)
    held = sum(_reserved(client, function) for function in deployed)
    kept = min(_LEAST_UNRESERVED, limit)
    if wanted > held and unreserved + held - wanted < kept:
        others = limit - unreserved - held
        holders = functions.holders_in(document)
        least = sum(_LEAST_MAPPING_CAP if each.queue else 1 for each in holders)
        yield Finding(
            "concurrency",
            f"the functions reserve {wanted} concurrent executions, and only"
            f" {max(0, limit - others - kept)} are left: of the {limit} that this account may have"
            f" in this region, other functions reserve {others}, and AWS keeps {kept} for functions"
            " without a reservation. Have the quota (Service Quotas, AWS Lambda, Concurrent"
            f" executions) raised to {others + wanted + _LEAST_UNRESERVED} or more, or lower the"
            f" caps (reserved_concurrency in {CONFIG_FILE}, maximum_concurrency in app.py): their"
            f" least possible sum is {least}.",
        )


def _reservation(document: Json, function: functions.Function) -> int:
    properties = document["Resources"].get(function.logical, {}).get("Properties", {})
    return int(properties.get("ReservedConcurrentExecutions") or 0)


def _reserved(client: Any, function: str) -> int:
    try:
        found = client.get_function_concurrency(FunctionName=function)
    except client.exceptions.ResourceNotFoundException:
        return 0
    return int(found.get("ReservedConcurrentExecutions", 0))

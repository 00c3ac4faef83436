"""Checks of the front table: the one that ``chalice deploy`` expects, a name that is in use, and
moves of resources there and back."""

from collections.abc import Iterator
from typing import Any

from decanter.deployment import fronts
from decanter.deployment.aws import Aws
from decanter.deployment.findings import DeploymentError, Finding
from decanter.deployment.fronts import DeployedStage
from decanter.deployment.functions import FRONT_TABLE
from decanter.deployment.references import Json

_CURE = "`python -m decanter queues` makes it"


def existing(aws: Aws, document: Json) -> Iterator[Finding]:
    """Check the table that resources with ``info={"front": "dynamodb"}`` are written to, if there
    are any. document: the packaged template."""
    if not (wanted := _wanted(document)):
        return
    name, client = wanted["TableName"], aws("dynamodb")
    if (found := _described(client, name)) is None:
        yield Finding(
            "table-missing",
            'a resource has info={"front": "dynamodb"}, and the table it is written to,'
            f' {name}, does not exist. {_CURE}; or set its front to "sqs".',
        )
        return
    faults = [
        (found["KeySchema"] != wanted["KeySchema"], "another key"),
        (_view(found) != _view(wanted), "no stream of new images"),
        (not _expires(client, name), "no time to live"),
    ]
    if wrong := [what for is_wrong, what in faults if is_wrong]:
        yield Finding(
            "table-unfit",
            f"the table {name} has {' and '.join(wrong)}, so that writes would not reach Postgres,"
            " or would stay for ever. It was changed, or made by other hands: set it as"
            f" {FRONT_TABLE} is in the packaged template.",
        )


def taken(aws: Aws, document: Json) -> Iterator[Finding]:
    """Check that no table has the name that a new stack needs. document: the packaged template."""
    if (wanted := _wanted(document)) and _described(aws("dynamodb"), wanted["TableName"]):
        yield Finding(
            "table-taken",
            f"the table {wanted['TableName']} exists and is not the stack's: it was made by"
            " `python -m decanter queues`, or is left from a deleted stack. Import it into the"
            " stack, or delete it when Postgres has its rows, or choose another DECANTER_QUEUES.",
        )


def moves(aws: Aws, document: Json, deployed: DeployedStage | None) -> Iterator[Finding]:
    """Check the moves of resources between SQS and the table. document: the packaged template."""
    try:
        yield from fronts.findings(aws, fronts.wanted(document), deployed)
    except DeploymentError as error:
        yield Finding("front-unknown", f"{error} It has to say which rows there are.")


def _wanted(document: Json) -> Json:
    """Properties of the table in a packaged template; empty: it has none."""
    found: Json = document["Resources"].get(FRONT_TABLE, {}).get("Properties", {})
    return found


def _described(client: Any, name: str) -> Json | None:
    try:
        found: Json = client.describe_table(TableName=name)["Table"]
    except client.exceptions.ResourceNotFoundException:
        return None
    return found


def _view(table: Json) -> Any:
    return (table.get("StreamSpecification") or {}).get("StreamViewType")


def _expires(client: Any, name: str) -> bool:
    found = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    return str(found.get("TimeToLiveStatus")) in ("ENABLED", "ENABLING")

"""Moves of a resource between SQS and the front table: what has to be true before each.

A resource goes over ``closed``, in which it takes no writes: rows that Postgres has need an item
before requests are answered from the table, and the last write of every item has to be in Postgres
before they are not any more.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from chalicelib.buffer.dynamodb import entries
from chalicelib.buffer.dynamodb.entries import Damaged, Entry
from chalicelib.errors import ForeignMessage, NewerMessage
from chalicelib.messages.message import decode
from chalicelib.messages.questions import ListQuestion, Page, PouredQuestion
from chalicelib.settings import LEDGER_DAYS
from decanter.deployment import front_states, functions
from decanter.deployment.aws import Aws, is_local
from decanter.deployment.findings import Finding
from decanter.deployment.invocation import ask, served_contract
from decanter.deployment.references import Json

_COUNTS = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]
_ASKED_AT_ONCE = 1_000
_HYDRATE = "`python -m decanter hydrate {} --stage STAGE`"
_DAY_MS = 86_400_000
_OLD_REQUEST_SECONDS = 60.0
"""After this time, no request is at work any more that the version before has begun."""


class DeployedStage(NamedTuple):
    """What is deployed of a stage, as far as moves ask for it.

    api, reader: names of the functions. queues: URLs of the ordered queue and of its dead-letter
    queue. table: the name of the front table; None: there is none. states: of the resources that
    are not behind SQS.
    """

    api: str
    reader: str
    queues: tuple[str, str]
    table: str | None
    states: Mapping[str, str]


def of_stack(aws: Aws, outputs: Mapping[str, str]) -> DeployedStage | None:
    """What a stack has deployed; None: no API function yet."""
    if (api := outputs.get(functions.function("api").output)) is None:
        return None
    reader = outputs[functions.function("reader").output]
    urls = functions.queue_outputs()
    queues = outputs[urls[functions.ORDERED.name]], outputs[urls[f"{functions.ORDERED.name}_dlq"]]
    variables = _variables(aws, api) or {}
    # The stack may have let go of the table already, which a deployed function still uses.
    table = outputs.get(functions.FRONT_TABLE_OUTPUT) or variables.get("DECANTER_FRONT_TABLE")
    return DeployedStage(api, reader, queues, table, front_states.read(variables))


def of_chalice(aws: Aws, application: str, outputs: Mapping[str, str]) -> DeployedStage | None:
    """What ``chalice deploy`` has deployed; None: nothing yet.

    application: prefix of the functions' names. outputs: of the stack of queues.
    """
    names = {
        each: functions.function(each).deployed_name(application) for each in ("api", "reader")
    }
    if _variables(aws, names["api"]) is None or not outputs:
        return None
    return of_stack(aws, {**outputs, **{functions.function(n).output: names[n] for n in names}})


def state(aws: Aws, api: str, name: str) -> str:
    """The front with which an API function has a resource now."""
    return front_states.read(_variables(aws, api) or {}).get(name, "sqs")


def _variables(aws: Aws, api: str) -> dict[str, str] | None:
    """The variables of a function; None: it does not exist."""
    client = aws("lambda")
    try:
        found = client.get_function_configuration(FunctionName=api)
    except client.exceptions.ResourceNotFoundException:
        return None
    variables: dict[str, str] = found.get("Environment", {}).get("Variables", {})
    return variables


def wanted(document: Json) -> dict[str, str]:
    """The resources that are not behind SQS, by a packaged template."""
    api = document["Resources"][functions.function("api").logical]["Properties"]
    return front_states.read(api.get("Environment", {}).get("Variables", {}))


def opened(aws: Aws, wanted: Mapping[str, str], deployed: DeployedStage | None) -> list[str]:
    """The resources that come behind the front table and are not hydrated."""
    before = deployed.states if deployed else {}
    return [
        name
        for name, state in sorted(wanted.items())
        if state == "dynamodb" != before.get(name)
        and not (deployed and name in before and is_hydrated(aws, deployed.table, name))
    ]


def forget_hydration(aws: Aws, wanted: Mapping[str, str], deployed: DeployedStage | None) -> None:
    """Forget that resources were hydrated which are behind SQS, where rows come without items."""
    if deployed is None or deployed.table is None:
        return
    for name in wanted.keys() - deployed.states.keys():
        key = {"pk": {"S": entries.hydrated_pk(name)}}
        aws("dynamodb").delete_item(TableName=deployed.table, Key=key)


def findings(
    aws: Aws, wanted: Mapping[str, str], deployed: DeployedStage | None
) -> Iterator[Finding]:
    """Check the moves from what is deployed to what is wanted. Raises DeploymentError if the
    deployed reader does not answer.

    Of a resource that is not deployed yet, only the migrated database knows whether it has rows.
    """
    yield from leaving(aws, wanted, deployed)
    names = opened(aws, wanted, deployed)
    if deployed is None or not names:
        return
    served = served_contract(aws, deployed.api) or {"x-decanter": {"resources": {}}}
    for name in names:
        if (facts := served["x-decanter"]["resources"].get(name)) is not None:
            yield from _coming(aws, deployed, name, [each["name"] for each in facts["key"]])


def leaving(
    aws: Aws, wanted: Mapping[str, str], deployed: DeployedStage | None
) -> Iterator[Finding]:
    """Check the resources that are not to need the front table any more."""
    for name, state in sorted(deployed.states.items()) if deployed else ():
        if deployed and name not in wanted:
            yield from _going_back(aws, deployed, name, state)


def not_hydrated(name: str, state: str) -> Finding:
    """A resource has rows that have no items. state: in which it is deployed."""
    close = f'set its front to "closed" and deploy that, then {_HYDRATE.format(name)}'
    hydrate = "run " + _HYDRATE.format(name)
    return Finding(
        "front-not-hydrated",
        f"{name} has rows in Postgres, or items of another time in the front table. Behind that"
        " table, its rows would not be found by their keys. To take them there,"
        f' {hydrate if state == "closed" else close}, then set its front to "dynamodb".',
    )


def _coming(aws: Aws, deployed: DeployedStage, name: str, key: Sequence[str]) -> Iterator[Finding]:
    state = deployed.states.get(name, "sqs")
    if state == "sqs" and (count := queued(aws, deployed.queues)):
        yield Finding(
            "front-queued",
            f"{count} messages are on the ordered queue or its dead-letter queue, and may be for"
            f' {name}, which is to be answered from the front table: set its front to "closed"'
            " first, and deploy that.",
        )
    elif has_rows(aws, deployed.reader, name, key) or has_items(aws, deployed.table, name):
        yield not_hydrated(name, state)


def _going_back(aws: Aws, deployed: DeployedStage, name: str, state: str) -> Iterator[Finding]:
    # Nobody but the developer writes to the local cloud.
    if state != "closed" and not is_local(aws):
        yield Finding(
            "front-open",
            f"{name} is written to the front table, and its last writes may not be in Postgres."
            ' Set its front to "closed" and deploy that; then take it out of the models, or set it'
            ' to "sqs".',
        )
        return
    await_requests(aws, deployed.api)
    missing, waiting = unpoured(aws, deployed, name)
    if missing or waiting:
        yield Finding(
            "front-not-poured",
            f"{missing} rows of {name} have a last write in the front table that is not in"
            f" Postgres, and {waiting} writes wait in the database. They come by themselves within"
            " minutes: see the log of drain_stream if they do not. What its stream has dropped"
            " after a day is poured by `python -m decanter reconcile --stage STAGE`.",
        )


def await_requests(aws: Aws, api: str) -> None:
    """Wait until requests have ended that may have begun before the API function was closed."""
    if is_local(aws):
        return
    answer = aws("lambda").get_function_configuration(FunctionName=api)
    now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    time.sleep(max(0.0, (_last_request(answer) - now).total_seconds()))


def older_messages(aws: Aws, deployed: DeployedStage) -> int:
    """The number of messages on the ordered queue; 0 also if all of them are younger than the API
    function, and so cannot be for a resource that it has closed."""
    url = deployed.queues[0]
    count = queued(aws, [url])
    if not count or is_local(aws):
        return count
    answer = aws("lambda").get_function_configuration(FunctionName=deployed.api)
    oldest = _oldest_message(aws, url)
    return 0 if oldest is not None and oldest > _last_request(answer) else count


def _last_request(configuration: Json) -> datetime:
    """When the last request ends that the version before of a function may have begun."""
    modified = datetime.strptime(configuration["LastModified"], "%Y-%m-%dT%H:%M:%S.%f%z")
    return modified + timedelta(seconds=_OLD_REQUEST_SECONDS)


def _oldest_message(aws: Aws, url: str) -> datetime | None:
    """The earliest time at which the oldest message of a queue was sent; None: not known."""
    now = datetime.now(UTC)
    found = aws("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": url.rsplit("/", 1)[-1]}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    latest = max(found, key=lambda point: point["Timestamp"], default=None)
    return latest and latest["Timestamp"] - timedelta(seconds=latest["Maximum"])


def queued(aws: Aws, urls: Sequence[str]) -> int:
    """The number of messages on queues."""
    client, found = aws("sqs"), 0
    for url in urls:
        answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)
        found += sum(int(answer["Attributes"][name]) for name in _COUNTS)
    return found


def has_rows(aws: Aws, reader: str, name: str, key: Sequence[str]) -> bool:
    """Whether Postgres has rows of a resource with this key."""
    question = ListQuestion(name, "{}", [(each, "asc") for each in key], 1, None)
    page = ask(aws, reader, question)
    return not isinstance(page, Page) or bool(page.rows or page.next)


def has_items(aws: Aws, table: str | None, name: str) -> bool:
    """Whether the front table has entries of a resource."""
    return table is not None and any(True for _ in scan(aws, table, *entries.prefixes(name)))


def is_hydrated(aws: Aws, table: str | None, name: str) -> bool:
    """Whether a resource has an item for each of its rows."""
    if table is None:
        return False
    key = {"pk": {"S": entries.hydrated_pk(name)}}
    return "Item" in aws("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)


def unpoured(aws: Aws, deployed: DeployedStage, name: str) -> tuple[int, int]:
    """How many items have a last write that is not in the ledger, and how many writes to the
    resource wait in the database.

    Left out are writes that are older than the ledger: they were poured, or never can be.
    """
    since = time.time() * 1_000 - LEDGER_DAYS * _DAY_MS
    missing, batch = 0, list[str]()
    for dedup_id in _last_writes(scan(aws, deployed.table, entries.prefixes(name)[0]), since):
        if dedup_id is None:
            missing += 1
            continue
        batch.append(dedup_id)
        if len(batch) == _ASKED_AT_ONCE:
            missing += len(ask(aws, deployed.reader, PouredQuestion(name, batch)).missing)
            batch = []
    answer = ask(aws, deployed.reader, PouredQuestion(name, batch))
    return missing + len(answer.missing), answer.waiting


def scan(aws: Aws, table: str | None, *prefixes: str) -> Iterator[Entry]:
    """The entries whose names begin with one of these, as they are now."""
    if table is None:
        return
    begins = [f"begins_with(#pk, :p{number})" for number in range(len(prefixes))]
    yield from filtered(
        aws,
        table,
        FilterExpression=" OR ".join(begins),
        ExpressionAttributeNames={"#pk": "pk"},
        ExpressionAttributeValues={f":p{n}": {"S": each} for n, each in enumerate(prefixes)},
    )


def filtered(aws: Aws, table: str, **expressions: object) -> Iterator[Entry]:
    """The entries that a filter of DynamoDB leaves, as they are now. expressions: of its Scan."""
    pages = aws("dynamodb").get_paginator("scan")
    for page in pages.paginate(TableName=table, ConsistentRead=True, **expressions):
        yield from page["Items"]


def _last_writes(found: Iterator[Entry], since: float) -> Iterator[str | None]:
    """The dedup IDs of the last writes of items, None for one of a newer version. since: older ones
    are left out, in milliseconds since the epoch; so is what can never be poured."""
    for entry in found:
        try:
            message = decode(entries.read_item(entry).write or "")
        except NewerMessage:
            yield None
        except (Damaged, ForeignMessage):
            continue
        else:
            if message.accepted_at > since:
                yield message.dedup_id

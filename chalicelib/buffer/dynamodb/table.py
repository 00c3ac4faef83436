"""The front table: consistent reads, and writes that happen as a whole or not at all."""

import logging
import random
import re
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from chalicelib import aws
from chalicelib.buffer.dynamodb.entries import Entry
from chalicelib.errors import Problem
from chalicelib.settings import front_table

logger = logging.getLogger("decanter.intake")

MAX_ACTIONS = 100
"""Most actions of a write: what a transaction of DynamoDB takes."""

MAX_BYTES = 3_700_000
"""Most bytes of the rows' entries in a write. A transaction of DynamoDB takes 4 MB, and a key
record comes on top."""

_TRIES = 5
_PAUSE_SECONDS = 0.05
_CONNECT_SECONDS = 2
_READ_SECONDS = 5
_TRY_SECONDS = _CONNECT_SECONDS + _READ_SECONDS
_SERVER_ERRORS = 500
_CANCELED = "TransactionCanceledException"
_CHECK_FAILED = "ConditionalCheckFailed"
_PASSING = re.compile(
    "Throttl|Throughput|RequestLimit|LimitExceeded|TooManyRequests|TransactionConflict|InProgress"
    "|Unavailable|Internal|Time[do]*out|Expired"
)
"""In codes of errors that may pass."""

_NAME = re.compile("#[a-z]+")
_TOO_LARGE = re.compile("size has exceeded|size limit|exceeds the 4MB")
_CURES: Mapping[str, str] = {
    "NotFound": (
        "The table does not exist: it was deleted, or the API function has another name for it."
        " Deploy the stage again, or correct DECANTER_FRONT_TABLE"
    ),
    "(?i)kms|InaccessibleEncryption": (
        "The table's key cannot be used: enable it and allow the role of the API function to use it"
        " (kms:Encrypt, kms:Decrypt), or encrypt the table with DynamoDB's own key"
    ),
    "Denied|Forbidden|Unauthorized|NotAuthorized|Unrecognized|Invalid(Security|Signature)": (
        "The role of the API function may not use it: allow dynamodb:GetItem, BatchGetItem,"
        " PutItem, DeleteItem and ConditionCheckItem on this table, and see whether a policy of the"
        " organization denies it"
    ),
    "Validation": (
        "It is not a table that Decanter has made: that has the partition key pk, a string, and no"
        " sort key. Deploy the stage again, or correct DECANTER_FRONT_TABLE"
    ),
    "": "It will refuse this again: see the reason that DynamoDB gives",
}
"""By a pattern in the code of DynamoDB's error."""


class Requirement(NamedTuple):
    """What an entry has to be like, as an expression of DynamoDB. Its names are attributes with a #
    before them."""

    expression: str
    values: Mapping[str, Mapping[str, Any]] = {}


class Action(NamedTuple):
    """What a write does to one entry.

    entry: as it shall be; of a delete or a check, only the `pk` counts. requirement: None for none.
    """

    kind: Literal["Put", "Delete", "ConditionCheck"]
    entry: Entry
    requirement: Requirement | None = None

    @property
    def pk(self) -> str:
        return str(self.entry["pk"]["S"])


class TableOutcome(NamedTuple):
    """What became of a write.

    refused: empty if it happened. Otherwise nothing did, and these are the actions, by position,
        whose requirements did not hold, each with the entry as it is; None where there is none.
    old: of a write with one put, the entry that it has replaced, if that was wanted. is_late: the
        answer of DynamoDB was lost, and the write was found to be done; `old` is unknown.
    """

    refused: Mapping[int, Entry | None] = {}
    old: Entry | None = None
    is_late: bool = False


HAS_ROW = Requirement("attribute_exists(#row)")
HAS_NO_ROW = Requirement("attribute_not_exists(#row)")
"""There is no item, or a tombstone."""

IS_MISSING = Requirement("attribute_not_exists(#pk)")
IS_THERE = Requirement("attribute_exists(#pk)")


def has_etag(etags: Sequence[str]) -> Requirement:
    """The item has a row with one of these ETags, at least one."""
    values = {f":e{number}": {"S": etag} for number, etag in enumerate(etags)}
    return Requirement(f"{HAS_ROW.expression} AND #etag IN ({', '.join(values)})", values)


def is_unchanged(etag: str) -> Requirement:
    """The last write of the item or tombstone is the one with this ETag."""
    return Requirement("#etag = :etag", {":etag": {"S": etag}})


def is_free(*owners: str) -> Requirement:
    """Nobody has the claim, or one of these does."""
    values = {f":o{number}": {"S": owner} for number, owner in enumerate(owners)}
    return Requirement(f"{IS_MISSING.expression} OR #owner IN ({', '.join(values)})", values)


def is_forgotten(now_seconds: int) -> Requirement:
    """There is no key record, or its time is over and DynamoDB has not removed it yet."""
    return Requirement(f"{IS_MISSING.expression} OR #ttl < :now", {":now": {"N": str(now_seconds)}})


class _Again(Exception):
    """A call failed with an error that may pass. is_unknown: it may have written all the same."""

    def __init__(self, why: str, is_unknown: bool) -> None:
        super().__init__(why)
        self.is_unknown = is_unknown


class _Refused(Exception):
    """Requirements of a write do not hold."""

    def __init__(self, refused: Mapping[int, Entry | None]) -> None:
        super().__init__()
        self.refused = refused


@cache
def _client() -> Any:
    # Tried again here, not by the SDK: a write whose outcome is unknown needs a look first.
    return aws.client(
        "dynamodb",
        tries=1,
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=1,
    )


def latest(deadline: float) -> float:
    """The latest time.monotonic() to begin to write."""
    return deadline - _TRY_SECONDS


def get(pk: str, deadline: float) -> Entry | None:
    """The entry as the last write left it. Raises Problem 500 or 503."""
    parameters = {"TableName": front_table(), "Key": _key(pk), "ConsistentRead": True}
    found: Entry | None = _read("get_item", parameters, deadline).get("Item")
    return found


def get_many(pks: Sequence[str], deadline: float) -> dict[str, Entry]:
    """The entries of at most 100 names, without those that do not exist. Raises Problem 500 or
    503."""
    if len(pks) == 1:
        only = get(pks[0], deadline)
        return {} if only is None else {pks[0]: only}
    name = front_table()
    found: dict[str, Entry] = {}
    wanted: Any = {name: {"Keys": [_key(pk) for pk in pks], "ConsistentRead": True}}
    for attempt in range(_TRIES):
        _pause(attempt)
        reply = _read("batch_get_item", {"RequestItems": wanted}, deadline)
        found |= {entry["pk"]["S"]: entry for entry in reply["Responses"].get(name, ())}
        wanted = reply.get("UnprocessedKeys")
        if not wanted:
            return found
    raise _unavailable("DynamoDB did not return all rows")


def write(actions: Sequence[Action], deadline: float, wants_old: bool = False) -> TableOutcome:
    """Do all of it, or nothing where a requirement does not hold: one PutItem where that is enough,
    otherwise a transaction.

    wants_old: whether the outcome of a single put shall have the replaced entry. Raises Problem:
    503 for what may pass, 500 for what DynamoDB will refuse again, 413 for a too large entry.

    A put whose answer was lost is sent again only if that cannot repeat it: the stream would carry
    the message twice, behind those of other writers. A transaction has a token for that.
    """
    is_single = len(actions) == 1 and actions[0].kind == "Put"
    operation, parameters = _put(actions[0], wants_old) if is_single else _transaction(actions)
    is_unknown = False
    why = ""
    for attempt in range(_TRIES):
        _pause(attempt)
        try:
            reply = _call(operation, parameters, deadline)
            return TableOutcome(old=reply.get("Attributes"))
        except _Refused as refused:
            is_own = is_unknown and _is_own(actions, refused.refused)
            return TableOutcome(is_late=True) if is_own else TableOutcome(refused.refused)
        except _Again as again:
            why = str(again)
            if again.is_unknown and is_single and _is_done(actions[0], deadline):
                return TableOutcome(is_late=True)
            is_unknown |= again.is_unknown
    raise _unavailable(why)


def _is_done(put: Action, deadline: float) -> bool:
    """Whether a put is in the table. False if there is no entry at all, so that it surely is not.
    Raises Problem 503 if another entry may have replaced it."""
    current = get(put.pk, deadline)
    if current is None:
        return False
    if current == put.entry:
        return True
    raise _unavailable("DynamoDB did not say whether it has written this, and others write here")


def _is_own(actions: Sequence[Action], refused: Mapping[int, Entry | None]) -> bool:
    """Whether a requirement only fails because the same write was done before. Only an ETag tells
    one write from another."""
    return any(
        "etag" in actions[number].entry and current == actions[number].entry
        for number, current in refused.items()
    )


def _put(action: Action, wants_old: bool) -> tuple[str, dict[str, Any]]:
    old = {"ReturnValues": "ALL_OLD"} if wants_old else {}
    return "put_item", {**_parameters(action), **old}


def _transaction(actions: Sequence[Action]) -> tuple[str, dict[str, Any]]:
    items = [{action.kind: _parameters(action)} for action in actions]
    return "transact_write_items", {"TransactItems": items, "ClientRequestToken": str(uuid4())}


def _parameters(action: Action) -> dict[str, Any]:
    target = {"Item": action.entry} if action.kind == "Put" else {"Key": _key(action.pk)}
    made: dict[str, Any] = {"TableName": front_table(), **target}
    if action.requirement is None:
        return made
    expression, values = action.requirement
    made["ConditionExpression"] = expression
    made["ExpressionAttributeNames"] = {name: name[1:] for name in _NAME.findall(expression)}
    if values:
        made["ExpressionAttributeValues"] = values
    made["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return made


def _key(pk: str) -> Entry:
    return {"pk": {"S": pk}}


def _read(operation: str, parameters: Mapping[str, Any], deadline: float) -> Any:
    why = ""
    for attempt in range(_TRIES):
        _pause(attempt)
        try:
            return _call(operation, parameters, deadline)
        except _Again as again:
            why = str(again)
    raise _unavailable(why)


def _pause(attempt: int) -> None:
    if attempt:
        time.sleep(_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1))  # noqa: S311


def _call(operation: str, parameters: Mapping[str, Any], deadline: float) -> Any:
    """The answer of DynamoDB. Raises _Again, _Refused, Problem."""
    left = deadline - time.monotonic()
    if left < _TRY_SECONDS:
        logger.error("no call to DynamoDB fits into the %.1f s left for this request", left)
        raise _unavailable("the time for this request was over before DynamoDB had answered")
    try:
        return getattr(_client(), operation)(**parameters)
    except aws.failures() as error:
        reply = getattr(error, "response", None) or {}  # None if there was no answer
        if "Error" in reply:
            _judge(reply)
        logger.error("DynamoDB did not answer properly: %s", error)
        raise _Again("DynamoDB did not answer properly", not _is_unsent(error)) from error


def _judge(reply: Mapping[str, Any]) -> None:
    """Raises what an error of DynamoDB means."""
    code, text = reply["Error"].get("Code", ""), reply["Error"].get("Message", "")
    if code.startswith(_CHECK_FAILED):
        raise _Refused({0: reply.get("Item")})
    if code == _CANCELED:
        _judge_canceled(reply.get("CancellationReasons", ()))
    if reply.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= _SERVER_ERRORS:
        logger.error("DynamoDB failed: %s: %s", code, text)
        raise _Again("DynamoDB failed", is_unknown=True)
    if _PASSING.search(code):
        logger.warning("DynamoDB refused for now: %s: %s", code, text)
        raise _Again("DynamoDB is throttled or busy", is_unknown="InProgress" in code)
    _refuse(code, text)


def _judge_canceled(reasons: Sequence[Mapping[str, Any]]) -> None:
    """Raises what the reasons of a canceled transaction mean, those that may pass last: a failed
    requirement would fail again."""
    refused = {
        number: reason.get("Item")
        for number, reason in enumerate(reasons)
        if reason.get("Code") == _CHECK_FAILED
    }
    if refused:
        raise _Refused(refused)
    others = [reason for reason in reasons if reason.get("Code", "None") != "None"]
    lasting = [reason for reason in others if not _PASSING.search(reason["Code"])]
    if lasting:
        _refuse(lasting[0]["Code"], lasting[0].get("Message", ""))
    logger.warning("DynamoDB canceled a transaction: %s", others[:1])
    raise _Again("other writers keep DynamoDB from writing this", is_unknown=False)


def _is_unsent(error: Exception) -> bool:
    """Whether a call failed before DynamoDB had it."""
    from botocore import exceptions

    return isinstance(
        error,
        exceptions.EndpointConnectionError
        | exceptions.ConnectTimeoutError
        | exceptions.ProxyConnectionError
        | exceptions.NoCredentialsError
        | exceptions.CredentialRetrievalError,
    )


def _refuse(code: str, text: str) -> None:
    """Raises Problem for a refusal that will not pass, and logs what to do."""
    if _TOO_LARGE.search(text):
        logger.error("DynamoDB refuses an entry for its size: %s", text)
        raise Problem(
            "row-too-large",
            "the row is too large for an item of DynamoDB, which holds 400 KB; nothing was written",
        )
    cure = next(cure for kind, cure in _CURES.items() if re.search(kind, code))
    logger.error("DynamoDB refuses calls to %s: %s: %s. %s", front_table(), code, text, cure)
    raise Problem(
        "front-refuses",
        "the table in front refused this and will do so again until an operator has fixed it; the"
        " log says how. Nothing was written",
    )


def _unavailable(why: str) -> Problem:
    return Problem(
        "front-unavailable",
        f"{why}. Send the request again with the same Idempotency-Key: nothing is done twice;"
        " without one, read the row first",
        headers={"Retry-After": "1"},
    )

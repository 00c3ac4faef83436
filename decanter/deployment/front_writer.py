"""Many reads and writes of the front table at once, repeated while it is throttled."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chalicelib.buffer.dynamodb.entries import Entry
from decanter.deployment.findings import DeploymentError

_READ_AT_ONCE, _WRITTEN_AT_ONCE = 100, 25  # as BatchGetItem and BatchWriteItem take
_THREADS = 8
_TRIES = 12
_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 10.0
_THROTTLED = ("ThrottlingException", "ProvisionedThroughputExceededException",
              "RequestLimitExceeded", "InternalServerError")  # fmt: skip

_Part = TypeVar("_Part")


class FrontWriter:
    """A front table, while it is used in a `with` block.

    client: of DynamoDB. table: its name.
    """

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table
        self._pool = ThreadPoolExecutor(_THREADS)

    def __enter__(self) -> "FrontWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self, pks: Sequence[str]) -> dict[str, Entry]:
        """The entries of these names, without those that do not exist. Raises DeploymentError."""
        parts = _parts(pks, _READ_AT_ONCE)
        return {pk: entry for part in self._pool.map(self._read, parts) for pk, entry in part}

    def write(self, puts: Sequence[Entry], deleted: Sequence[str]) -> None:
        """Write these entries, and delete those of these names. Raises DeploymentError."""
        requests: list[Any] = [{"PutRequest": {"Item": entry}} for entry in puts]
        requests += [{"DeleteRequest": {"Key": {"pk": {"S": pk}}}} for pk in deleted]
        for _ in self._pool.map(self._write, _parts(requests, _WRITTEN_AT_ONCE)):
            pass

    def _read(self, pks: Sequence[str]) -> list[tuple[str, Entry]]:
        found: list[tuple[str, Entry]] = []

        def call(wanted: Mapping[str, Any]) -> Any:
            answer = self._client.batch_get_item(RequestItems=wanted)
            found.extend((e["pk"]["S"], e) for e in answer["Responses"].get(self._table, ()))
            return answer.get("UnprocessedKeys")

        keys = [{"pk": {"S": pk}} for pk in pks]
        _until_done(call, {self._table: {"Keys": keys, "ConsistentRead": True}})
        return found

    def _write(self, requests: Sequence[Any]) -> None:
        def call(wanted: Mapping[str, Any]) -> Any:
            return self._client.batch_write_item(RequestItems=wanted).get("UnprocessedItems")

        _until_done(call, {self._table: [*requests]})


def _until_done(call: Callable[[Any], Any], wanted: Any) -> None:
    """Call with what is left, until nothing is. Raises DeploymentError."""
    from botocore.exceptions import ClientError

    for attempt in range(_TRIES):
        if attempt:
            pause = min(_LONGEST_PAUSE_SECONDS, _PAUSE_SECONDS * 2**attempt)
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
        try:
            wanted = call(wanted)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _THROTTLED:
                raise
        else:
            if not wanted:
                return
    raise DeploymentError(
        "DynamoDB does not take what is written to the front table: it is throttled. Run this"
        " again later; it goes on with what is left."
    )


def _parts(things: Sequence[_Part], most: int) -> list[Sequence[_Part]]:
    return [things[at : at + most] for at in range(0, len(things), most)]

"""Many entries of the front table at once, while it is throttled or not."""

from typing import Any

import pytest

from decanter.deployment import front_writer
from decanter.deployment.findings import DeploymentError
from decanter.deployment.front_writer import FrontWriter
from tests.kit.fronted import error

TABLE = "t"


class Dynamo:
    """Takes only the first request of each call. refused: raised instead, so many times."""

    def __init__(self, *refused: Exception) -> None:
        self.entries: dict[str, Any] = {}
        self.most = 0
        self.refused = [*refused]

    def batch_get_item(self, RequestItems: Any) -> Any:
        keys = self._taken(RequestItems[TABLE]["Keys"])
        assert RequestItems[TABLE]["ConsistentRead"]
        first, left = keys[0]["pk"]["S"], keys[1:]
        found = [self.entries[first]] if first in self.entries else []
        rest = {TABLE: {"Keys": left, "ConsistentRead": True}} if left else {}
        return {"Responses": {TABLE: found}, "UnprocessedKeys": rest}

    def batch_write_item(self, RequestItems: Any) -> Any:
        first, *left = self._taken(RequestItems[TABLE])
        if put := first.get("PutRequest"):
            self.entries[put["Item"]["pk"]["S"]] = put["Item"]
        else:
            del self.entries[first["DeleteRequest"]["Key"]["pk"]["S"]]
        return {"UnprocessedItems": {TABLE: left} if left else {}}

    def _taken(self, requests: list[Any]) -> list[Any]:
        if self.refused:
            raise self.refused.pop()
        self.most = max(self.most, len(requests))
        return requests


def entry(number: int) -> Any:
    return {"pk": {"S": f"p{number}"}, "row": {"S": "{}"}}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_writer, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(front_writer, "_TRIES", 200)


def test_all_entries_are_written_read_and_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Dynamo(error("ThrottlingException"), error("ProvisionedThroughputExceededException"))
    entries = [entry(number) for number in range(130)]

    with FrontWriter(client, TABLE) as writer:
        writer.write(entries, [])
        assert client.most == 25
        found = writer.read([f"p{number}" for number in range(135)])
        assert client.most == 100
        writer.write([entry(200)], [f"p{number}" for number in range(1, 130)])

    assert found == {each["pk"]["S"]: each for each in entries}
    assert {*client.entries} == {"p0", "p200"}


def test_a_table_that_stays_throttled_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_writer, "_TRIES", 3)
    client = Dynamo(*[error("ThrottlingException") for _ in range(3)])

    with FrontWriter(client, TABLE) as writer, pytest.raises(DeploymentError, match="Run this"):
        writer.write([entry(1)], [])
    assert client.entries == {}


def test_another_error_is_not_tried_again() -> None:
    client = Dynamo(error("ValidationException"), error("ValidationException"))

    with FrontWriter(client, TABLE) as writer, pytest.raises(Exception, match="so it is"):
        writer.write([entry(1)], [])
    assert len(client.refused) == 1

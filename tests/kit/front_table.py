"""A front table without AWS, and the entries that clients' writes leave in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from chalicelib.buffer.dynamodb import entries
from chalicelib.buffer.dynamodb.entries import FrontItem
from tests.kit.fronted import NAME, REGION, dynamodb, make_table


@dataclass(frozen=True)
class FrontTable:
    """client: of boto3."""

    client: Any

    def put(self, entry: Any) -> None:
        self.client.put_item(TableName=NAME, Item=entry)

    def entry(self, pk: str) -> Any:
        """The entry, or None."""
        return self.client.get_item(TableName=NAME, Key={"pk": {"S": pk}}).get("Item")

    def item(self, pk: str) -> FrontItem:
        return entries.read_item(self.entry(pk))

    def owners(self) -> dict[str, str]:
        """The owner of each claim, by its name."""
        found = self.client.scan(TableName=NAME)["Items"]
        return {each["pk"]["S"]: each["owner"]["S"] for each in found if "owner" in each}


@pytest.fixture
def front_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[FrontTable]:
    """An empty front table, which the functions use."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("DECANTER_FRONT_TABLE", NAME)
    with dynamodb() as client:
        make_table(client)
        yield FrontTable(client)

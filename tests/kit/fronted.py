"""Tables behind the front, and the front table as moto has it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import ClientError, ReadTimeoutError
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from chalicelib.buffer.dynamodb import entries, table
from chalicelib.messages.message import Message, decode
from tests.kit.mocked_aws import mocked_aws

NAME = "app-test-front"
REGION = "eu-central-1"
FRONTED: dict[str, Any] = {"front": "dynamodb"}


def models() -> MetaData:
    """Three tables in front, of which alerts refers to places and nodes to itself, and one behind
    SQS."""
    metadata = MetaData()
    Table(
        "places",
        metadata,
        Column("code", String(8), primary_key=True),
        Column("name", Text),
        Column("size", Numeric(30, 10)),
        Column("detail", JSONB, server_default=text("'{}'")),
        info=FRONTED,
    )
    Table(
        "alerts",
        metadata,
        Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
        Column("name", Text, nullable=False),
        Column("place", ForeignKey("places.code", name="alerts_place_fk")),
        Column("level", Integer, server_default="3"),
        Column("active", Boolean, nullable=False, server_default=text("true")),
        Column("made_at", DateTime(timezone=True), server_default=text("now()")),
        UniqueConstraint("name", "level", name="alerts_name_key"),
        info=FRONTED,
    )
    Table(
        "nodes",
        metadata,
        Column("tree", Text, primary_key=True),
        Column("at", DateTime(timezone=True), primary_key=True),
        Column("parent_tree", Text),
        Column("parent_at", DateTime(timezone=True)),
        Column("note", Text),
        ForeignKeyConstraint(
            ["parent_tree", "parent_at"], ["nodes.tree", "nodes.at"], name="nodes_parent_fk"
        ),
        info=FRONTED,
    )
    Table("queued", metadata, Column("id", Integer, primary_key=True, autoincrement=False))
    return metadata


@contextmanager
def dynamodb() -> Iterator[Any]:
    """A client of DynamoDB as moto has it. The API's client is made anew for it."""
    made = table._client
    with mocked_aws():
        made.cache_clear()
        yield boto3.client("dynamodb", region_name=REGION)
    made.cache_clear()


def make_table(client: Any) -> None:
    """Make the front table."""
    client.create_table(
        TableName=NAME,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def all_entries(client: Any, prefix: str = "") -> dict[str, Any]:
    """The entries of the table whose names begin so, by name."""
    pages = client.get_paginator("scan").paginate(TableName=NAME)
    found = [entry for page in pages for entry in page["Items"]]
    named = {entry["pk"]["S"]: entry for entry in found}
    return {pk: entry for pk, entry in sorted(named.items()) if pk.startswith(prefix)}


def messages(client: Any) -> list[Message]:
    """The messages that the items carry for the drain."""
    items = all_entries(client, entries.ITEM).values()
    return [decode(item["write"]["S"]) for item in items if "write" in item]


def rows_of(message: Message) -> list[Any]:
    """The rows of a message."""
    return [row for part in message.sets for row in json.loads(f"[{part.rows}]")]


class Meddler:
    """A client of DynamoDB through which a test acts between a request and the table.

    before: called once before the next call of its operation. lost: how many answers to writes are
    lost after DynamoDB has done them. error: raised instead of calls, so many times.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.before: dict[str, Any] = {}
        self.lost = 0
        self.errors: list[Exception] = []
        self.calls: list[str] = []

    def __getattr__(self, operation: str) -> Any:
        def call(**parameters: Any) -> Any:
            self.calls.append(operation)
            if act := self.before.pop(operation, None):
                act()
            if self.errors:
                raise self.errors.pop(0)
            answer = getattr(self.client, operation)(**parameters)
            if self.lost and operation in ("put_item", "transact_write_items"):
                self.lost -= 1
                raise ReadTimeoutError(endpoint_url="https://dynamodb.test")
            return answer

        return call


def error(code: str, status: int = 400, **members: Any) -> ClientError:
    """An error of DynamoDB."""
    response: Any = {
        "Error": {"Code": code, "Message": "so it is"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **members,
    }
    return ClientError(response, "PutItem")

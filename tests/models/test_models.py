"""`chalicelib/models.py` of this project: its contract, its revisions, and every op on every table.

An example of each op, as the contract shows it, goes the whole way: checked, queued, poured into a
real Postgres that has the revisions, and read. Whether the database takes the row (its parent may
be missing) says nothing about the models; that it has an answer does.
"""

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.contract.json_text import render
from chalicelib.errors import Problem
from chalicelib.postgres.resources import resources
from decanter import PROJECT
from decanter.contract import examples
from decanter.contract.columns import example
from decanter.contract.schemas import takes_key
from decanter.package import PackagingError, current
from tests.kit.stream import drain
from tests.kit.world import World, without_patience


def test_contract_and_revisions_say_what_the_models_say() -> None:
    try:
        current.check(PROJECT)
    except PackagingError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.mark.parametrize("name", resources())
def test_an_example_of_each_op_is_poured_and_read(
    world: World, name: str, request: pytest.FixtureRequest
) -> None:
    resource = resources()[name]
    streamed = request.getfixturevalue("streamed") if resource.is_fronted else []
    key = {column.name: example(column) for column in resource.key}
    parts = [value if isinstance(value, str) else render(value) for value in key.values()]
    receipts = {}
    if resource.ordered and key:
        if takes_key(resource):
            receipts["replace"] = sent(world.put, name, parts, body(examples.replace(resource)))
        receipts["merge"] = sent(world.patch, name, parts, body(examples.merge(resource)))
        receipts["delete"] = sent(world.delete, name, parts)
    receipts["create"] = sent(world.post, name, body(examples.create(resource)))
    with without_patience():
        world.drain()
        drain(world, streamed)

    for op, receipt in receipts.items():
        if receipt is None:
            continue
        status = world.status(receipt)
        assert status["state"] in ("applied", "rejected"), f"{op}: {status}"
        kinds = {rejection["type"] for rejection in status["rejections"]}
        assert "schema-mismatch" not in kinds, f"{op}: {status['rejections']}"
    if key:
        assert "body" in world.read({"ask": "row", "resource": name, "key": render(key)})


def sent(call: Callable[..., str], *arguments: Any) -> str | None:
    """The receipt; None where the front has refused the row, as Postgres might have done, and for a
    closed resource."""
    try:
        return call(*arguments)
    except Problem as problem:
        if problem.type not in ("conflict", "missing-parent", "no-such-row", "resource-closed"):
            raise
        return None


def body(row: dict[str, Any]) -> bytes:
    return render(row).encode()

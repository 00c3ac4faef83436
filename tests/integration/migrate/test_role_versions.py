"""Roles while one version takes the place of another: each can do what it needs at every step."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from sqlalchemy import MetaData

from chalicelib.migrate import handler
from chalicelib.postgres.resources import resources_of
from chalicelib.postgres.sql.names import plain_name
from tests.kit.databases import execute, name_of
from tests.kit.roles import NO_RIGHT, made, settings, shop
from tests.kit.world import World


def with_info(**infos: dict[str, Any]) -> MetaData:
    """The shop, with other information on some tables."""
    metadata = shop()
    for table in metadata.tables.values():
        table.info.update(infos.get(table.name, {}))
    return metadata


UNORDERED, UNSERVED = {"ordered": False}, {"resource": False}

VERSIONS: dict[str, dict[str, dict[str, Any]]] = {
    "as it is": {},
    "others are ordered": {"orders": UNORDERED, "Odd Log%": {"ordered": True}},
    "others are served": {"orders": UNSERVED, "regions": {"resource": "regions"}},
}


def works(url: str, metadata: MetaData) -> None:
    """What the drain and the reader of a version do with each table of its models."""
    own = {role.kind: role.url for role in settings(url)}
    for kind in ("drain", "reader"):
        with closing(psycopg2.connect(own[kind])) as connected, connected.cursor() as cursor:
            for resource in resources_of(metadata).values():
                name = plain_name(resource.table)
                column = next(iter(resource.writable)).name
                cursor.execute(f"SELECT {column} FROM {name}")
                if kind == "drain":
                    cursor.execute(f"INSERT INTO {name} ({column}) SELECT NULL WHERE false")
                if kind == "drain" and resource.ordered:
                    cursor.execute(f"UPDATE {name} SET {column} = DEFAULT WHERE false")
                    cursor.execute(f"DELETE FROM {name} WHERE false")


def rights(url: str) -> list[Any]:
    return execute(
        url,
        "SELECT relname, grantee::regrole::text, privilege_type"
        " FROM pg_class, aclexplode(relacl)"
        " WHERE relkind = 'r' AND grantee <> relowner AND grantee <> 0 ORDER BY 1, 2, 3",
    )


@pytest.mark.parametrize("version", [*VERSIONS][1:])
def test_both_versions_work_at_every_step_of_a_deployment_and_back(url: str, version: str) -> None:
    before, after = (with_info(**VERSIONS[each]) for each in ("as it is", version))
    made(url, before)
    exact = rights(url)
    for old, new in ((before, after), (after, before)):
        works(url, old)

        outcome = made(url, new, revoke=False)
        works(url, old)  # it serves still
        works(url, new)  # it serves now, and pours what the old one has queued
        assert made(url, old, revoke=False)["changes"] == []  # a rollback
        assert made(url, new, revoke=False)["later"] == outcome["later"]
        assert made(url, new)["changes"] == outcome["later"]

        works(url, new)
        with pytest.raises(NO_RIGHT):
            works(url, old)
    assert rights(url) == exact


@pytest.mark.parametrize("is_ahead", [False, True])
def test_an_op_that_a_resource_no_longer_has_stops_nobody(
    world: World, make_world: Callable[..., World], is_ahead: bool
) -> None:
    new = with_info(**VERSIONS["others are ordered"])

    def of(metadata: MetaData) -> World:
        made = make_world(metadata, world.url)
        made.__class__ = type(world)
        return made

    world.post("orders", [{"id": number, "total": 1} for number in (101, 102, 103)])
    world.drain()

    def queue() -> tuple[list[str], list[Any]]:
        """Receipts and entries, of the version before."""
        old = of(shop())
        rows = [{"id": 101, "total": 3}, {"id": 107, "total": 3}]
        receipts = [
            old.patch("orders", 101, {"total": 2}),
            old.patch("orders", 101, {"total": 2}, If_Match="*"),
            old.post("orders", rows, Prefer="resolution=merge-duplicates"),
            old.put("orders", 102, {"total": 2}),
            old.delete("orders", 103),
        ]
        return receipts, old.queued

    def states(receipts: list[str], entries: list[Any]) -> set[str]:
        """Once the new version has poured them."""
        later = of(new)
        others = [later.post("orders", {"total": 1}), later.post("logs", {"text": "x"})]
        later.drain([*entries, *later.queued])
        assert [world.status(each)["state"] for each in others] == ["applied"] * 2
        return {world.status(each)["state"] for each in receipts}

    queued = queue()
    made(world.url, new, revoke=False)
    assert states(*queued) == {"applied"}

    made(world.url, new)
    if is_ahead:
        world.execute("INSERT INTO decanter.alembic_version VALUES ('0002_of_the_next')")
    too_late = queue()
    assert states(*too_late) == ({"pending"} if is_ahead else {"rejected"})
    assert {kind for _, kind in world.rejections()} == (set() if is_ahead else {"schema-mismatch"})
    reason = "orders is unordered: rows can only be added, and this is a delete"
    assert is_ahead or (reason,) in world.rejections("reason")


def test_rights_are_taken_back_on_demand_and_when_nothing_waits(
    new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    monkeypatch.setenv("DECANTER_DATABASE_URL", url)
    for role in settings(url):
        monkeypatch.setenv(f"DECANTER_{role.kind.upper()}_URL", role.url)
        monkeypatch.setenv(f"DECANTER_{role.kind.upper()}_CONNECTIONS", str(role.connections))
    handler.run({})
    execute(url, f"GRANT DELETE ON decanter.ledger TO {name_of(url)}_drain")
    execute(
        url,
        "INSERT INTO decanter.waiting (dedup_id, item, reason, message)"
        " VALUES (gen_random_uuid(), 0, 'schema', '')",
    )
    later = [f'REVOKE DELETE ON decanter.ledger FROM "{name_of(url)}_drain"']

    assert handler.run({})["later"] == later
    kept = handler.run({"revoke": True})
    execute(url, "DELETE FROM decanter.waiting")
    done = handler.run({"revoke": True})

    assert (kept["later"], kept["changes"], len(kept["notes"])) == (later, [], 1)
    assert "1 writes wait" in kept["notes"][0]
    assert (done["later"], done["changes"], done["notes"]) == ([], later, [])

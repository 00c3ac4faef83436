"""What a revision has to do: found by doing it, in a database that is thrown away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2 import errorcodes

from chalicelib.postgres.resources import ModelError
from decanter.migration.catalog import Catalog, Key, described, differing, inherited
from decanter.migration.model_catalog import Created
from decanter.migration.plan import steps
from decanter.migration.statements import Step, Unwritable
from decanter.migration.target import Memory, aim, named, parts_of

_ROUNDS = 4
_NO_CAST = (errorcodes.DATATYPE_MISMATCH, errorcodes.CANNOT_COERCE)


@dataclass(frozen=True)
class Difference:
    """upgrade, downgrade: statements; one_way: why there is no way back. made: parts of the models'
    tables that the upgrade makes, by table. dropped: what is lost with it. left: what stays though
    the models do not know it, and the statement that would drop it.
    """

    upgrade: tuple[Step, ...] = ()
    downgrade: tuple[Step, ...] = ()
    one_way: str = ""
    made: Mapping[str, Sequence[str]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)


def difference(
    driver: Any, models: Created, memory: Memory, drop: Sequence[str] = ()
) -> Difference:
    """Between the database and what the models give, see `aim` for the rest.

    driver: a connection to a database that may be changed; it is as before afterwards, but for the
    labels of enums. Raises ModelError where no revision can be written.
    """
    before = described(driver.cursor())
    goal = aim(before, models, memory, drop)
    try:
        upgrade, after = _brought(driver, before, goal.catalog)
    except Unwritable as error:
        others = ", ".join(goal.left)
        cure = (
            f"\nIf something that the models do not know is in the way ({others}), drop it with the"
            ' same revision: make migration drop="name, name"'
        )
        said = f"No revision can be written: {error}".strip()
        if isinstance(error.__cause__, psycopg2.Error):
            said += (
                "\nWrite a revision that does it, or clears the way; then run make migration again."
            )
        raise ModelError(said + (cure if others else "")) from error
    if not upgrade:
        return Difference(left=goal.left)
    downgrade: tuple[Step, ...] = ()
    one_way = ""
    try:
        downgrade, _ = _brought(driver, after, before)
    except Unwritable as error:
        one_way = str(error).strip()
    return Difference(
        upgrade,
        downgrade,
        one_way,
        parts_of((goal.catalog.keys() - before.keys()) & models.catalog.keys(), models.catalog),
        tuple(sorted(map(named, _lost(before, goal.catalog)))),
        goal.left,
    )


def _lost(before: Catalog, after: Catalog) -> set[Key]:
    """Tables and columns whose rows and values are gone."""
    found = {
        key
        for key, entry in before.items()
        if key[0] in ("table", "column")
        # What Postgres is to compute has nothing of what was written.
        and (key not in after or (key[0] == "column" and after[key].definition[5]
                                  and not entry.definition[5]))
    }  # fmt: skip
    return {key for key in found if key[0] == "table" or ("table", key[1]) not in found}


def _brought(driver: Any, now: Catalog, goal: Catalog) -> tuple[tuple[Step, ...], Catalog]:
    """The steps to the goal, and what is there after them. Raises Unwritable."""
    done: list[Step] = []
    for _ in range(_ROUNDS):
        planned = steps(now, goal)
        if not planned:
            break
        try:
            taken = _applied(driver, planned)
        except Unwritable:
            taken = _applied(driver, steps(now, goal, thorough=True))
        before, now = now, described(driver.cursor())
        if goal.keys() - now.keys():
            # What a partition had by itself, and its table has now as well, is part of that.
            merged = inherited(driver.cursor())
            goal = {key: entry for key, entry in goal.items() if key not in merged}
        driver.rollback()
        # What is made from its own words, and still has others, is as wanted.
        same = {key for key in differing(now, goal) if before.get(key) == now.get(key)}
        if same and not differing(before, now):
            goal = {**goal, **{key: now[key] for key in same if key in now and key in goal}}
            break
        done += taken
    if unlike := differing(now, goal):
        shown = ", ".join(named(key) for key in unlike[:5])
        raise Unwritable(f"{shown} would not be as wanted. Write the revision yourself.")
    return tuple(done), now


def _applied(driver: Any, planned: Sequence[Step]) -> list[Step]:
    """The steps as Postgres takes them. Nothing is changed where it does not."""
    done: list[Step] = []
    try:
        with driver.cursor() as cursor:
            for step in planned:
                done.append(_taken(cursor, step))
                if step.alone:
                    driver.commit()
        driver.commit()
    except Unwritable:
        driver.rollback()
        raise
    return done


def _taken(cursor: Any, step: Step) -> Step:
    """Postgres casts some types by itself, some when it is told to, and some only through text."""
    ways = [step, *(Step(step.sql + cast) for cast in step.casts)]
    for place, way in enumerate(ways):
        try:
            if step.casts:
                cursor.execute("SAVEPOINT decanter")
            cursor.execute(way.sql)
            return way
        except psycopg2.Error as error:
            if error.pgcode in _NO_CAST and place + 1 < len(ways):
                cursor.execute("ROLLBACK TO decanter")
                continue
            what = way.sql.partition(" (\n")[0]
            raise Unwritable(f"Postgres refuses {what}: {error}".strip()) from error
    raise AssertionError

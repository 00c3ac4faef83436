"""What a revision has to do, found by doing it in a scratch database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2 import errorcodes

from chalicelib.migrate.placing import is_placing
from chalicelib.postgres.resources import ModelError
from decanter.migration.catalog import Catalog, Key, describe, differing_keys, find_inherited
from decanter.migration.model_catalog import ModelCatalog
from decanter.migration.placement import add_placements, placed_after, placements
from decanter.migration.plan import steps
from decanter.migration.statements import Step, Unwritable
from decanter.migration.target import History, find_target, named, parts_of

_ROUNDS = 4
_NO_CAST = (errorcodes.DATATYPE_MISMATCH, errorcodes.CANNOT_COERCE)


@dataclass(frozen=True)
class Difference:
    """upgrade, downgrade: statements. one_way: why there is no downgrade. made: parts of the
    models' tables that the upgrade creates, by table. dropped: tables and columns whose data the
    upgrade loses. left: objects that stay although they are not in the models, with the statement
    that would drop each.
    """

    upgrade: tuple[Step, ...] = ()
    downgrade: tuple[Step, ...] = ()
    one_way: str = ""
    made: Mapping[str, Sequence[str]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)


def difference(
    driver: Any, models: ModelCatalog, history: History, drop: Sequence[str] = ()
) -> Difference:
    """Return the difference between a database and the models; see `find_target` for the rest.

    driver: a connection to a scratch database, which is restored except for labels of enums. Raise
    ModelError where no revision can be written.
    """
    before = add_placements(describe(driver.cursor()), history.placed)
    target = find_target(before, models, history, drop)
    try:
        upgrade, after = _reach(driver, before, target.catalog)
    except Unwritable as error:
        others = ", ".join(target.left)
        cure = (
            f"\nIf an object that is not in the models is in the way ({others}), drop it in the"
            ' same revision: make migration drop="name, name"'
        )
        said = f"No revision can be written: {error}".strip()
        if isinstance(error.__cause__, psycopg2.Error):
            said += (
                "\nWrite a revision that does it or clears the way, and run make migration again."
            )
        raise ModelError(said + (cure if others else "")) from error
    if not upgrade:
        return Difference(left=target.left)
    downgrade: tuple[Step, ...] = ()
    one_way = ""
    try:
        downgrade, _ = _reach(driver, after, before)
    except Unwritable as error:
        one_way = str(error).strip()
    return Difference(
        upgrade,
        downgrade,
        one_way,
        parts_of((target.catalog.keys() - before.keys()) & models.catalog.keys(), models.catalog),
        tuple(sorted(map(named, _find_losses(before, target.catalog)))),
        target.left,
    )


def _find_losses(before: Catalog, after: Catalog) -> set[Key]:
    """Return tables and columns whose data is lost."""
    found = {
        key
        for key, entry in before.items()
        if key[0] in ("table", "column")
        # A column that becomes generated loses what was written to it.
        and (key not in after or (key[0] == "column" and after[key].definition[5]
                                  and not entry.definition[5]))
    }  # fmt: skip
    return {key for key in found if key[0] == "table" or ("table", key[1]) not in found}


def _reach(driver: Any, now: Catalog, goal: Catalog) -> tuple[tuple[Step, ...], Catalog]:
    """Return the steps to a goal and the catalog after them. Raise Unwritable."""
    done: list[Step] = []
    for _ in range(_ROUNDS):
        planned = steps(now, goal)
        if not planned:
            break
        try:
            taken = _apply(driver, planned)
        except Unwritable:
            taken = _apply(driver, steps(now, goal, thorough=True))
        placed = placed_after(placements(now), (step.sql for step in taken))
        before, now = now, add_placements(describe(driver.cursor()), placed)
        if goal.keys() - now.keys():
            # A partition's own constraint becomes inherited once its table has the same.
            merged = find_inherited(driver.cursor())
            goal = {key: entry for key, entry in goal.items() if key not in merged}
        driver.rollback()
        # Spelled differently after it was made from that very text: it is as wanted.
        same = {key for key in differing_keys(now, goal) if before.get(key) == now.get(key)}
        if same and not differing_keys(before, now):
            goal = {**goal, **{key: now[key] for key in same if key in now and key in goal}}
            break
        done += taken
    if unlike := differing_keys(now, goal):
        shown = ", ".join(named(key) for key in unlike[:5])
        raise Unwritable(f"{shown} would differ from the models. Write the revision by hand.")
    return tuple(done), now


def _apply(driver: Any, planned: Sequence[Step]) -> list[Step]:
    """Apply the steps, and return them with the casts that Postgres needed. Raise Unwritable."""
    done: list[Step] = []
    try:
        with driver.cursor() as cursor:
            for step in planned:
                done.append(step if is_placing(step.sql) else _execute(cursor, step))
                if step.alone:
                    driver.commit()
        driver.commit()
    except Unwritable:
        driver.rollback()
        raise
    return done


def _execute(cursor: Any, step: Step) -> Step:
    """Execute a step with the first cast that Postgres takes; return it in that form."""
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

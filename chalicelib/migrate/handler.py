"""The migrate function: brings a database to the newest revisions.

Two branches of revisions, independent of each other, share one version table: `decanter` (the
ledger, shipped) and `models` (the tables of `chalicelib/models.py`, written by `make migration`).
"""

import io
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from chalicelib.errors import DatabaseError, MigrationRefused
from chalicelib.migrate import apart, breaking_changes
from chalicelib.migrate.connection import SCHEMA, VERSION_TABLE, connected, driver, locked
from chalicelib.migrate.rehearsal import rehearse
from chalicelib.migrate.roles import ensure
from chalicelib.postgres import partitions, settling
from chalicelib.postgres.capacity import granted
from chalicelib.postgres.engine import POSTGRES, Engine, engine_of
from chalicelib.postgres.errors import kind
from chalicelib.postgres.relations import tables
from chalicelib.postgres.resources import metadatas, resources
from chalicelib.postgres.sql.names import plain_name
from chalicelib.settings import (
    DatabaseSettings,
    RoleSettings,
    database_tokens,
    engine,
    role_settings,
)

logger = logging.getLogger("decanter.migrate")

SAMPLE = "sample"
"""Revision of the sample tables that the project comes with."""
FOLDER = Path(__file__).parents[1] / "migrations"
SQL_BYTES = 4_000_000
"""Size limit of a dry run's SQL in an answer, as JSON; Lambda allows 6 MB for all of it."""

_CREATE_EXTENSION = re.compile(
    r'\bCREATE\s+EXTENSION\s+(IF\s+NOT\s+EXISTS\s+)?"?(?P<name>[\w-]+)', re.IGNORECASE
)

_MEMBERS = {
    "dry_run": bool,
    "force": bool,
    "budget": bool,
    "filled": list,
    "queued": int,
    "revoke": bool,
    "new_passwords": bool,
}


def run(event: Mapping[str, Any]) -> dict[str, Any]:
    """Handle an event; returns the answer.

    event: `{}` applies the missing revisions, unless they would break messages that may be queued,
    and then makes the database roles that the environment names. Members:

    - `"queued": n`: messages on the queues and dead-letter queues; with 0, nothing can break.
    - `"force": true`: migrate whatever breaks.
    - `"revoke": true`: no other version runs or has messages queued, so revoke the rights that only
      other versions needed, unless writes wait in the database.
    - `"new_passwords": true`: change how roles log in, whoever is locked out.
    - `"dry_run": true`: change nothing; answer with the SQL.
    - `"budget": true`: change nothing; answer with the connections that the database grants.
    - `"filled": [names]`: change nothing; answer with those of these resources that have rows.

    Raises MigrationRefused; NotConfigured; DatabaseUnavailable; and the error of a revision, with
    those before it applied.
    """
    _check(event)
    url, roles = DatabaseSettings.from_environment().url, role_settings()
    if event.get("budget"):
        return granted(url, roles)
    if "filled" in event:
        return {"filled": filled(url, event["filled"])}
    if event.get("dry_run"):
        return dry_run(url)
    return _migrate(url, roles, event)


def upgrade(database_url: str, target: str = "heads") -> dict[str, list[str]]:
    """Apply the missing revisions, one transaction each; only one caller at a time.

    database_url: libpq URL; it is neither logged nor part of an error. target: revision or branch,
    such as `decanter@head`. Returns {"applied": [revisions of this run, in order], "revisions":
    [heads of the database]}. Raises DatabaseUnavailable, and the error of a revision, with those
    before it applied.
    """
    with locked(database_url) as connection:
        applied = _apply(connection, target)
        return {"applied": applied, "revisions": sorted(_heads(connection))}


def dry_run(database_url: str) -> dict[str, Any]:
    """The SQL of the missing revisions; nothing is changed.

    Returns {"pending": [revisions], "ahead": [unknown revisions], "sql": text, "truncated": whether
    it is cut, "incomplete": why there is no SQL from some revision on, or None}.
    """
    with connected(database_url) as connection:
        _check_engine(connection)
        state = _state(connection)
        if (on := _engine(connection)).ddl_apart:
            return _answer(state, _statements(connection, on) if state.pending else "", None)
    config = alembic_config(on=on)
    config.attributes["present"] = state.heads
    config.output_buffer = buffer = io.StringIO()
    if not state.schema:
        buffer.write(f"CREATE SCHEMA {SCHEMA};\n\n")
    incomplete = None
    if state.pending:
        try:
            command.upgrade(config, "heads", sql=True)
        except Exception as error:  # a revision may raise anything
            incomplete = f"a revision queries the database while it runs: {error!r}"
    return _answer(state, buffer.getvalue() if state.pending else "", incomplete)


def _statements(connection: Connection, on: Engine) -> str:
    """The SQL of the missing revisions, as it is taken step by step."""
    with apart.statements_seen(connection) as seen:
        command.upgrade(alembic_config(connection, on=on), "heads")
    return "".join(f"{each};\n\n" for each in seen)


def _answer(state: "_State", sql: str, incomplete: str | None) -> dict[str, Any]:
    cut = _cut(sql, SQL_BYTES)
    return {
        "pending": list(state.pending),
        "ahead": list(state.ahead),
        "sql": cut,
        "truncated": len(cut) < len(sql),
        "incomplete": incomplete,
    }


def filled(database_url: str, names: Sequence[str]) -> list[str]:
    """Those of these resources that have rows. Raises MigrationRefused for an unknown one."""
    known = resources()
    if unknown := [name for name in names if name not in known]:
        raise MigrationRefused(f"there is no resource {', '.join(map(repr, unknown))}")
    with connected(database_url) as connection, driver(connection).cursor() as cursor:
        found = []
        for name in names:
            cursor.execute(f"SELECT FROM {plain_name(known[name].table)} LIMIT 1")
            found += [name] if cursor.rowcount else []
        return found


def alembic_config(
    connection: Connection | None = None,
    *,
    folder: Path = FOLDER,
    is_rehearsal: bool = False,
    on: Engine = POSTGRES,
    **options: Any,
) -> Config:
    """Alembic's configuration, for a folder laid out like `migrations/`. options: for env.py."""
    own = "decanter" if on.partitions else "decanter_plain"
    versions = (str(folder / "versions" / branch) for branch in (own, "models"))
    main = {
        "script_location": str(folder),
        "path_separator": "newline",
        "version_locations": "\n".join(versions),
    }
    config = Config()
    for name, value in main.items():
        config.set_main_option(name, value.replace("%", "%%"))
    config.attributes.update(
        connection=connection,
        is_rehearsal=is_rehearsal,
        is_apart=on.ddl_apart,
        distributes=on.distributes,
        options=options,
    )
    return config


@dataclass(frozen=True)
class _State:
    """The revisions of a database.

    schema: whether Decanter's schema exists. ahead: revisions that this version does not have.
    had_sample: whether the sample's revision was applied, and has been deleted here.
    """

    schema: bool
    heads: tuple[str, ...]
    pending: tuple[str, ...]
    ahead: tuple[str, ...]
    had_sample: bool


def _migrate(url: str, roles: Sequence[RoleSettings], event: Mapping[str, Any]) -> dict[str, Any]:
    from chalicelib import models

    force = event.get("force", False)
    with locked(url) as connection:
        _check_engine(connection)
        state = _state(connection)
        applied: list[str] = []
        notes: list[str] = []
        if state.had_sample:
            _forget_sample(connection)
        if state.pending:
            with _extension_errors_explained():
                if event.get("queued") != 0 and not force:
                    notes = _check_queued(connection)
                applied = _apply(connection)
        mismatches = breaking_changes.mismatches(driver(connection).cursor(), resources().values())
        connection.rollback()
        if mismatches and not force:
            raise _mismatch(mismatches, state, applied)
        waiting = 0
        if event.get("revoke") and not force:
            waiting = _value(connection, f"SELECT count(*) FROM {SCHEMA}.waiting")  # noqa: S608
        if waiting:
            notes.append(
                f"{waiting} writes wait in decanter.waiting and may be of another version, whose"
                " rights are kept until they are done. Revoke again then, or force it."
            )
        if not state.ahead and _engine(connection).partitions:
            notes += _extend_ledger(connection)
        made = ensure(
            driver(connection),
            roles,
            resources().values(),
            metadatas(models),
            database_tokens(),
            revoke=event.get("revoke", False) and not waiting,
            new_passwords=event.get("new_passwords", False),
        )
        for warning in made["warnings"]:
            logger.warning("%s", warning)
        return {
            "applied": applied,
            "revisions": sorted(_heads(connection)),
            "ahead": list(state.ahead),
            "notes": notes + (mismatches if force else []),
            **made,
        }


def _extend_ledger(connection: Connection) -> list[str]:
    """Make partitions of the ledger ahead. A deployment goes on without: what has no partition of
    its own is poured all the same. Returns a note if they could not be made."""
    try:
        made = partitions.extend(driver(connection))
    except DatabaseError as error:
        logger.warning("no partitions of the ledger were made ahead: %s", error)
        return [f"No partitions of the ledger were made ahead, the next migration will: {error}"]
    if made:
        logger.info("partitions of the ledger were made: %s to %s", made[0], made[-1])
    return []


def _check(event: Mapping[str, Any]) -> None:
    """Raises MigrationRefused: a misspelt member must not make a dry run a migration."""
    for name, value in event.items():
        if name not in _MEMBERS:
            raise MigrationRefused(f"{name!r} is not one of {', '.join(_MEMBERS)}")
        if type(value) is not _MEMBERS[name]:
            raise MigrationRefused(
                f"{name} is {value!r}; it must be of type {_MEMBERS[name].__name__}"
            )
    if event.get("queued", 0) < 0:
        raise MigrationRefused("queued is a number of messages, and cannot be negative")


def _check_queued(connection: Connection) -> list[str]:
    """Notes on the missing revisions. Raises MigrationRefused if they break messages."""

    from chalicelib import models

    existing = [each.name for each in tables(driver(connection).cursor())]
    connection.rollback()
    if (on := _engine(connection)).ddl_apart:
        existing = [name for name in existing if not name.startswith("sys.")]  # the engine's own
    if not existing:
        return []
    if on.ddl_apart:
        with apart.statements_seen(connection) as seen:
            command.upgrade(alembic_config(connection, on=on), "heads")
        found, constraints = apart.breaks(seen)
        if found:
            raise _breaking(found)
        return constraints
    before, after = rehearse(
        connection,
        lambda: command.upgrade(alembic_config(connection, is_rehearsal=True, on=on), "heads"),
    )
    unserved = breaking_changes.unserved(metadatas(models), resources())
    if found := breaking_changes.find_breaks(before, after, unserved):
        raise _breaking(found)
    return breaking_changes.new_constraints(before, after)


def _breaking(found: Sequence[str]) -> MigrationRefused:
    return MigrationRefused(
        "The revisions would break messages that may be queued, or the version that still"
        f" runs:\n{breaking_changes.bullets(found)}\n"
        "Nothing was changed. Expand first: deploy what is added (a column with a server"
        " default, a wider type, a new table) and code that no longer writes what goes."
        " Contract when the queues and dead-letter queues are empty. Or force it: incompatible"
        " writes are then kept as rejections."
    )


@contextmanager
def _extension_errors_explained() -> Iterator[None]:
    """Raises MigrationRefused if the CREATE EXTENSION of a revision fails."""
    try:
        yield
    except DBAPIError as error:
        match = _CREATE_EXTENSION.search(error.statement or "")
        if match is None:
            raise
        name, said = match["name"], str(error.orig).partition("\n")[0]
        cure = (
            f'Have a role with the right (rds_superuser on RDS) run CREATE EXTENSION "{name}" in'
            " this database once, then migrate again: the revision accepts an existing extension."
            if kind(error.orig) == "no-right"
            else "Install or allow it on the server: on RDS, SHOW rds.extensions lists those"
            " available, and other providers have a list of allowed ones. Or remove what needs it"
            " from the models and the revision."
        )
        raise MigrationRefused(
            f"A revision needs the extension {name}, which cannot be created in this database:"
            f" {said}. That revision, and those after it, are not applied. {cure}"
        ) from error


def _engine(connection: Connection) -> Engine:
    return engine_of(driver(connection))


def _check_engine(connection: Connection) -> None:
    """Raises MigrationRefused for a database on another engine than the stage declares."""
    declared, found = engine(), _engine(connection).name
    if declared != found:
        raise MigrationRefused(
            f"The stage declares DECANTER_ENGINE {declared!r}, and the server of"
            f" DECANTER_DATABASE_URL is {found}. Nothing was changed. Set DECANTER_ENGINE to"
            f" {found!r} in environment_variables of the stage in .chalice/config.json, or name a"
            f" database on {declared}."
        )


def _apply(connection: Connection, target: str = "heads") -> list[str]:
    applied: list[str] = []
    on = _engine(connection)

    def note(step: Any, **_: Any) -> None:
        applied.append(str(step.up_revision_id))

    lease = connection.info.get("lease")
    taking = apart.steps_taken(connection, lease) if on.ddl_apart and lease else nullcontext()
    with taking:
        command.upgrade(alembic_config(connection, on=on, on_version_apply=note), target)
    connection.rollback()
    if on.settles_before_rejecting and _value(connection, "SELECT to_regnamespace('decanter')"):
        settling.make(driver(connection))
        driver(connection).commit()
    return applied


def _state(connection: Connection) -> _State:
    """Raises MigrationRefused for a database that is ahead in one branch and behind in another."""
    script = ScriptDirectory.from_config(alembic_config(on=_engine(connection)))
    known = {each.revision for each in script.walk_revisions()}
    schema = bool(_value(connection, f"SELECT to_regnamespace('{SCHEMA}') IS NOT NULL"))
    heads = _heads(connection) if schema else ()
    had_sample = SAMPLE in {*heads} - known
    if had_sample:
        heads = tuple(each for each in heads if each != SAMPLE)
    ahead = tuple(sorted({*heads} - known))
    if not ahead:
        steps = script._upgrade_revs("heads", heads)  # type: ignore[arg-type]
        pending = tuple(str(step.revision.revision) for step in steps)
        return _State(schema, heads, pending, (), had_sample)
    # A newer version has migrated it. The other branch has to be where this version has it.
    if {*heads} & known - {*script.get_heads()}:
        raise MigrationRefused(
            f"The database has the revisions {', '.join(heads)}. {', '.join(ahead)} are of a newer"
            " version, and it lacks others of this version. Deploy the newer version again."
        )
    return _State(schema, heads, (), ahead, had_sample)


def _forget_sample(connection: Connection) -> None:
    """A database with the sample tables gets the first revision of other tables as any other does.
    The sample tables stay."""
    connection.execute(
        text(f"DELETE FROM {SCHEMA}.{VERSION_TABLE} WHERE version_num = :sample"),  # noqa: S608
        {"sample": SAMPLE},
    )
    connection.commit()


def _heads(connection: Connection) -> tuple[str, ...]:
    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "version_table_schema": SCHEMA}
    )
    heads = context.get_current_heads()
    connection.rollback()
    return heads


def _value(connection: Connection, sql: str) -> Any:
    found = connection.scalar(text(sql))
    connection.rollback()
    return found


def _mismatch(found: Sequence[str], state: _State, applied: Sequence[str]) -> MigrationRefused:
    cure = (
        f"The database has revisions of a newer version ({', '.join(state.ahead)}), with which this"
        " one cannot work: deploy the newer one again. Or they were deleted here: restore them, or"
        " begin with an empty database (that of make run is in .decanter)."
        if state.ahead
        else "Write the missing revision: make migration."
    )
    done = f" Applied before this: {', '.join(applied)}." if applied else ""
    return MigrationRefused(
        f"The tables do not match these models:\n{breaking_changes.bullets(found)}\n{cure}{done}"
    )


def _cut(text: str, most: int) -> str:
    """The first lines of a text that take at most so many bytes in JSON."""
    if len(json.dumps(text)) <= most:
        return text
    kept, size = [], 0
    for line in text.splitlines(keepends=True):
        size += len(json.dumps(line))
        if size > most:
            break
        kept.append(line)
    return "".join(kept)

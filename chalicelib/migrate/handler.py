"""What the migrate function does: bring a database to the newest revisions.

Two branches of revisions, independent of each other, share one version table: `decanter` (the
ledger, shipped) and `models` (the tables of `chalicelib/models.py`, written by `make migration`).
"""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.errors import MigrationRefused
from chalicelib.migrate.connection import SCHEMA, connected, driver, locked
from chalicelib.postgres.errors import kind

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from chalicelib.settings import RoleSettings

logger = logging.getLogger("decanter.migrate")

VERSION_TABLE = "alembic_version"
SAMPLE = "sample"
"""Revision of the tables that the project comes with."""
FOLDER = Path(__file__).parents[1] / "migrations"
SQL_BYTES = 4_000_000
"""Most of a dry run's SQL in an answer, as JSON; Lambda takes 6 MB in all."""

_CREATE_EXTENSION = re.compile(
    r'\bCREATE\s+EXTENSION\s+(IF\s+NOT\s+EXISTS\s+)?"?(?P<name>[\w-]+)', re.IGNORECASE
)

_MEMBERS = {
    "dry_run": bool,
    "force": bool,
    "budget": bool,
    "queued": int,
    "revoke": bool,
    "new_passwords": bool,
}


def run(event: Mapping[str, Any]) -> dict[str, Any]:
    """What the migrate function answers.

    event: `{}` applies the revisions that are missing, unless they would break messages that may be
    queued, and then makes the database roles that the environment names. Members:

    - `"queued": n`, messages on the queues and dead-letter queues; none: nothing can break.
    - `"force": true`: whatever breaks.
    - `"revoke": true`: no other version runs, nor has anything queued: takes back the rights that
      only those needed, unless writes wait in the database.
    - `"new_passwords": true`: sets what a role logs in with, whoever is locked out.
    - `"dry_run": true`: changes nothing; answers with the SQL.
    - `"budget": true`: changes nothing; answers with the connections that the database grants.

    Raises MigrationRefused, NotConfigured, DatabaseUnavailable when the database is out of reach,
    and what a revision raises; those before it stay applied.
    """
    from chalicelib.settings import DatabaseSettings, role_settings

    _check(event)
    url, roles = DatabaseSettings.from_environment().url, role_settings()
    if event.get("budget"):
        from chalicelib.postgres.capacity import granted

        return granted(url, roles)
    if event.get("dry_run"):
        return dry_run(url)
    return _migrate(url, roles, event)


def upgrade(database_url: str, target: str = "heads") -> dict[str, list[str]]:
    """Apply the revisions that are missing, one transaction each; only one caller at a time.

    database_url: libpq URL; it is neither logged nor part of an error. target: revision or branch,
    such as `decanter@head`.
    Returns {"applied": [revisions of this run, in order], "revisions": [where the database is]}.
    Raises DatabaseUnavailable when the database is out of reach, and what a revision raises; those
    before it stay applied.
    """
    with locked(database_url) as connection:
        applied = _apply(connection, target)
        return {"applied": applied, "revisions": sorted(_heads(connection))}


def dry_run(database_url: str) -> dict[str, Any]:
    """The SQL of the revisions that are missing, and nothing changed.

    Returns {"pending": [revisions], "sql": text, "truncated": whether it is cut, "incomplete": why
    there is no SQL from some revision on, or None}, and `ahead` as `run` does.
    """
    from alembic import command

    with connected(database_url) as connection:
        state = _state(connection)
    config = alembic_config()
    config.attributes["present"] = state.heads
    config.output_buffer = buffer = io.StringIO()
    if not state.schema:
        buffer.write(f"CREATE SCHEMA {SCHEMA};\n\n")
    incomplete = None
    if state.pending:
        try:
            command.upgrade(config, "heads", sql=True)
        except Exception as error:  # of a revision, which may do what it likes
            incomplete = f"a revision asks the database while it runs: {error!r}"
    sql = buffer.getvalue() if state.pending else ""
    cut = _cut(sql, SQL_BYTES)
    return {
        "pending": list(state.pending),
        "ahead": list(state.ahead),
        "sql": cut,
        "truncated": len(cut) < len(sql),
        "incomplete": incomplete,
    }


def alembic_config(
    connection: "Connection | None" = None,
    *,
    folder: Path = FOLDER,
    on_version_apply: Callable[..., None] | None = None,
    is_rehearsal: bool = False,
    **options: Any,
) -> "Config":
    """Alembic's configuration, for a folder laid out like `migrations/`. options: for env.py."""
    from alembic.config import Config

    config = Config()
    for name, value in {
        "script_location": str(folder),
        "path_separator": "newline",
        "version_locations": "\n".join(
            str(folder / "versions" / branch) for branch in ("decanter", "models")
        ),
    }.items():
        config.set_main_option(name, value.replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["is_rehearsal"] = is_rehearsal
    config.attributes["options"] = {
        **options,
        **({"on_version_apply": on_version_apply} if on_version_apply else {}),
    }
    return config


@dataclass(frozen=True)
class _State:
    """Where a database is.

    schema: whether there is ours. ahead: revisions that are not known. had_sample: whether it has
    the samples, whose revision is no longer there.
    """

    schema: bool
    heads: tuple[str, ...]
    pending: tuple[str, ...]
    ahead: tuple[str, ...]
    had_sample: bool


def _migrate(url: str, roles: "Sequence[RoleSettings]", event: Mapping[str, Any]) -> dict[str, Any]:
    from chalicelib import models
    from chalicelib.migrate.roles import ensure
    from chalicelib.postgres.resources import metadatas, resources
    from chalicelib.settings import database_tokens

    force = event.get("force", False)
    with locked(url) as connection:
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
        mismatches = _mismatches(connection)
        if mismatches and not force:
            raise _mismatch(mismatches, state, applied)
        waiting = 0 if force or not event.get("revoke") else _waiting(connection)
        if waiting:
            notes.append(
                f"{waiting} writes wait in decanter.waiting, maybe of another version: its rights"
                " are kept until they are done. Say so again then, or force it."
            )
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


def _check(event: Mapping[str, Any]) -> None:
    """A member that is misspelt must not make a dry run a migration."""
    for name, value in event.items():
        if name not in _MEMBERS:
            raise MigrationRefused(f"{name!r} is none of {', '.join(_MEMBERS)}")
        if type(value) is not _MEMBERS[name]:
            raise MigrationRefused(f"{name} is {value!r}; it has to be a {_MEMBERS[name].__name__}")
    if event.get("queued", 0) < 0:
        raise MigrationRefused("queued is a number of messages, and cannot be negative")


def _check_queued(connection: "Connection") -> list[str]:
    """Notes on the revisions that are missing. Raises MigrationRefused for those that break."""
    from alembic import command

    from chalicelib import models
    from chalicelib.migrate import breaking_changes
    from chalicelib.migrate.rehearsal import rehearse
    from chalicelib.postgres.relations import tables
    from chalicelib.postgres.resources import metadatas, resources

    cursor = driver(connection).cursor()
    there = bool(tables(cursor))
    connection.rollback()
    if not there:
        return []
    before, after = rehearse(
        connection, lambda: command.upgrade(alembic_config(connection, is_rehearsal=True), "heads")
    )
    unserved = breaking_changes.unserved(metadatas(models), resources())
    if found := breaking_changes.find_breaks(before, after, unserved):
        raise MigrationRefused(
            "The revisions would break messages that may be queued, or the version that still"
            f" runs:\n{breaking_changes.bullets(found)}\n"
            "Nothing was changed. Expand first: deploy what is added (a column with a server"
            " default, a wider type, a new table) and code that no longer writes what goes."
            " Contract when the queues and dead-letter queues are empty. Or force it: writes that"
            " no longer fit are then kept as rejections."
        )
    return breaking_changes.new_constraints(before, after)


@contextmanager
def _extension_errors_explained() -> Iterator[None]:
    """Raises MigrationRefused where a revision's CREATE EXTENSION fails."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        match = _CREATE_EXTENSION.search(error.statement or "")
        if match is None:
            raise
        name, said = match["name"], str(error.orig).partition("\n")[0]
        cure = (
            f'Have a role that may (rds_superuser on RDS) run CREATE EXTENSION "{name}" in this'
            " database once, then migrate again: the revision finds it there."
            if kind(error.orig) == "no-right"
            else "Install it on the server, or allow it there: on RDS, SHOW rds.extensions lists"
            " those that there are, and other providers have a list of allowed ones. Or take what"
            " needs it out of the models and the revision."
        )
        raise MigrationRefused(
            f"A revision needs the extension {name}, which cannot be created in this database:"
            f" {said}. That revision, and those after it, are not applied. {cure}"
        ) from error


def _apply(connection: "Connection", target: str = "heads") -> list[str]:
    from alembic import command

    applied: list[str] = []

    def note(step: Any, **_: Any) -> None:
        applied.append(str(step.up_revision_id))

    command.upgrade(alembic_config(connection, on_version_apply=note), target)
    connection.rollback()
    return applied


def _state(connection: "Connection") -> _State:
    """Raises MigrationRefused for a database that is ahead in one branch and behind in another."""
    from alembic.script import ScriptDirectory
    from sqlalchemy import text

    script = ScriptDirectory.from_config(alembic_config())
    known = {each.revision for each in script.walk_revisions()}
    schema = bool(
        connection.scalar(text("SELECT to_regnamespace(:name) IS NOT NULL"), {"name": SCHEMA})
    )
    heads = _heads(connection) if schema else ()
    connection.rollback()
    had_sample = SAMPLE in {*heads} - known
    if had_sample:
        heads = tuple(each for each in heads if each != SAMPLE)
    ahead = tuple(sorted({*heads} - known))
    if not ahead:
        steps = script._upgrade_revs("heads", heads)  # type: ignore[arg-type]
        pending = tuple(str(step.revision.revision) for step in steps)
        return _State(schema, heads, pending, (), had_sample)
    # A newer version has been here. What it left alone has to be as far as we know it.
    if {*heads} & known - {*script.get_heads()}:
        raise MigrationRefused(
            f"The database has the revisions {', '.join(heads)}, of which {', '.join(ahead)} are"
            " of a newer version than this one, which has others that are missing. Deploy the newer"
            " version again."
        )
    return _State(schema, heads, (), ahead, had_sample)


def _forget_sample(connection: "Connection") -> None:
    """The first revision of other tables, in the place of the samples', is applied to a database
    that has the samples as to any other. Their tables stay."""
    from sqlalchemy import text

    connection.execute(
        text(f"DELETE FROM {SCHEMA}.{VERSION_TABLE} WHERE version_num = :sample"),  # noqa: S608
        {"sample": SAMPLE},
    )
    connection.commit()


def _heads(connection: "Connection") -> tuple[str, ...]:
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "version_table_schema": SCHEMA}
    )
    heads = context.get_current_heads()
    connection.rollback()
    return heads


def _waiting(connection: "Connection") -> int:
    from sqlalchemy import text

    found = connection.scalar(text(f"SELECT count(*) FROM {SCHEMA}.waiting"))  # noqa: S608
    connection.rollback()
    return int(found or 0)


def _mismatches(connection: "Connection") -> list[str]:
    from chalicelib.migrate import breaking_changes
    from chalicelib.postgres.resources import resources

    found = breaking_changes.mismatches(driver(connection).cursor(), resources().values())
    connection.rollback()
    return found


def _mismatch(found: Sequence[str], state: _State, applied: Sequence[str]) -> MigrationRefused:
    from chalicelib.migrate import breaking_changes

    cure = (
        "The database has revisions of a newer version"
        f" ({', '.join(state.ahead)}) with which this one cannot work: deploy the newer one again."
        " Or they were deleted here: get them back, or begin with an empty database (that of make"
        " run is in .decanter)."
        if state.ahead
        else "Write the revision that is missing: make migration."
    )
    done = f" {', '.join(applied)} were applied before." if applied else ""
    return MigrationRefused(
        f"The tables are not as these models need them:\n{breaking_changes.bullets(found)}\n"
        f"{cure}{done}"
    )


def _cut(text: str, most: int) -> str:
    """As much of a text as is no longer than that in JSON, whole lines."""
    if len(json.dumps(text)) <= most:
        return text
    kept, size = [], 0
    for line in text.splitlines(keepends=True):
        size += len(json.dumps(line))
        if size > most:
            break
        kept.append(line)
    return "".join(kept)

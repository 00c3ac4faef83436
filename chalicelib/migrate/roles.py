"""Database roles of least privilege: one for the drains, one for the reader, one for the sweep.

The migrate function creates them with the owner's rights after the revisions, and adapts them at
every run: connection limit, timeouts, and rights on the tables of the present models.

A version that still runs may need rights that these models do not: they are revoked only when the
operator says that no other version runs or has messages queued. For the same reason no password is
changed: a new one goes to another role, whose name alternates, and both can log in until the former
version is gone. The database gets a password as a SCRAM verifier, so that no log shows it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import MetaData

from chalicelib.errors import DatabaseError, DatabaseUnavailable, MigrationRefused, NotConfigured
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.access import url_parts
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.engine import Engine, engine_of
from chalicelib.postgres.errors import translated
from chalicelib.postgres.resources import ResourceTable
from chalicelib.postgres.roles import PUT_BACK_HELD, TOKENS_ROLE, Role, RoleCatalog
from chalicelib.settings import RoleSettings, role_names

_LOGIN_SECONDS = 10
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")

_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "drain": {
        "statement_timeout": "1min",
        "lock_timeout": "30s",
        "idle_in_transaction_session_timeout": "1min",
        "idle_session_timeout": "5min",
    },
    "reader": {
        "statement_timeout": "10s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "10s",
        "idle_session_timeout": "5min",
        "default_transaction_read_only": "on",
    },
    "sweep": {
        "statement_timeout": "1min",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "10s",
        "idle_session_timeout": "1min",
    },
}
"""Defaults. The functions set timeouts by their deadlines."""

_KEPT: Mapping[str, frozenset[str]] = {
    "drain": frozenset({"SELECT", "INSERT"}),
    "reader": frozenset({"SELECT"}),
    "sweep": frozenset({"SELECT", "DELETE"}),
}
_DECANTER_TABLES: Mapping[str, Mapping[str, frozenset[str]]] = {
    "ledger": {**_KEPT, "sweep": frozenset({"SELECT"})},  # it deletes from the partitions
    "ledger_rest": {"sweep": _KEPT["sweep"]},
    "rejection": _KEPT,
    "made_key": {**_KEPT, "drain": frozenset({"INSERT"})},
    "orphan": {"drain": _KEPT["drain"] | {"UPDATE"}, "sweep": _KEPT["sweep"]},
    "waiting": {
        "drain": _KEPT["drain"] | {"UPDATE", "DELETE"},
        "reader": frozenset({"SELECT"}),
        "sweep": frozenset({"SELECT"}),  # the ledger keeps the messages of what waits
    },
    "outbox": {"drain": _KEPT["drain"] | {"DELETE"}, "sweep": _KEPT["sweep"]},
    "act": {"drain": _KEPT["drain"], "reader": frozenset({"SELECT"})},  # nobody may delete them
    "act_step": {"drain": _KEPT["drain"], "reader": frozenset({"SELECT"})},
    "correction": _KEPT,
    "alembic_version": {"drain": frozenset({"SELECT"}), "reader": frozenset({"SELECT"})},
}
_LEAF: Mapping[str, frozenset[str]] = {"sweep": _KEPT["sweep"] | {"TRUNCATE", "INSERT"}}
"""Rights on each leaf of the ledger, which is emptied, and gets back what it has to keep."""

_LEDGER_APART: Mapping[str, frozenset[str]] = {
    "drain": _KEPT["drain"] | {"UPDATE"},
    "sweep": _KEPT["sweep"],
}
"""Rights on the ledger where it has no partitions, and a request is claimed by writing its row
again instead of by a lock."""

_TABLES: Mapping[str, Sequence[set[str]]] = {
    "drain": ({"SELECT"}, {"SELECT", "INSERT"}, {"SELECT", "INSERT", "UPDATE", "DELETE"}),
    "reader": (set(), {"SELECT"}, {"SELECT"}),
}
"""Rights on tables that foreign keys look at, that rows are added to, and whose rows change."""
_OF_VERSIONS: Mapping[str, frozenset[str]] = {
    "drain": frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"}),
    "reader": frozenset({"SELECT"}),
    "sweep": _KEPT["sweep"],
}
"""Rights that some version may need on a served table or one of Decanter's; no other is needed."""

_CHANGING = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES")


def ensure(
    connection: Connection,
    roles: Sequence[RoleSettings],
    resources: Iterable[ResourceTable],
    metadatas: Iterable[MetaData],
    tokens: bool = False,
    *,
    revoke: bool = False,
    new_passwords: bool = False,
) -> dict[str, list[str]]:
    """Create or alter the roles: in one transaction, or each statement in its own where the engine
    maps roles of IAM. What is missing is then made by the next run.

    connection: of the owner, outside of a transaction and not in autocommit, but for such an
    engine. tokens: a role whose
    URL has no password logs in with RDS' tokens. revoke: no other version runs or has messages
    queued. new_passwords: how roles log in may change, whoever is locked out.
    Returns {"roles": [names], "changes": [statements, without passwords], "later": [statements that
    revoke what another version may still need; `revoke` runs them], "warnings": [rights that the
    roles should not have]}. Raises MigrationRefused and NotConfigured, with nothing changed.
    """
    if not roles:
        return {"roles": [], "changes": [], "later": [], "warnings": []}
    wanted = [_wanted(role, tokens) for role in roles]
    engine = engine_of(connection)
    try:
        # The driver begins a transaction with the connection's block, even in autocommit.
        together = connection if engine.roles else nullcontext()
        with translated(), together, connection.cursor() as cursor:
            catalog = RoleCatalog(connection, cursor)
            work = _Work(catalog, cursor, engine, revoke, new_passwords)
            tables = _tables(catalog, resources, metadatas)
            for role in [] if engine.roles else wanted:
                _check_mapped(catalog, role, wanted)
            for role in [] if engine.roles else wanted:
                _map(work, role, tables)
            for role in wanted if engine.roles else []:
                there = catalog.role(role.name)
                _check(catalog, role, there, wanted)
                _create_or_alter(work, role, there)
                _set(work, role, there.settings if there else ())
                _grant(work, role, tables)
                _inherit(work, role, tables)
                _verify_grants(work, role, tables)
                _retire(work, role, tables)
    except DatabaseError as error:
        if error.kind != "no-right":
            raise
        raise MigrationRefused(
            "the role of DECANTER_DATABASE_URL may not create or alter the roles of the functions:"
            f" {error}. It needs CREATEROLE, the admin option on roles that others have created,"
            " and the ownership of the tables. Or leave DECANTER_DRAIN_URL, DECANTER_READER_URL and"
            " DECANTER_SWEEP_URL out, and no role is created."
        ) from error
    return {
        "roles": [role.name for role in wanted],
        "changes": work.changes,
        "later": work.later,
        "warnings": work.warnings,
    }


@dataclass(frozen=True)
class _Wanted:
    """A role as it should be. url: it logs in with. password: None if it logs in with tokens.
    iam_roles: ARNs of those that may log in as it, on an engine that maps them."""

    kind: str
    name: str
    password: str | None
    database: str | None
    connections: int
    url: str
    iam_roles: tuple[str, ...]

    @property
    def before(self) -> str | None:
        """The role that the former version may log in with, if that is another one."""
        names = role_names(self.database or "", self.kind)
        return names[1 - names.index(self.name)] if self.name in names else None


@dataclass(frozen=True)
class _Tables:
    """OIDs of the tables that roles need rights on, by the need; and names of sequences."""

    changed: tuple[int, ...]
    added_to: tuple[int, ...]
    looked_at: tuple[int, ...]
    sequences: tuple[str, ...]

    @property
    def served(self) -> tuple[int, ...]:
        return (*self.changed, *self.added_to)

    def rights(self, kind: str) -> dict[int, frozenset[str]]:
        """The rights of the role of a kind, by table."""
        needs = (self.looked_at, self.added_to, self.changed)
        pairs = zip(needs, _TABLES.get(kind, ()), strict=False)
        return {oid: frozenset(wanted) for oids, wanted in pairs for oid in oids}


class _Work:
    """The owner's transaction, its changes so far, and those that are left for later."""

    def __init__(
        self,
        catalog: RoleCatalog,
        cursor: Any,
        engine: Engine,
        revoke: bool,
        new_passwords: bool,
    ) -> None:
        self.catalog = catalog
        self.cursor = cursor
        self.engine = engine
        self.revoke = revoke
        self.new_passwords = new_passwords
        self.changes: list[str] = []
        self.later: list[str] = []
        self.warnings: list[str] = []

    def change(self, sql: str) -> None:
        self.cursor.execute(sql)
        self.changes.append(sql)

    @contextmanager
    def on_coordinator(self) -> Iterator[None]:
        """What the block alters of roles is not altered on the workers of a cluster."""
        propagation = "SET LOCAL citus.enable_alter_role_propagation TO"
        if self.engine.distributes:
            self.cursor.execute(f"{propagation} off")
        yield
        if self.engine.distributes:
            self.cursor.execute(f"{propagation} on")

    def attempt(self, sql: str) -> None:
        """Make a change that the owner may have no right to make."""
        self.cursor.execute("SAVEPOINT attempt")
        try:
            with translated():
                self.change(sql)
        except DatabaseError as error:
            if error.kind != "no-right":
                raise
            self.cursor.execute("ROLLBACK TO SAVEPOINT attempt")

    def take_back(self, sql: str) -> None:
        """Revoke something that another version may still need: now or later."""
        if self.revoke:
            self.change(sql)
        else:
            self.later.append(sql)


def _wanted(role: RoleSettings, tokens: bool) -> _Wanted:
    variable = f"DECANTER_{role.kind.upper()}_URL"
    parts = url_parts(role.url)
    name, password = parts.get("user"), parts.get("password")
    if not name:
        raise NotConfigured(f"{variable} names no user, and so no role to create")
    if not password and not tokens:
        raise NotConfigured(
            f"{variable} has no password. Give it one (`python -m decanter secrets` does), or set"
            " DECANTER_DATABASE_IAM=1 for tokens of RDS"
        )
    database = parts.get("dbname")
    most = role.connections
    return _Wanted(role.kind, name, password, database, most, role.url, role.iam_roles)


def _tables(
    catalog: RoleCatalog, resources: Iterable[ResourceTable], metadatas: Iterable[MetaData]
) -> _Tables:
    """The existing tables; a missing one is no error here."""
    served = {resource.table: resource for resource in resources}
    all_tables = [table for metadata in metadatas for table in metadata.tables.values()]
    return _Tables(
        changed=catalog.oids(table for table, each in served.items() if each.ordered),
        added_to=catalog.oids(table for table, each in served.items() if not each.ordered),
        # A foreign key is looked up in its parent's table, served or not.
        looked_at=catalog.oids(table for table in all_tables if table not in served),
        sequences=tuple(catalog.sequences(served)),
    )


def _check(
    catalog: RoleCatalog, role: _Wanted, there: Role | None, all_roles: Sequence[_Wanted]
) -> None:
    """Raises MigrationRefused for a role that is also used for something else."""
    where = f"the role {role.name} of DECANTER_{role.kind.upper()}_URL"
    if role.database != (database := catalog.database()):
        raise MigrationRefused(
            f"{where} is for the database {role.database}, the owner's URL for {database}."
            " All URLs have to name the same database."
        )
    wrong = ""
    if [each.name for each in all_roles].count(role.name) > 1:
        wrong = "is also the role of another function"
    elif there is None:
        return
    elif there.is_current:
        wrong = "is the owner's own"
    elif there.databases:
        wrong = f"also has rights on the database {there.databases}"
    elif there.powers:
        wrong = f"has {there.powers}"
    elif there.member_of:
        wrong = f"is a member of {there.member_of}, and has its rights"
    elif there.owned:
        wrong = f"owns {there.owned} objects, which it could alter"
    if wrong:
        raise MigrationRefused(
            f"{where} {wrong}. Name another role that is used for nothing else; it is created if it"
            " does not exist."
        )


def _check_mapped(catalog: RoleCatalog, role: _Wanted, all_roles: Sequence[_Wanted]) -> None:
    """Raises MigrationRefused for a role that is also used for something else, or by nobody."""
    where = f"the role {role.name} of DECANTER_{role.kind.upper()}_URL"
    if [each.name for each in all_roles].count(role.name) > 1 or catalog.is_current(role.name):
        raise MigrationRefused(
            f"{where} is also another one. Name a role that is used for nothing else; it is created"
            " if it does not exist."
        )
    if role.password is not None:
        raise MigrationRefused(
            f"{where} has a password, and this server takes none. Take it out of the URL: functions"
            " log in with tokens."
        )
    if not role.iam_roles:
        raise MigrationRefused(
            f"{where} could be used by nobody. Set DECANTER_{role.kind.upper()}_IAM_ROLES of the"
            " migrate function to the ARNs of the execution roles of its functions, separated by"
            " spaces; the packaged template does so."
        )


def _map(work: _Work, role: _Wanted, tables: _Tables) -> None:
    """Create a role, grant it its rights, and map the roles of IAM that may log in as it."""
    catalog = work.catalog
    name = catalog.quoted(role.name)
    if not catalog.exists(role.name):
        work.change(f"CREATE ROLE {name} WITH LOGIN")
    rights = tables.rights(role.kind)
    for schema in catalog.schemas(oid for oid, wanted in rights.items() if wanted):
        if not catalog.uses_schema(role.name, schema):
            work.change(f"GRANT USAGE ON SCHEMA {catalog.quoted(schema)} TO {name}")
    for table, by_kind in _DECANTER_TABLES.items():
        own = by_kind.get(role.kind, frozenset())
        if table == "ledger_rest":
            continue
        if table == "ledger":
            own = _LEDGER_APART.get(role.kind, own)
        _grant_exactly(work, role, catalog.own_oid(table), own)
    for oid, wanted in rights.items():
        _grant_exactly(work, role, oid, wanted)
    # These are no statements of Postgres, and quote no name that needs none.
    plain = role.name if _PLAIN.fullmatch(role.name) else name
    mapped = catalog.mapped(role.name)
    for arn in sorted({*role.iam_roles} - {*mapped}):
        work.change(f"AWS IAM GRANT {plain} TO {_literal(arn)}")
    for arn in sorted({*mapped} - {*role.iam_roles}):
        work.take_back(f"AWS IAM REVOKE {plain} FROM {_literal(arn)}")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _create_or_alter(work: _Work, role: _Wanted, there: Role | None) -> None:
    """Role, password and connection limit."""
    catalog = work.catalog
    name = catalog.quoted(role.name)
    can_login = there is not None and there.can_login
    if not there:
        limit = "" if work.engine.distributes else f" CONNECTION LIMIT {role.connections}"
        work.change(f"CREATE ROLE {name} LOGIN{limit}")
    elif not can_login:
        work.change(f"ALTER ROLE {name} LOGIN VALID UNTIL 'infinity'")
    _limit(work, role, there)
    if can_login and not (why := _locked_out(catalog, role)):
        return
    if can_login and not work.new_passwords:
        raise MigrationRefused(
            f"the role {role.name} of DECANTER_{role.kind.upper()}_URL {why}. Changing how it logs"
            " in would lock out the running version. Restore the former URL; or have `python -m"
            " decanter secrets --rotate` name another role, and keep this one until the new version"
            " serves. If another stage uses this database, name different roles in the secrets of"
            " this one. If nothing that has to go on runs with this role, as after a database was"
            " restored: `python -m decanter migrate --new-passwords`."
        )
    verifier = "NULL"
    if role.password is not None:
        verifier = f"'{catalog.verifier(role.name, role.password)}'"
    work.cursor.execute(f"ALTER ROLE {name} PASSWORD {verifier}")
    has_tokens = catalog.has_tokens(role.name)
    if role.password is None and has_tokens is False:
        work.change(f"GRANT {TOKENS_ROLE} TO {name}")
    elif role.password is not None and has_tokens:
        work.change(f"REVOKE {TOKENS_ROLE} FROM {name}")


def _limit(work: _Work, role: _Wanted, there: Role | None) -> None:
    """Connection limit. On Citus of the coordinator alone: its sessions bound those that it opens
    on workers, of which one of them may need several."""
    alter = f"ALTER ROLE {work.catalog.quoted(role.name)} CONNECTION LIMIT"
    most = there.connections if there else role.connections
    if work.engine.distributes and (not there or work.catalog.is_limited_on_workers(role.name)):
        if there:
            work.change(f"{alter} -1")
        with work.on_coordinator():
            work.change(f"{alter} {most}")
    with work.on_coordinator():
        if 0 <= most < role.connections:
            work.change(f"{alter} {role.connections}")
        elif most != role.connections:
            work.take_back(f"{alter} {role.connections}")


def _locked_out(catalog: RoleCatalog, role: _Wanted) -> str:
    """Why an existing role cannot log in as its URL says; empty if it can."""
    has_tokens = catalog.has_tokens(role.name)
    if role.password is None:
        return "logs in with a password" if has_tokens is False else ""
    if has_tokens:
        return "logs in with tokens of RDS"
    try:
        session.connected(role.url, "decanter migrate", connect_timeout=_LOGIN_SECONDS).close()
    except DatabaseUnavailable:
        return "cannot log in with that password (or all of its connections are in use)"
    return ""


def _set(work: _Work, role: _Wanted, present: Sequence[str]) -> None:
    """Timeouts, and the owner's search path, so that names without a schema mean the same."""
    path = work.catalog.path()
    # If no schema of the path exists (yet), it is left to the database.
    found = {"search_path": path} if path else {}
    for name, value in {**found, **_SETTINGS[role.kind]}.items():
        if f"{name}={value}" not in present:
            text = value if name == "search_path" else f"'{value}'"
            work.change(f"ALTER ROLE {work.catalog.quoted(role.name)} SET {name} TO {text}")


def _grant(work: _Work, role: _Wanted, tables: _Tables) -> None:
    catalog = work.catalog
    to = f"TO {catalog.quoted(role.name)}"
    if not catalog.connects(role.name):
        work.change(f"GRANT CONNECT ON DATABASE {catalog.quoted(catalog.database())} {to}")
    rights = tables.rights(role.kind)
    for schema in catalog.schemas(oid for oid, wanted in rights.items() if wanted):
        if not catalog.uses_schema(role.name, schema):
            work.change(f"GRANT USAGE ON SCHEMA {catalog.quoted(schema)} {to}")
    for table, by_kind in _DECANTER_TABLES.items():
        _grant_exactly(work, role, catalog.own_oid(table), by_kind.get(role.kind, frozenset()))
    for oid in catalog.leaves():
        _grant_exactly(work, role, oid, _LEAF.get(role.kind, frozenset()))
    for oid, wanted in rights.items():
        _grant_exactly(work, role, oid, wanted)
    if role.kind == "sweep" and not catalog.may_put_back(role.name):
        work.change(f"GRANT EXECUTE ON FUNCTION {PUT_BACK_HELD} {to}")
    if role.kind != "drain":
        return
    for name in tables.sequences:
        if not catalog.may_use_sequence(role.name, name):
            work.change(f"GRANT USAGE ON SEQUENCE {name} {to}")
    for name in catalog.functions(role.name, tables.served):
        work.change(f"GRANT EXECUTE ON FUNCTION {name} {to}")


def _grant_exactly(work: _Work, role: _Wanted, oid: int, wanted: frozenset[str]) -> None:
    table, name = work.catalog.table(oid), work.catalog.quoted(role.name)
    present = work.catalog.held(role.name, oid)
    # This version pours messages that the former one has queued, under a role that may be new.
    before = None if work.revoke else role.before
    inherited = work.catalog.held(before, oid) if before else set()
    needed = wanted | (inherited & _OF_VERSIONS[role.kind])
    if missing := sorted(needed - present):
        work.change(f"GRANT {', '.join(missing)} ON {table} TO {name}")
    if excess := sorted(present - needed - _OF_VERSIONS[role.kind]):
        work.change(f"REVOKE {', '.join(excess)} ON {table} FROM {name}")
    if passing := sorted(((present | needed) & _OF_VERSIONS[role.kind]) - wanted):
        work.take_back(f"REVOKE {', '.join(passing)} ON {table} FROM {name}")


def _inherit(work: _Work, role: _Wanted, tables: _Tables) -> None:
    """Grant what was granted by hand to the role of the former version, which this one replaces."""
    if role.before is None:
        return
    known = _all_oids(work, role, tables)
    for sql in work.catalog.given_by_hand(role.before, role.name, known):
        work.attempt(sql)
    # A GRANT without the right to grant is only a warning.
    work.warnings += [
        f"{role.before} has a right that the role of DECANTER_DATABASE_URL may not grant to"
        f" {role.name}: have its grantor run {sql}"
        for sql in work.catalog.given_by_hand(role.before, role.name, known)
    ]


def _all_oids(work: _Work, role: _Wanted, tables: _Tables) -> list[int]:
    """OIDs of all tables that a role may have rights on."""
    catalog = work.catalog
    own = map(catalog.own_oid, _DECANTER_TABLES)
    return [*own, *catalog.leaves(), *tables.rights(role.kind)]


def _retire(work: _Work, role: _Wanted, tables: _Tables) -> None:
    """Disable the role of the former version, which had another password."""
    catalog, before = work.catalog, role.before
    former = catalog.role(before) if before else None
    if not before or not former or not former.is_enabled or not catalog.connects(before):
        return  # or it is of another database, whose name begins like this one's
    name = catalog.quoted(before)
    work.take_back(f"ALTER ROLE {name} NOLOGIN PASSWORD NULL")
    if catalog.has_tokens(before):
        work.take_back(f"REVOKE {TOKENS_ROLE} FROM {name}")
    for oid in _all_oids(work, role, tables):
        if held := sorted(catalog.held(before, oid)):
            work.take_back(f"REVOKE {', '.join(held)} ON {catalog.table(oid)} FROM {name}")


def _verify_grants(work: _Work, role: _Wanted, tables: _Tables) -> None:
    """Check the role's rights: a GRANT without the right to grant is only a warning. And the role
    has all rights that PUBLIC has."""
    catalog, rights = work.catalog, tables.rights(role.kind)
    for oid, wanted in rights.items():
        table = catalog.table(oid)
        for right in sorted(wanted):
            if not catalog.may(role.name, right, oid):
                raise MigrationRefused(
                    f"the role of DECANTER_DATABASE_URL could not let {role.name} {right} on"
                    f" {table}: it does not own the table. Make it the owner, or grant it by hand."
                )
        own = wanted | catalog.held(role.name, oid)
        work.warnings += [
            f"{role.name} may {right} on {table}, as everybody may: REVOKE {right} ON {table}"
            " FROM PUBLIC"
            for right in _CHANGING
            if right not in own and catalog.may(role.name, right, oid)
        ]
        if wanted and catalog.has_policies(oid):
            work.warnings.append(
                f"{table} has row-level security: {role.name} can only read and write what a policy"
                " allows"
            )
    work.warnings += [
        f"{role.name} may create in schema {schema}, as everybody may: REVOKE CREATE ON SCHEMA"
        f" {schema} FROM PUBLIC"
        for schema in catalog.schemas(oid for oid, wanted in rights.items() if wanted)
        if catalog.may_create_in(role.name, schema)
    ]

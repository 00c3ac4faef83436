"""Database roles of least privilege: one for the drains, one for the reader, one for the sweep.

The migrate function makes them with the owner's rights after the revisions, and alters them to fit
at every run: most connections, timeouts, and rights on the tables of the models as they are now.

A version that still runs may need what these models do not: what it may need is taken back only
where it is said that nothing runs any more and nothing is queued but what these models say. For the
same reason nobody's password is changed: a new one goes to another role, whose name alternates, and
both can log in until the version before is gone. A password comes to the database as a SCRAM
verifier, so that no log of statements has it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import encrypt_password, make_dsn
from psycopg2.extensions import quote_ident as _quote_ident
from sqlalchemy import MetaData, Table
from sqlalchemy import Sequence as SqlSequence

from chalicelib.errors import MigrationRefused, NotConfigured
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.access import url_parts
from chalicelib.postgres.resources import Resource
from chalicelib.postgres.sql.names import DIALECT, plain_name
from chalicelib.settings import RoleSettings, role_names

_LOGIN_SECONDS = 10
_TOKENS_ROLE = "rds_iam"  # who is a member logs in with a token, and in no other way

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
"""For statements that say nothing themselves. The functions set timeouts by their deadlines."""

_KEPT: Mapping[str, frozenset[str]] = {
    "drain": frozenset({"SELECT", "INSERT"}),
    "reader": frozenset({"SELECT"}),
    "sweep": frozenset({"SELECT", "DELETE"}),
}
_OWN_TABLES: Mapping[str, Mapping[str, frozenset[str]]] = {
    "ledger": _KEPT,
    "rejection": _KEPT,
    "made_key": {**_KEPT, "drain": frozenset({"INSERT"})},
    "orphan": {"drain": _KEPT["drain"] | {"UPDATE"}, "sweep": _KEPT["sweep"]},
    "waiting": {
        "drain": _KEPT["drain"] | {"UPDATE", "DELETE"},
        "reader": frozenset({"SELECT"}),
        "sweep": frozenset({"SELECT"}),  # the ledger keeps the messages of what waits
    },
    "alembic_version": {"drain": frozenset({"SELECT"})},
}
_OF_VERSIONS: Mapping[str, frozenset[str]] = {
    "drain": frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"}),
    "reader": frozenset({"SELECT"}),
    "sweep": _KEPT["sweep"],
}
"""What some version may need on a table that is served or our own; anything else none does."""

_BY_HAND = """
    WITH objects (kind, name, acl) AS (
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass::text, relacl
            FROM pg_class WHERE oid <> ALL (%(known)s::oid[])
        UNION ALL SELECT 'ROUTINE', oid::regprocedure::text, proacl FROM pg_proc
        UNION ALL SELECT 'SCHEMA', quote_ident(nspname), nspacl FROM pg_namespace
        UNION ALL SELECT 'TYPE', oid::regtype::text, typacl FROM pg_type),
    held (kind, name, what, grantee) AS (
        SELECT kind, name, privilege_type, grantee FROM objects, aclexplode(acl)
        UNION ALL SELECT 'TABLE', attrelid::regclass::text,
            format('%%s (%%I)', privilege_type, attname), grantee
            FROM pg_attribute, aclexplode(attacl)),
    former (oid) AS (SELECT oid FROM pg_roles WHERE rolname = %(before)s AND rolcanlogin),
    own (oid) AS (SELECT oid FROM pg_roles WHERE rolname = %(own)s)
    SELECT format('GRANT %%s ON %%s %%s TO %%I', string_agg(what, ', ' ORDER BY what), kind, name,
        %(own)s)
    FROM held AS a JOIN former ON grantee = former.oid WHERE NOT EXISTS (
        SELECT FROM held AS b JOIN own ON b.grantee = own.oid
        WHERE (b.kind, b.name, b.what) = (a.kind, a.name, a.what))
    GROUP BY kind, name
    UNION ALL SELECT format('ALTER POLICY %%I ON %%s TO %%s, %%I', polname, polrelid::regclass,
        (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles WHERE oid = ANY (polroles)),
        %(own)s)
    FROM pg_policy JOIN former ON former.oid = ANY (polroles)
    WHERE NOT EXISTS (SELECT FROM own WHERE own.oid = ANY (polroles))
    ORDER BY 1
"""
"""What gives a role what others gave to the one before it, on what is not the models'."""

_CHANGING = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES")


def role_url(owner_url: str, kind: str, password: str | None, turn: int = 0) -> str:
    """The URL of a kind's role in the owner's database. password: None where tokens are used.
    turn: which of its two names it has.

    Raises NotConfigured.
    """
    database = url_parts(owner_url).get("dbname")
    if not database:
        raise NotConfigured("the database URL names no database, after which the roles are called")
    name = role_names(database, kind)[turn]
    if not owner_url.startswith(("postgresql://", "postgres://")):
        if password is None:
            return str(make_dsn(**{**url_parts(owner_url), "user": name, "password": None}))
        return str(make_dsn(owner_url, user=name, password=password))
    split = urlsplit(owner_url)
    secret = "" if password is None else f":{quote(password, safe='')}"
    place = split.netloc.rpartition("@")[2]
    query = [(key, value) for key, value in parse_qsl(split.query, keep_blank_values=True)]
    kept = urlencode([(k, v) for k, v in query if k not in ("user", "password")], quote_via=quote)
    return split._replace(netloc=f"{quote(name, safe='')}{secret}@{place}", query=kept).geturl()


def ensure(
    connection: Connection,
    roles: Sequence[RoleSettings],
    resources: Iterable[Resource],
    metadatas: Iterable[MetaData],
    tokens: bool = False,
    *,
    revoke: bool = False,
    new_passwords: bool = False,
) -> dict[str, list[str]]:
    """Make the roles, or alter them to fit, in one transaction.

    connection: of the owner, outside of a transaction and not in autocommit. tokens: a role whose
    URL has no password logs in with RDS' tokens. revoke: no other version runs, nor has anything
    queued. new_passwords: how a role logs in may change, whoever is locked out.
    Returns {"roles": [names], "changes": [statements, without passwords], "later": [statements that
    take back what another version may still need; `revoke` runs them], "warnings": [what others
    have granted that the roles should not have]}. Raises MigrationRefused and NotConfigured; then
    nothing is changed.
    """
    if not roles:
        return {"roles": [], "changes": [], "later": [], "warnings": []}
    wanted = [_wanted(role, tokens) for role in roles]
    try:
        with connection, connection.cursor() as cursor:
            work = _Work(connection, cursor, revoke, new_passwords)
            tables = _tables(work, resources, metadatas)
            for role in wanted:
                _check(work, role, wanted)
                _make(work, role)
                _set(work, role)
                _grant(work, role, tables)
                _inherit(work, role, tables)
                _look_back(work, role, tables)
                _retire(work, role, tables)
    except errors.InsufficientPrivilege as error:
        raise MigrationRefused(
            "the role of DECANTER_DATABASE_URL may not make or alter the roles of the functions:"
            f" {error.diag.message_primary}. It needs CREATEROLE, the admin option on roles that"
            " were made by others, and the ownership of the tables. Or leave DECANTER_DRAIN_URL,"
            " DECANTER_READER_URL and DECANTER_SWEEP_URL out, and no role is made."
        ) from error
    return {
        "roles": [role.name for role in wanted],
        "changes": work.changes,
        "later": work.later,
        "warnings": work.warnings,
    }


@dataclass(frozen=True)
class _Wanted:
    """A role as it has to be. url: it logs in with; password: None: with tokens."""

    kind: str
    name: str
    password: str | None
    database: str | None
    connections: int
    url: str

    @property
    def before(self) -> str | None:
        """The role that a version before may log in with, if it has another one."""
        names = role_names(self.database or "", self.kind)
        return names[1 - names.index(self.name)] if self.name in names else None


@dataclass(frozen=True)
class _Tables:
    """The tables that rights are given on, by what they are to the functions; OIDs."""

    changed: tuple[int, ...]
    added_to: tuple[int, ...]
    looked_at: tuple[int, ...]
    sequences: tuple[str, ...]

    @property
    def served(self) -> tuple[int, ...]:
        return (*self.changed, *self.added_to)

    def rights(self, kind: str) -> dict[int, frozenset[str]]:
        """What the role of a kind may do with each table."""
        reads = frozenset({"SELECT"})
        if kind == "sweep":
            return {}
        if kind == "reader":
            return {
                **dict.fromkeys(self.looked_at, frozenset[str]()),
                **dict.fromkeys(self.served, reads),
            }
        return {
            **dict.fromkeys(self.looked_at, reads),
            **dict.fromkeys(self.added_to, reads | {"INSERT"}),
            **dict.fromkeys(self.changed, reads | {"INSERT", "UPDATE", "DELETE"}),
        }


class _Work:
    """The owner's transaction, what it has changed so far, and what it has left for later."""

    def __init__(
        self, connection: Connection, cursor: Any, revoke: bool, new_passwords: bool
    ) -> None:
        self.connection = connection
        self.cursor = cursor
        self.revoke = revoke
        self.new_passwords = new_passwords
        self.changes: list[str] = []
        self.later: list[str] = []
        self.warnings: list[str] = []

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        self.cursor.execute(sql, values)
        return list(self.cursor.fetchall())

    def value(self, sql: str, *values: Any) -> Any:
        rows = self.rows(sql, *values)
        return rows[0][0] if rows else None

    def change(self, sql: str) -> None:
        self.cursor.execute(sql)
        self.changes.append(sql)

    def attempt(self, sql: str) -> None:
        """Change something that may not be ours to change."""
        self.cursor.execute("SAVEPOINT attempt")
        try:
            self.change(sql)
        except errors.InsufficientPrivilege:
            self.cursor.execute("ROLLBACK TO SAVEPOINT attempt")

    def take_back(self, sql: str) -> None:
        """Something that another version may still need."""
        if self.revoke:
            self.change(sql)
        else:
            self.later.append(sql)

    def quoted(self, name: str) -> str:
        return str(_quote_ident(name, self.connection))


def _wanted(role: RoleSettings, tokens: bool) -> _Wanted:
    variable = f"DECANTER_{role.kind.upper()}_URL"
    parts = url_parts(role.url)
    name, password = parts.get("user"), parts.get("password")
    if not name:
        raise NotConfigured(f"{variable} names no user, and so no role to make")
    if not password and not tokens:
        raise NotConfigured(
            f"{variable} has no password. Give it one (`python -m decanter secrets` does), or set"
            " DECANTER_DATABASE_IAM=1 for tokens of RDS"
        )
    return _Wanted(role.kind, name, password, parts.get("dbname"), role.connections, role.url)


def _tables(work: _Work, resources: Iterable[Resource], metadatas: Iterable[MetaData]) -> _Tables:
    """Tables that are not there have no rights; whether they may be missing is not asked here."""
    served = {resource.table: resource for resource in resources}
    all_tables = [table for metadata in metadatas for table in metadata.tables.values()]
    changed = [table for table, resource in served.items() if resource.ordered]
    added_to = [table for table, resource in served.items() if not resource.ordered]
    # A foreign key is looked up in its parent's table, served or not.
    looked_at = [table for table in all_tables if table not in served]
    oids = _oids(work, served)
    return _Tables(
        _oids(work, changed),
        _oids(work, added_to),
        _oids(work, looked_at),
        (*_sequences_of(work, oids), *_sequences_named(work, served)),
    )


def _oids(work: _Work, tables: Iterable[Table]) -> tuple[int, ...]:
    found = [work.value("SELECT to_regclass(%s)::oid", plain_name(table)) for table in tables]
    return tuple(oid for oid in found if oid is not None)


def _sequences_of(work: _Work, oids: Sequence[int]) -> list[str]:
    """Sequences that defaults of these tables take numbers from; not those of identity columns,
    which need no right."""
    rows = work.rows(
        """
        SELECT DISTINCT pg_class.oid::regclass::text FROM pg_depend
        JOIN pg_attrdef ON classid = 'pg_attrdef'::regclass AND objid = pg_attrdef.oid
        JOIN pg_class ON refclassid = 'pg_class'::regclass AND refobjid = pg_class.oid
        WHERE adrelid = ANY (%s::oid[]) AND relkind = 'S' ORDER BY 1
        """,
        list(oids),
    )
    return [name for (name,) in rows]


def _sequences_named(work: _Work, tables: Iterable[Table]) -> list[str]:
    """Sequences that the models name, and the pour asks for the next number."""
    named = [
        DIALECT.identifier_preparer.format_sequence(column.default)
        for table in tables
        for column in table.columns
        if isinstance(column.default, SqlSequence)
    ]
    found = [work.value("SELECT to_regclass(%s)::text", name) for name in named]
    return [name for name in found if name is not None]


def _check(work: _Work, role: _Wanted, all_roles: Sequence[_Wanted]) -> None:
    """Raises MigrationRefused for a role that is not for this alone."""
    where = f"the role {role.name} of DECANTER_{role.kind.upper()}_URL"
    cure = "Name another role, one that is used for nothing else; it is made if it is not there."
    database = work.value("SELECT current_database()")
    if role.database != database:
        raise MigrationRefused(
            f"{where} is for the database {role.database}, the owner's URL for {database}."
            " All URLs have to name the same database."
        )
    if [each.name for each in all_roles].count(role.name) > 1:
        raise MigrationRefused(f"{where} is another kind's as well. {cure}")
    if work.value("SELECT %s IN (current_user, session_user)", role.name):
        raise MigrationRefused(f"{where} is the owner's own. {cure}")
    others = work.value(
        """
        SELECT string_agg(datname, ', ' ORDER BY datname) FROM pg_database, aclexplode(datacl)
        JOIN pg_roles ON pg_roles.oid = grantee
        WHERE rolname = %s AND datname <> current_database()
        """,
        role.name,
    )
    if others:
        raise MigrationRefused(f"{where} is one that the database {others} uses as well. {cure}")
    powers = work.value(
        """
        SELECT concat_ws(', ', CASE WHEN rolsuper THEN 'SUPERUSER' END,
            CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
            CASE WHEN rolcreatedb THEN 'CREATEDB' END,
            CASE WHEN rolreplication THEN 'REPLICATION' END,
            CASE WHEN rolbypassrls THEN 'BYPASSRLS' END)
        FROM pg_roles WHERE rolname = %s
        """,
        role.name,
    )
    if powers:
        raise MigrationRefused(f"{where} has {powers}. {cure}")
    of_others = work.rows(
        """
        SELECT quote_ident(above.rolname) FROM pg_auth_members
        JOIN pg_roles AS own ON own.oid = member JOIN pg_roles AS above ON above.oid = roleid
        WHERE own.rolname = %s AND above.rolname <> %s ORDER BY 1
        """,
        role.name,
        _TOKENS_ROLE,
    )
    if of_others:
        names = ", ".join(name for (name,) in of_others)
        raise MigrationRefused(f"{where} is a member of {names}, and has its rights. {cure}")
    owned = work.value(
        """
        SELECT count(*) FROM pg_shdepend JOIN pg_roles ON pg_roles.oid = refobjid
        WHERE refclassid = 'pg_authid'::regclass AND deptype = 'o' AND rolname = %s
        """,
        role.name,
    )
    if owned:
        raise MigrationRefused(f"{where} owns {owned} objects, which it may alter. {cure}")


def _make(work: _Work, role: _Wanted) -> None:
    """Role, password and most connections."""
    name = work.quoted(role.name)
    row = work.rows(
        "SELECT rolcanlogin AND coalesce(rolvaliduntil > now(), true), rolconnlimit"
        " FROM pg_roles WHERE rolname = %s",
        role.name,
    )
    limit = f"CONNECTION LIMIT {role.connections}"
    can_login, most = row[0] if row else (False, role.connections)
    if not row:
        work.change(f"CREATE ROLE {name} LOGIN {limit}")
    elif not can_login:
        work.change(f"ALTER ROLE {name} LOGIN VALID UNTIL 'infinity'")
    if 0 <= most < role.connections:
        work.change(f"ALTER ROLE {name} {limit}")
    elif most != role.connections:
        work.take_back(f"ALTER ROLE {name} {limit}")
    if can_login and not (why := _locked_out(work, role)):
        return
    if can_login and not work.new_passwords:
        raise MigrationRefused(
            f"the role {role.name} of DECANTER_{role.kind.upper()}_URL {why}. To change how it logs"
            " in would lock out the version that runs. Put the former URL back; or have"
            " `python -m decanter secrets --rotate` name another role, beside which this one stays"
            " until the new version serves. If another stage uses this database, name roles of its"
            " own in the secrets of this one. If nothing runs with this role that has to go on, as"
            " after a database was restored: `python -m decanter migrate --new-passwords`."
        )
    verifier = "NULL"
    if role.password is not None:
        scram = encrypt_password(
            role.password, role.name, scope=work.connection, algorithm="scram-sha-256"
        )
        verifier = f"'{scram}'"
    work.cursor.execute(f"ALTER ROLE {name} PASSWORD {verifier}")
    if _has_tokens(work, role.name) is None:
        return
    if role.password is None and not _has_tokens(work, role.name):
        work.change(f"GRANT {_TOKENS_ROLE} TO {name}")
    elif role.password is not None and _has_tokens(work, role.name):
        work.change(f"REVOKE {_TOKENS_ROLE} FROM {name}")


def _has_tokens(work: _Work, name: str) -> bool | None:
    """Whether a role logs in with tokens of RDS; None: this server knows none."""
    if work.value("SELECT to_regrole(%s) IS NULL", _TOKENS_ROLE):
        return None
    return bool(work.value("SELECT pg_has_role(%s, %s, 'MEMBER')", name, _TOKENS_ROLE))


def _locked_out(work: _Work, role: _Wanted) -> str:
    """Why a role that is there cannot log in as its URL says; empty if it can."""
    has_tokens = _has_tokens(work, role.name)
    if role.password is None:
        return "logs in with a password" if has_tokens is False else ""
    if has_tokens:
        return "logs in with tokens of RDS"
    try:
        session.connected(role.url, "decanter migrate", connect_timeout=_LOGIN_SECONDS).close()
    except psycopg2.OperationalError:
        return "cannot log in with that password (or all of its connections are in use)"
    return ""


def _set(work: _Work, role: _Wanted) -> None:
    """Timeouts, and the owner's way of finding tables: names without a schema mean the same."""
    path = work.value(
        "SELECT string_agg(quote_ident(name), ', ' ORDER BY place)"
        " FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, place)"
    )
    present = work.value(
        "SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = 0"
        " AND setrole = (SELECT oid FROM pg_roles WHERE rolname = %s)",
        role.name,
    )
    # A path of schemas that are not there (yet) is left to the database.
    found = {"search_path": path} if path else {}
    for name, value in {**found, **_SETTINGS[role.kind]}.items():
        if f"{name}={value}" not in (present or ()):
            told = value if name == "search_path" else f"'{value}'"
            work.change(f"ALTER ROLE {work.quoted(role.name)} SET {name} TO {told}")


def _grant(work: _Work, role: _Wanted, tables: _Tables) -> None:
    to = f"TO {work.quoted(role.name)}"
    if not _connects(work, role.name):
        database = work.quoted(work.value("SELECT current_database()"))
        work.change(f"GRANT CONNECT ON DATABASE {database} {to}")
    rights = tables.rights(role.kind)
    for schema in _schemas(work, [oid for oid, wanted in rights.items() if wanted]):
        catalog = "pg_namespace, aclexplode(nspacl)"
        if not _has(work, role.name, "USAGE", catalog, "nspname", schema):
            work.change(f"GRANT USAGE ON SCHEMA {work.quoted(schema)} {to}")
    for table, by_kind in _OWN_TABLES.items():
        oid = work.value("SELECT %s::regclass::oid", f"decanter.{table}")
        _grant_exactly(work, role, oid, by_kind.get(role.kind, frozenset()))
    for oid, wanted in rights.items():
        _grant_exactly(work, role, oid, wanted)
    if role.kind != "drain":
        return
    for name in dict.fromkeys(tables.sequences):
        if not work.value("SELECT has_sequence_privilege(%s, %s, 'USAGE')", role.name, name):
            work.change(f"GRANT USAGE ON SEQUENCE {name} {to}")
    for name in _functions(work, role, tables.served):
        work.change(f"GRANT EXECUTE ON FUNCTION {name} {to}")


def _connects(work: _Work, role: str) -> bool:
    database = work.value("SELECT current_database()")
    return _has(work, role, "CONNECT", "pg_database, aclexplode(datacl)", "datname", database)


def _has(work: _Work, role: str, right: str, catalog: str, named: str, name: str) -> bool:
    """Whether the role has the right itself, and not by being one of all."""
    return bool(
        work.value(
            f"SELECT true FROM {catalog} JOIN pg_roles ON pg_roles.oid = grantee"  # noqa: S608
            f" WHERE rolname = %s AND privilege_type = %s AND {named} = %s",
            role,
            right,
            name,
        )
    )


def _schemas(work: _Work, oids: Sequence[int]) -> list[str]:
    """Those that tables and the types of their columns are in, where names are looked up, ours."""
    rows = work.rows(
        """
        SELECT 'decanter' UNION SELECT unnest(current_schemas(false))::text
        UNION SELECT nspname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
            WHERE pg_class.oid = ANY (%s::oid[])
        UNION SELECT nspname::text FROM pg_attribute
            JOIN pg_type t ON t.oid = atttypid LEFT JOIN pg_type item ON item.oid = t.typelem
            LEFT JOIN pg_collation c ON c.oid = attcollation
            JOIN pg_namespace n ON n.oid IN (t.typnamespace, item.typnamespace, collnamespace)
            WHERE attrelid = ANY (%s::oid[]) AND attnum > 0 AND nspname <> 'pg_catalog'
        ORDER BY 1
        """,
        list(oids),
        list(oids),
    )
    return [name for (name,) in rows]


def _grant_exactly(work: _Work, role: _Wanted, oid: int, wanted: frozenset[str]) -> None:
    table, name = work.value("SELECT %s::regclass::text", oid), work.quoted(role.name)
    present = _held(work, role.name, oid)
    # What the version before has queued is poured by this one, under a role that may be new.
    inherited = set() if work.revoke or not role.before else _held(work, role.before, oid)
    needed = wanted | (inherited & _OF_VERSIONS[role.kind])
    if missing := sorted(needed - present):
        work.change(f"GRANT {', '.join(missing)} ON {table} TO {name}")
    if excess := sorted(present - needed - _OF_VERSIONS[role.kind]):
        work.change(f"REVOKE {', '.join(excess)} ON {table} FROM {name}")
    if passing := sorted(((present | needed) & _OF_VERSIONS[role.kind]) - wanted):
        work.take_back(f"REVOKE {', '.join(passing)} ON {table} FROM {name}")


def _inherit(work: _Work, role: _Wanted, tables: _Tables) -> None:
    """What was granted by hand to the role of the version before, which is to be replaced."""
    if role.before is None:
        return
    known = [*_own_oids(work), *tables.rights(role.kind)]
    named = {"before": role.before, "own": role.name, "known": known}
    work.cursor.execute(_BY_HAND, named)
    for (sql,) in work.cursor.fetchall():
        work.attempt(sql)
    # A GRANT of one who may not grant is no more than a warning.
    work.cursor.execute(_BY_HAND, named)
    work.warnings += [
        f"{role.before} has a right that the role of DECANTER_DATABASE_URL may not give to"
        f" {role.name}: have the one who gave it run {sql}"
        for (sql,) in work.cursor.fetchall()
    ]


def _own_oids(work: _Work) -> list[int]:
    return [work.value("SELECT %s::regclass::oid", f"decanter.{table}") for table in _OWN_TABLES]


def _held(work: _Work, name: str, oid: int) -> set[str]:
    """The rights on a table that a role has itself, and not by being one of all."""
    rows = work.rows(
        "SELECT privilege_type FROM pg_class, aclexplode(relacl)"
        " JOIN pg_roles ON pg_roles.oid = grantee WHERE pg_class.oid = %s AND rolname = %s",
        oid,
        name,
    )
    return {right for (right,) in rows}


def _retire(work: _Work, role: _Wanted, tables: _Tables) -> None:
    """The role of the version before, which had another password."""
    before = role.before
    can_login = "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s"
    if before is None or not work.value(can_login, before) or not _connects(work, before):
        return  # or it is another database's, whose name begins as this one's
    name = work.quoted(before)
    work.take_back(f"ALTER ROLE {name} NOLOGIN PASSWORD NULL")
    if _has_tokens(work, before):
        work.take_back(f"REVOKE {_TOKENS_ROLE} FROM {name}")
    for oid in (*_own_oids(work), *tables.rights(role.kind)):
        if held := sorted(_held(work, before, oid)):
            table = work.value("SELECT %s::regclass::text", oid)
            work.take_back(f"REVOKE {', '.join(held)} ON {table} FROM {name}")


def _functions(work: _Work, role: _Wanted, oids: Sequence[int]) -> list[str]:
    """Functions that a row of these tables runs (defaults, checks, indexes, those of domains too),
    and our own, which are not everybody's."""
    work.cursor.execute(
        """
        WITH RECURSIVE types (oid) AS (
            SELECT atttypid FROM pg_attribute
                WHERE attrelid = ANY (%(tables)s::oid[]) AND attnum > 0
            UNION SELECT part FROM types JOIN pg_type USING (oid),
                unnest(ARRAY[typelem, typbasetype]) AS part)
        SELECT pg_proc.oid::regprocedure::text FROM pg_proc
        WHERE (pg_proc.oid IN (
                SELECT refobjid FROM pg_depend WHERE refclassid = 'pg_proc'::regclass
                AND (classid, objid) IN (
                    SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef
                        WHERE adrelid = ANY (%(tables)s::oid[])
                    UNION SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
                        WHERE conrelid = ANY (%(tables)s::oid[])
                            OR contypid IN (SELECT oid FROM types WHERE oid <> 0)
                    UNION SELECT 'pg_type'::regclass, oid FROM types
                    UNION SELECT 'pg_class'::regclass, indexrelid FROM pg_index
                        WHERE indrelid = ANY (%(tables)s::oid[])))
            OR pg_proc.oid IN ('decanter.merge_patch(jsonb, jsonb)'::regprocedure,
                'decanter.readable(jsonb)'::regprocedure))
        AND NOT has_function_privilege(%(role)s, pg_proc.oid, 'EXECUTE') ORDER BY 1
        """,
        {"tables": list(oids), "role": role.name},
    )
    return [name for (name,) in work.cursor.fetchall()]


def _look_back(work: _Work, role: _Wanted, tables: _Tables) -> None:
    """A GRANT of one who may not grant is no more than a warning: ask what came of it. And what
    everybody may do, the role may do."""
    rights = tables.rights(role.kind)
    for oid, wanted in rights.items():
        table = work.value("SELECT %s::regclass::text", oid)
        for right in sorted(wanted):
            if not work.value("SELECT has_table_privilege(%s, %s::oid, %s)", role.name, oid, right):
                raise MigrationRefused(
                    f"the role of DECANTER_DATABASE_URL could not let {role.name} {right} on"
                    f" {table}: it does not own the table. Make it the owner, or grant it by hand."
                )
        own = wanted | _held(work, role.name, oid)
        for right in _CHANGING:
            may = "SELECT has_table_privilege(%s, %s::oid, %s)"
            if right not in own and work.value(may, role.name, oid, right):
                work.warnings.append(
                    f"{role.name} may {right} on {table}, for everybody may: REVOKE {right} ON"
                    f" {table} FROM PUBLIC"
                )
        if wanted and work.value("SELECT relrowsecurity FROM pg_class WHERE oid = %s", oid):
            work.warnings.append(
                f"{table} has row-level security: what no policy allows {role.name} it cannot read"
                " or write"
            )
    for schema in _schemas(work, [oid for oid, wanted in rights.items() if wanted]):
        if work.value("SELECT has_schema_privilege(%s, %s, 'CREATE')", role.name, schema):
            work.warnings.append(
                f"{role.name} may create in schema {schema}, for everybody may:"
                f" REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
            )

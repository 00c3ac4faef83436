"""Roles and their rights, as the catalog has them. All SQL that reads them is here."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from psycopg2.extensions import encrypt_password, quote_ident
from sqlalchemy import Sequence as SqlSequence
from sqlalchemy import Table

from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.resources import DIALECT
from chalicelib.postgres.sql.names import plain_name

TOKENS_ROLE = "rds_iam"  # its members log in with a token, and in no other way

PUT_BACK_HELD = "decanter.put_back_held()"
"""A function that only the sweep calls."""

_BY_HAND = """
    WITH objects (kind, name, acl) AS (
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass::text, relacl
            FROM pg_class WHERE oid <> ALL (%(known)s::oid[])
        UNION ALL SELECT 'ROUTINE', oid::regprocedure::text, proacl FROM pg_proc
            WHERE oid <> 'decanter.put_back_held()'::regprocedure
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

_ROLE = """
    SELECT rolcanlogin, rolcanlogin AND coalesce(rolvaliduntil > now(), true), rolconnlimit,
        coalesce((
            SELECT setconfig FROM pg_db_role_setting
            WHERE setdatabase = 0 AND setrole = role.oid), '{}'),
        rolname IN (current_user, session_user),
        (SELECT string_agg(datname, ', ' ORDER BY datname)
            FROM pg_database, aclexplode(datacl)
            WHERE grantee = role.oid AND datname <> current_database()),
        concat_ws(', ', CASE WHEN rolsuper THEN 'SUPERUSER' END,
            CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
            CASE WHEN rolcreatedb THEN 'CREATEDB' END,
            CASE WHEN rolreplication THEN 'REPLICATION' END,
            CASE WHEN rolbypassrls THEN 'BYPASSRLS' END),
        (SELECT string_agg(quote_ident(above.rolname), ', ' ORDER BY quote_ident(above.rolname))
            FROM pg_auth_members JOIN pg_roles AS above ON above.oid = roleid
            WHERE member = role.oid AND above.rolname <> %s),
        (SELECT count(*) FROM pg_shdepend WHERE refobjid = role.oid
            AND refclassid = 'pg_authid'::regclass AND deptype = 'o')
    FROM pg_roles AS role WHERE rolname = %s
"""

_LIMIT = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"

_LIMITED_ON_WORKERS = """
    SELECT bool_or(success AND result NOT IN ('', '-1')) FROM run_command_on_workers(%s)
"""

_PATH = """
    SELECT string_agg(quote_ident(name), ', ' ORDER BY place)
    FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, place)
"""

_SEQUENCES = """
    SELECT DISTINCT pg_class.oid::regclass::text FROM pg_depend
    JOIN pg_attrdef ON classid = 'pg_attrdef'::regclass AND objid = pg_attrdef.oid
    JOIN pg_class ON refclassid = 'pg_class'::regclass AND refobjid = pg_class.oid
    WHERE adrelid = ANY (%(tables)s::oid[]) AND relkind = 'S'
    UNION SELECT pg_class.oid::regclass::text FROM pg_depend JOIN pg_class ON pg_class.oid = objid
    WHERE classid = 'pg_class'::regclass AND refclassid = classid AND deptype = 'i'
        AND refobjid = ANY (%(tables)s::oid[]) AND relkind = 'S'
    ORDER BY 1
"""

_SCHEMAS = """
    SELECT 'decanter' UNION SELECT unnest(current_schemas(false))::text
    UNION SELECT nspname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
        WHERE pg_class.oid = ANY (%(tables)s::oid[])
    UNION SELECT nspname::text FROM pg_attribute
        JOIN pg_type t ON t.oid = atttypid LEFT JOIN pg_type item ON item.oid = t.typelem
        LEFT JOIN pg_collation c ON c.oid = attcollation
        JOIN pg_namespace n ON n.oid IN (t.typnamespace, item.typnamespace, collnamespace)
        WHERE attrelid = ANY (%(tables)s::oid[]) AND attnum > 0 AND nspname <> 'pg_catalog'
    ORDER BY 1
"""

_LEAVES = """
    SELECT relid::oid FROM pg_partition_tree('decanter.ledger')
    WHERE isleaf AND relid <> 'decanter.ledger_rest'::regclass ORDER BY relid::text
"""

_FUNCTIONS = """
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
"""


_MAPPED = "SELECT arn FROM sys.iam_pg_role_mappings WHERE pg_role_name = %s ORDER BY 1"


class Role(NamedTuple):
    """A role as the catalog has it.

    is_enabled: it may log in; can_login: and has not expired. connections: limit, -1 for none.
    settings: each as name=value. is_current: the connection is this role's. databases: others that
    it has rights on; powers: such as SUPERUSER; member_of: roles whose rights it has, but for that
    of tokens; each separated by commas. owned: number of objects.
    """

    is_enabled: bool
    can_login: bool
    connections: int
    settings: Sequence[str]
    is_current: bool
    databases: str | None
    powers: str
    member_of: str | None
    owned: int


class RoleCatalog:
    """The catalog of roles, tables and rights. Tables are given by their OIDs."""

    def __init__(self, connection: Connection, cursor: Any) -> None:
        self._connection = connection
        self._cursor = cursor

    def _values(self, sql: str, values: Any = ()) -> list[Any]:
        self._cursor.execute(sql, values)
        return [value for (value,) in self._cursor.fetchall()]

    def _value(self, sql: str, *values: Any) -> Any:
        return next(iter(self._values(sql, values)), None)

    def quoted(self, name: str) -> str:
        return str(quote_ident(name, self._connection))

    def verifier(self, role: str, password: str) -> str:
        """The password as Postgres stores it."""
        return encrypt_password(password, role, scope=self._connection, algorithm="scram-sha-256")

    # Of the database and its tables

    def database(self) -> str:
        return str(self._value("SELECT current_database()"))

    def path(self) -> str | None:
        """The effective search path; None if it is empty."""
        found: str | None = self._value(_PATH)
        return found

    def oids(self, tables: Iterable[Table]) -> tuple[int, ...]:
        """The OIDs of existing tables."""
        found = [self._value("SELECT to_regclass(%s)::oid", plain_name(table)) for table in tables]
        return tuple(oid for oid in found if oid is not None)

    def own_oid(self, table: str) -> int:
        """The OID of one of Decanter's tables."""
        return int(self._value("SELECT %s::regclass::oid", f"decanter.{table}"))

    def leaves(self) -> list[int]:
        """The OIDs of the leaves of the ledger."""
        return self._values(_LEAVES)

    def table(self, oid: int) -> str:
        """The table's name in SQL."""
        return str(self._value("SELECT %s::regclass::text", oid))

    def has_policies(self, oid: int) -> bool:
        """Whether the table has row-level security."""
        return bool(self._value("SELECT relrowsecurity FROM pg_class WHERE oid = %s", oid))

    def sequences(self, tables: Iterable[Table]) -> list[str]:
        """The sequences of the tables' defaults and identity columns, in the database and in the
        models. An INSERT needs no right on that of an identity, a COPY takes numbers of it."""
        tables = list(tables)
        named = [
            DIALECT.identifier_preparer.format_sequence(column.default)
            for table in tables
            for column in table.columns
            if isinstance(column.default, SqlSequence)
        ]
        found = [self._value("SELECT to_regclass(%s)::text", name) for name in named]
        of_defaults = self._values(_SEQUENCES, {"tables": [*self.oids(tables)]})
        return list(dict.fromkeys([*of_defaults, *filter(None, found)]))

    def schemas(self, tables: Iterable[int]) -> list[str]:
        """The schemas of tables and of their columns' types, of the search path, and Decanter's."""
        return self._values(_SCHEMAS, {"tables": list(tables)})

    def functions(self, role: str, tables: Iterable[int]) -> list[str]:
        """Functions that the role may not execute, but rows of these tables run (in defaults,
        checks, indexes and domains), or Decanter does."""
        return self._values(_FUNCTIONS, {"tables": list(tables), "role": role})

    # Of a role

    def role(self, name: str) -> Role | None:
        """The role of that name, None if it does not exist."""
        self._cursor.execute(_ROLE, (TOKENS_ROLE, name))
        found = self._cursor.fetchone()
        return Role(*found) if found else None

    def exists(self, name: str) -> bool:
        return bool(self._value("SELECT true FROM pg_roles WHERE rolname = %s", name))

    def is_limited_on_workers(self, name: str) -> bool:
        """Whether a worker of the cluster limits the connections of a role."""
        asked = self._cursor.mogrify(_LIMIT, (name,)).decode()
        return bool(self._value(_LIMITED_ON_WORKERS, asked))

    def is_current(self, name: str) -> bool:
        """Whether the connection is this role's."""
        return bool(self._value("SELECT current_user = %s", name))

    def mapped(self, name: str) -> list[str]:
        """ARNs of the roles of IAM that may log in as this one, on an engine that maps them."""
        return [str(arn) for arn in self._values(_MAPPED, (name,))]

    def has_tokens(self, role: str) -> bool | None:
        """Whether the role logs in with tokens of RDS; None if the server knows none."""
        if self._value("SELECT to_regrole(%s) IS NULL", TOKENS_ROLE):
            return None
        return bool(self._value("SELECT pg_has_role(%s, %s, 'MEMBER')", role, TOKENS_ROLE))

    # Of its rights. It holds rights that were granted to itself, and not to PUBLIC.

    def connects(self, role: str) -> bool:
        catalog = "pg_database, aclexplode(datacl)"
        return self._holds(role, "CONNECT", catalog, "datname", self.database())

    def uses_schema(self, role: str, schema: str) -> bool:
        return self._holds(role, "USAGE", "pg_namespace, aclexplode(nspacl)", "nspname", schema)

    def _holds(self, role: str, right: str, catalog: str, named: str, name: str) -> bool:
        return bool(
            self._value(
                f"SELECT true FROM {catalog} JOIN pg_roles ON pg_roles.oid = grantee"  # noqa: S608
                f" WHERE rolname = %s AND privilege_type = %s AND {named} = %s",
                role,
                right,
                name,
            )
        )

    def held(self, role: str, oid: int) -> set[str]:
        """The role's rights on a table."""
        sql = (
            "SELECT privilege_type FROM pg_class, aclexplode(relacl)"
            " JOIN pg_roles ON pg_roles.oid = grantee WHERE pg_class.oid = %s AND rolname = %s"
        )
        return {*self._values(sql, (oid, role))}

    def may(self, role: str, right: str, oid: int) -> bool:
        """Whether the role has a right on a table, granted to anybody."""
        return bool(self._value("SELECT has_table_privilege(%s, %s::oid, %s)", role, oid, right))

    def may_put_back(self, role: str) -> bool:
        """Whether the role may undo new leaves of the ledger."""
        return bool(
            self._value("SELECT has_function_privilege(%s, %s, 'EXECUTE')", role, PUT_BACK_HELD)
        )

    def may_use_sequence(self, role: str, name: str) -> bool:
        return bool(self._value("SELECT has_sequence_privilege(%s, %s, 'USAGE')", role, name))

    def may_create_in(self, role: str, schema: str) -> bool:
        return bool(self._value("SELECT has_schema_privilege(%s, %s, 'CREATE')", role, schema))

    def given_by_hand(self, before: str, own: str, known: Iterable[int]) -> list[str]:
        """Statements that grant to a role what others granted to its predecessor, on anything but
        the known tables."""
        return self._values(_BY_HAND, {"before": before, "own": own, "known": list(known)})

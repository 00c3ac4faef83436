"""The SQL that writes to the user's tables: a statement for each resource, op and list of members.

Rows are bound as one JSON text, which `json_to_recordset` turns into typed columns: no value ever
becomes part of a statement. Names and types come from the models.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import JSON, Column, Integer

from chalicelib.messages.message import ANY_ROW, Condition
from chalicelib.ops import OPS, Op
from chalicelib.postgres.engine import Engine
from chalicelib.postgres.made_keys import INSERT
from chalicelib.postgres.resources import (
    DISTRIBUTED_BY,
    ResourceTable,
    base_type,
    constant,
    is_generated,
    json_value,
    recordset_type,
    sql_of,
)
from chalicelib.postgres.sql.names import (
    PLACE,
    column_name,
    escaped,
    exists,
    plain_name,
    quoted,
    recordset,
    same_key,
    sent_rows,
    table_name,
    typed,
)
from chalicelib.postgres.sql.queries import etag
from chalicelib.postgres.sql.sequences import made_value

Makers = tuple[tuple[str, Callable[[Any], Any]], ...]

# Names that no table or column of the user's has: the rows sent; the number of each among those
# with its key; the rows that a statement has written.
SENT = '"decanter:sent"'
NTH = '"decanter:nth"'
_DONE = '"decanter:done"'
# Likewise: the key of a row, how many rows have the same part of it, and the rows in their order.
_KEY = '"decanter:key"'
_OF = '"decanter:of"'
_IN_ORDER = '"decanter:in_order"'

KEPT = 1_000
"""Size of a cache. Clients choose the members, and 20 columns have a million combinations."""

_CHANGE = """
    WITH {sent} AS MATERIALIZED (SELECT * FROM {rows}),
    "decanter:done" AS ({change} WHERE {on_key} RETURNING sent.{place})
    SELECT {begin}ARRAY(
        SELECT ({answer})::int FROM {sent} AS sent
        WHERE {place} NOT IN (SELECT {place} FROM "decanter:done") ORDER BY {place}){end}
"""
_NOTING = "set_config(%(note)s, ", "::text, true)"

TRIGGERED = """
    SELECT name, is_triggered, is_silent
    FROM unnest(%s::text[]) AS name, parse_ident(name) AS parts,
        to_regclass(CASE WHEN cardinality(parts) = 1 OR EXISTS (
            SELECT FROM pg_namespace
            WHERE nspname = parts[1] AND has_schema_privilege(oid, 'USAGE')) THEN name END) AS id,
        LATERAL (SELECT
            EXISTS (
                SELECT FROM pg_trigger
                WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgtype & 3 = 3
                    AND (tgrelid = id OR tgrelid IN (SELECT relid FROM pg_partition_tree(id)))),
            row_security_active(id::oid) OR NOT has_table_privilege(id::oid, 'SELECT')
                OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = id AND ev_type = '3')
        ) AS found (is_triggered, is_silent)
    WHERE is_triggered OR is_silent
"""
"""Traits of the tables with these names: whether one has a trigger BEFORE … FOR EACH ROW, which may
leave a row out or unchanged without an error; and whether Postgres might refuse to return the keys
of an insert because of a policy, a rule or a missing right. Tables in a schema that the role may
not use are left out: to_regclass would fail for all."""

NOTED = """
    SELECT current_setting('decanter.note_' || note)::int[]
    FROM generate_series(0, %s - 1) AS note ORDER BY note
"""
"""The answers of the first so many answering statements of this transaction, in one round trip
instead of one each."""

_CONDITIONS = 'json_to_recordset(%(conditions)s::json) AS ("match" text[], "none" text[])'
_NAMES = '"decanter:match", "decanter:none"'
_ANY_ROW = f"'{{{ANY_ROW[0]}}}'"
# NULL means no such condition; for the ETag, no such row.
_HOLDS = f"""
    ("decanter:match" IS NULL OR "decanter:etag" IS NOT NULL
        AND ("decanter:match" = {_ANY_ROW} OR "decanter:etag" = ANY ("decanter:match")))
    AND ("decanter:none" IS NULL OR "decanter:etag" IS NULL
        OR NOT ("decanter:none" = {_ANY_ROW} OR "decanter:etag" = ANY ("decanter:none")))
"""
# Where a message has more rows than conditions, no row must slip in under another's.
_UNASKED = 'coalesce("decanter:match", "decanter:none") IS NULL'


@dataclass(frozen=True)
class Statement:
    """One statement, with psycopg2's parameters.

    answers: it returns an array of the places, from 0, of rows whose key is not in the table.
    noting: of one that answers: the same, but it notes its answer for the rest of the transaction,
        see NOTED.
    returning_keys: for an insert whose rows may get keys that were not sent: the same statement,
        returning an array of the keys of the written rows in the order of their places, null where
        a key is unknown. There are fewer if a trigger has left rows out.
    storing_keys: the same, storing the keys, see `made_keys`; refused if there are fewer.
    is_named: the rows name their key; only keys that a trigger has changed are returned or stored.
    takes_keys: values of the key that were not sent are made before the insert, not by it. It knows
        nothing of what a trigger changes.
    ignores: existing rows stay as they are. Nobody knows which others a trigger leaves out: written
        rows are recognized by the sent part of the key, which a trigger might change.
    distinguishing, noting_distinguishing: for a statement that answers, and tables with triggers:
        the same, but for an existing row that was left unchanged the answer is -1 less its place.
    checks_conditions: it changes nothing, and returns the places of rows that do not meet their
        conditions.
    each, once: columns whose value the model makes in Python, for each row or for the statement.
    touched: likewise, for existing rows that are changed: the texts to bind, and their names.
    """

    sql: str
    answers: bool = False
    returning_keys: str = ""
    storing_keys: str = ""
    is_named: bool = False
    takes_keys: bool = False
    ignores: bool = False
    distinguishing: str = ""
    noting: str = ""
    noting_distinguishing: str = ""
    checks_conditions: bool = False
    each: Makers = ()
    once: Makers = ()
    touched: Makers = ()

    @property
    def counting(self) -> str:
        """The insert, returning how many rows it has written."""
        return f"{self._done} SELECT count(*)::int FROM {_DONE}"

    @property
    def checked(self) -> str:
        """The insert for a table with triggers: refused if a trigger leaves out one of its rows."""
        return f"{self._done} SELECT 1 / (count(*) = %(count)s)::int FROM {_DONE}"

    @property
    def _done(self) -> str:
        return f"WITH {_DONE} AS ({self.sql} RETURNING 1)"

    def bound(
        self, rows: str, count: int, conditions: Sequence[Condition | None] = (), note: int = 0
    ) -> dict[str, Any]:
        """Values for a JSON array of `count` rows, and their conditions if these are checked.

        note: the number of this answer in the transaction.
        """
        bound: dict[str, Any] = {"rows": rows}
        if self.answers:
            bound["note"] = f"decanter.note_{note}"
        else:
            bound["count"] = count
        if self.each:
            bound["each"] = _json([_made(self.each) for _ in range(count)])
        if self.once:
            bound["once"] = _json(_made(self.once))
        bound |= {name: make(None) for name, make in self.touched}
        if self.checks_conditions:
            pairs = [each or (None, None) for each in conditions]
            bound["conditions"] = _json([{"match": match, "none": none} for match, none in pairs])
        return bound


@lru_cache(maxsize=KEPT)
def statement(resource: ResourceTable, op: Op, members: tuple[str, ...]) -> Statement:
    """The statement for rows with these members. Raises KeyError for an unknown one."""
    sent = columns_of(resource, members)
    if OPS[op].removes:
        return _delete(resource, sent)
    if OPS[op].partial:
        return _merge(resource, sent)
    return _insert(resource, sent, in_effect(resource, op, sent))


@lru_cache(maxsize=KEPT)
def overwritable(resource: ResourceTable, members: tuple[str, ...]) -> str:
    """A query for whether %(rows)s may be dropped because later ones, %(later)s, overwrite them:
    all their keys are there, and nothing could refuse one of them, or react to it."""
    sent = columns_of(resource, members)
    if not {*resource.key} <= {*sent}:
        return "SELECT false"
    nulls = " OR ".join(f"sent.{column_name(c)} IS NULL" for c in sent if not c.nullable)
    later = recordset("later", resource.key).replace(" AS (", " AS target (", 1)
    return f"""
        SELECT NOT EXISTS (SELECT FROM {sent_rows(sent)} WHERE {nulls} OR NOT EXISTS (
                SELECT FROM {later} WHERE {same_key(resource)}))
            AND relkind = 'r' AND NOT relrowsecurity AND NOT relhasrules
            AND NOT EXISTS (
                SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND NOT tgisinternal)
            AND NOT EXISTS (
                SELECT FROM pg_constraint
                WHERE conrelid = pg_class.oid AND contype IN ('c', 'f', 'u', 'x'))
            AND NOT EXISTS (
                SELECT FROM pg_index WHERE indrelid = pg_class.oid AND NOT indisprimary
                    AND (indisunique OR indexprs IS NOT NULL OR indpred IS NOT NULL))
            AND NOT EXISTS (
                SELECT FROM pg_attribute
                WHERE attrelid = pg_class.oid AND attgenerated <> '' AND NOT attisdropped)
        FROM pg_class WHERE oid = to_regclass({quoted(plain_name(resource.table))})
    """


@cache
def condition_check(resource: ResourceTable, op: Op, engine: Engine) -> Statement:
    """The statement for which rows do not meet their conditions. It reads only the keys of sent
    rows, and locks the rows of the table until the transaction ends: where a query cannot, an
    update does, which changes nothing."""
    lock = OPS[op].lock if engine.weak_row_locks else "UPDATE"
    names = ", ".join([*map(column_name, resource.key), _NAMES, PLACE])
    table, on = f"{table_name(resource.table)} AS target", same_key(resource)
    made = f'{etag(resource)} AS "decanter:etag"'
    # Most of all one of the key, which nobody changes; generated ones cannot be set to their value.
    settable = [c for c in (*resource.key, *resource.writable) if not is_generated(c)]
    done, found = "", f"{table} JOIN {SENT} AS sent ON {on}"
    if engine.row_locks:
        found += f" FOR {lock} OF target"
    elif settable:  # else rows never change
        same = column_name(settable[0])
        columns = ", ".join(f"target.{column_name(column)}" for column in resource.table.columns)
        update = f"UPDATE {table} SET {same} = target.{same} FROM {SENT} AS sent WHERE {on}"
        done = f"{_DONE} AS ({update} RETURNING sent.{PLACE}, {columns}),"
        found = f"{_DONE} AS target"
    return Statement(
        f"""
        WITH {SENT} AS MATERIALIZED (
            SELECT * FROM ROWS FROM ({recordset("rows", resource.key)}, {_CONDITIONS})
                WITH ORDINALITY AS sent ({names})),
        {done} "decanter:found" AS MATERIALIZED (SELECT {PLACE}, {made} FROM {found})
        SELECT ARRAY(
            SELECT ({PLACE} - 1)::int
            FROM {SENT} LEFT JOIN "decanter:found" USING ({PLACE})
            WHERE {_UNASKED} OR NOT ({_HOLDS}) ORDER BY {PLACE})
        """,
        checks_conditions=True,
    )


def _delete(resource: ResourceTable, sent: Sequence[Column[Any]]) -> Statement:
    return _change(
        resource, sent, f"DELETE FROM {table_name(resource.table)} AS target USING {SENT} AS sent"
    )


def _merge(resource: ResourceTable, sent: Sequence[Column[Any]]) -> Statement:
    touched = [c for c in resource.table.columns if c.onupdate is not None and c not in {*sent}]
    computed = {c: c.onupdate for c in touched if _is_sql(c.onupdate)}
    once = [c for c in touched if c not in computed]
    changes = {c: _patched(c) for c in sent if not c.primary_key}
    changes |= {c: _sql(default) for c, default in computed.items()}
    changes |= {c: f"sent.{column_name(c)}" for c in once}
    assignments = ", ".join(f"{column_name(column)} = {value}" for column, value in changes.items())
    change = f"UPDATE {table_name(resource.table)} AS target SET {assignments} FROM {SENT} AS sent"
    return _change(resource, sent, change, once)


def _change(
    resource: ResourceTable,
    sent: Sequence[Column[Any]],
    change: str,
    once: Sequence[Column[Any]] = (),
) -> Statement:
    """once: columns whose value the model makes in Python; each row brings it along, as Citus takes
    no other table function beside the rows."""
    rows = ", ".join([sent_rows(sent), *_record(once)])
    on_key = same_key(resource)
    there = exists(resource.table, on_key)
    missing, left = f"{PLACE} - 1", f"CASE WHEN {there} THEN -{PLACE} ELSE {PLACE} - 1 END"
    sql, distinguishing, noting, noting_distinguishing = (
        _CHANGE.format(
            rows=rows,
            change=change,
            on_key=on_key,
            place=PLACE,
            sent=SENT,
            answer=each,
            begin=begin,
            end=end,
        )
        for begin, end in (("", ""), _NOTING)
        for each in (missing, left)
    )
    return Statement(
        sql,
        answers=True,
        distinguishing=distinguishing,
        noting=noting,
        noting_distinguishing=noting_distinguishing,
        once=tuple((c.name, _maker(c, c.onupdate)) for c in once),
    )


def in_effect(resource: ResourceTable, op: Op, sent: Sequence[Column[Any]]) -> Op:
    """The op in effect: rows sent without any part of their key are new ones."""
    is_new = OPS[op].resolution is not None and {*resource.key}.isdisjoint(sent)
    return "create" if is_new else op


def _insert(resource: ResourceTable, sent: Sequence[Column[Any]], op: Op) -> Statement:
    absent = [c for c in resource.writable if c not in {*sent}]
    defaults = {c: c.default for c in absent if c.default is not None}
    computed = [c for c, default in defaults.items() if _is_sql(default)]
    each = [c for c, default in defaults.items() if default.is_callable]
    once = [c for c, default in defaults.items() if default.is_scalar]
    values = {c: f"sent.{column_name(c)}" for c in (*sent, *each)}
    values |= {c: f"once.{column_name(c)}" for c in once}
    values |= {c: _sql(c.default) for c in computed}
    source = ", ".join([sent_rows(sent, each), *_record(once)])
    if resource.key and set(resource.key) <= set(sent):
        # In one order, so that two drains that insert the same keys do not end in a deadlock. Rows
        # with one key stay in theirs.
        ordered = [*(f"sent.{column_name(column)}" for column in resource.key), f"sent.{PLACE}"]
        rest = f" ORDER BY {', '.join(ordered)}"
    else:
        rest = f" ORDER BY sent.{PLACE}"  # the keys are returned in this order
    touched: Makers = ()
    if op != "create":
        changes: dict[Column[Any], str] = {}
        if op == "replace":
            # EXCLUDED holds the defaults of absent members too: the whole row is overwritten.
            kept = [c for c in resource.writable if not c.primary_key]
            changes = {c: f"EXCLUDED.{column_name(c)}" for c in kept}
        elif op == "create-or-merge":
            changes, touched = _merged(resource, sent)
        assignments = ", ".join(f"{column_name(c)} = {value}" for c, value in changes.items())
        rest += f" ON CONFLICT ({', '.join(map(column_name, resource.key))}) DO "
        rest += f"UPDATE SET {assignments}" if changes else "NOTHING"
    sql = _into(resource, values, source, rest)
    takes_keys = DISTRIBUTED_BY in resource.table.info
    if takes_keys:
        returning_keys, storing_keys = _with_keys_taken(resource, sent, values, once, rest, source)
    else:
        returning_keys, storing_keys = _with_keys(resource, sent, op, sql)
    is_named = {*resource.key} <= {*sent}
    return Statement(
        sql,
        returning_keys=returning_keys,
        storing_keys=storing_keys,
        is_named=is_named,
        takes_keys=takes_keys,
        ignores=op == "create-or-ignore",
        each=tuple((c.name, _maker(c, c.default)) for c in each),
        once=tuple((c.name, _maker(c, c.default)) for c in once),
        touched=touched,
    )


def _into(
    resource: ResourceTable, values: dict[Column[Any], str], source: str, rest: str, how: str = ""
) -> str:
    columns = f" ({', '.join(map(column_name, values))})" if values else ""
    return (
        f"INSERT INTO {table_name(resource.table)} AS target{columns}{how}"
        f" SELECT {', '.join(values.values())} FROM {source}{rest}"
    )


def _with_keys(
    resource: ResourceTable, sent: Sequence[Column[Any]], op: Op, sql: str
) -> tuple[str, str]:
    """See Statement.returning_keys and Statement.storing_keys.

    Postgres returns rows in the order in which it inserts them, which is that of the query; so a
    key belongs to the row of the same place. Where existing rows are ignored, the sent part of the
    key decides: if as many rows with it come back as were sent, their keys are known, otherwise
    not. Of keys that are sent whole, only changed ones are returned.
    """
    given = [c for c in resource.key if c in {*sent}]
    is_named = len(given) == len(resource.key)
    if not resource.key or (is_named and op == "create-or-ignore"):
        return "", ""
    key = _key(resource)
    given_values = ", ".join(["", *map(_own, given)])
    begin = f"""
        WITH {_DONE} AS ({sql} RETURNING {key} AS {_KEY}{given_values}),
        {_IN_ORDER} AS (SELECT *, row_number() OVER () AS {PLACE} FROM {_DONE})
    """
    rows, kept = _IN_ORDER, ""
    if is_named:
        rows = _altered(given)
        kept = f"HAVING count({_KEY}) > 0 OR count(*) <> %(count)s"
    elif given and op == "create-or-ignore":
        rows = _written(given)
    return _returning(resource, begin, rows, kept)


def _with_keys_taken(
    resource: ResourceTable,
    sent: Sequence[Column[Any]],
    values: dict[Column[Any], str],
    once: Sequence[Column[Any]],
    rest: str,
    source: str,
) -> tuple[str, str]:
    """Likewise, of a table that is divided among nodes, which return their rows one node after the
    other: what was not sent of a key is made for each row before it is inserted, as the insert
    would make it. None are returned if the model does not say how."""
    sources = values | {c: f"sent.{column_name(c)}" for c in once}
    taken = {c: sources.get(c) or escaped(made_value(c)) for c in resource.key if c not in {*sent}}
    if not taken or not all(taken.values()):
        return "", ""
    brought = {c: f"sent.{column_name(c)}" for c in taken}
    made = [
        f"({value})::{escaped(recordset_type(c))} AS {column_name(c)}"
        for c, value in taken.items()
        if value != brought[c]
    ]
    how = " OVERRIDING SYSTEM VALUE" if any(map(is_generated, taken)) else ""
    insert = _into(resource, {**sources, **brought}, f"{SENT} AS sent", rest, how)
    key = _key(resource)
    begin = f"""
        WITH {SENT} AS MATERIALIZED (
            SELECT {", ".join(["sent.*", *(values[c] for c in once), *made])} FROM {source}),
        {_DONE} AS ({insert} RETURNING ({key})::text AS {_KEY})
    """
    rows = f"""(
        SELECT {PLACE}, CASE WHEN made::text IN (SELECT {_KEY} FROM {_DONE}) THEN made END AS {_KEY}
        FROM (SELECT {PLACE}, {key} AS made FROM {SENT} AS target) AS own
        ORDER BY {PLACE}) AS made"""
    return _returning(resource, begin, rows)


def _key(resource: ResourceTable) -> str:
    """The key of the written row: one value, or an array of JSON."""
    values = [_key_value(column) for column in resource.key]
    return values[0] if len(values) == 1 else f"json_build_array({', '.join(values)})"


def _returning(resource: ResourceTable, begin: str, rows: str, kept: str = "") -> tuple[str, str]:
    """The statements that return and store the keys of these rows."""
    less = f"{_KEY}::numeric - {PLACE}" if _key(resource) == _own(resource.key[0]) else _KEY
    return (
        f"{begin} SELECT coalesce(json_agg({_KEY}), '[]') FROM {rows}",
        f"""{begin} {INSERT}
            SELECT now(), %(resource)s, %(dedup_ids)s::uuid[], %(ends)s::integer[],
                %(items)s::json, CASE WHEN count(*) = %(count)s THEN json_agg({less}) END
            FROM {rows} {kept}""",
    )


def _altered(key: Sequence[Column[Any]]) -> str:
    """The rows in the order in which they were sent, each with its key if that was changed."""
    order = ", ".join([*map(column_name, key), PLACE])
    stored, sent = (
        ", ".join(f"{alias}.{column_name(column)}" for column in key) for alias in ("done", "sent")
    )
    return f"""(
        SELECT sent.{PLACE},
            CASE WHEN ({stored}) IS DISTINCT FROM ({sent}) THEN {_KEY} END AS {_KEY}
        FROM (
            SELECT *, row_number() OVER (ORDER BY {order}) AS {NTH}
            FROM {sent_rows(key)}) AS sent
        JOIN {_IN_ORDER} AS done ON done.{PLACE} = {NTH}
        ORDER BY sent.{PLACE}) AS made"""


def _written(given: Sequence[Column[Any]]) -> str:
    """The rows in the order in which they were sent, each with its key if that is known."""
    part = ", ".join(map(column_name, given))
    numbered = f"""
        SELECT *, row_number() OVER (PARTITION BY {part} ORDER BY {PLACE}) AS {NTH},
            count(*) OVER (PARTITION BY {part}) AS {_OF}
        FROM
    """
    return f"""(
        SELECT sent.{PLACE}, {_KEY} FROM ({numbered} {sent_rows(given)}) AS sent
        LEFT JOIN ({numbered} {_IN_ORDER}) AS done USING ({part}, {NTH}, {_OF})
        ORDER BY sent.{PLACE}) AS made"""


def _own(column: Column[Any]) -> str:
    return f"target.{column_name(column)}"


def _key_value(column: Column[Any]) -> str:
    """The value of a key column in the written row: whole numbers as in JSON, else the text."""
    bare = base_type(column.type)
    if isinstance(bare, Integer):
        return _own(column)
    is_json = isinstance(bare, JSON)  # of which a text has quotes
    return f"{_own(column)}::text" if is_json else f"(to_json({_own(column)}) #>> '{{}}')"


def _merged(
    resource: ResourceTable, sent: Sequence[Column[Any]]
) -> tuple[dict[Column[Any], str], Makers]:
    """The changes of a create-or-merge to an existing row: the sent members, and columns with an
    `onupdate`."""
    changes = {c: f"EXCLUDED.{column_name(c)}" for c in sent if not c.primary_key}
    rest = [c for c in resource.table.columns if c not in {*sent} and not c.primary_key]
    touched = [c for c in rest if c.onupdate is not None] if changes else []
    made = [c for c in touched if not _is_sql(c.onupdate)]
    changes |= {c: _sql(c.onupdate) for c in touched if c not in made}
    # Constants, as Citus takes only functions there that are immutable.
    changes |= {c: f"%(touched_{at})s" for at, c in enumerate(made)}
    return changes, tuple((f"touched_{at}", _text_maker(c)) for at, c in enumerate(made))


def _record(once: Sequence[Column[Any]]) -> list[str]:
    return [f"json_to_record(%(once)s::json) AS once ({typed(once)})"] if once else []


def _patched(column: Column[Any]) -> str:
    """The value of a merged column. RFC 7396: a patch changes a JSON document, and replaces any
    other value."""
    old, patch = f"target.{column_name(column)}", f"sent.{column_name(column)}"
    if not isinstance(base_type(column.type), JSON):
        return patch
    type_ = escaped(recordset_type(column))
    return f"decanter.readable(decanter.merge_patch({old}::jsonb, {patch}::jsonb))::{type_}"


def _is_sql(default: Any) -> bool:
    return bool(default.is_clause_element or default.is_sequence)


def _sql(default: Any) -> str:
    expression = default.next_value() if default.is_sequence else default.arg
    return f"({escaped(sql_of(expression))})"


def _maker(column: Column[Any], default: Any) -> Callable[[Any], Any]:
    argument = default.arg
    make = argument if default.is_callable else lambda _: argument
    return lambda context: json_value(column.type, make(context))


def _text_maker(column: Column[Any]) -> Callable[[Any], Any]:
    make = _maker(column, column.onupdate)
    return lambda context: constant(base_type(column.type), make(context))


def _made(makers: Makers) -> dict[str, Any]:
    return {name: make(None) for name, make in makers}


def _json(value: Any) -> str:
    return json.dumps(value, default=str)


def columns_of(resource: ResourceTable, members: Sequence[str]) -> tuple[Column[Any], ...]:
    named = {column.name: column for column in resource.table.columns}  # not by SQLAlchemy's keys
    return tuple(named[name] for name in members)

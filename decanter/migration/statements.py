"""SQL that creates, alters and drops a single object."""

from collections.abc import Iterator, Set
from dataclasses import dataclass

from chalicelib.postgres.resources import ModelError
from decanter.migration.catalog import Catalog, CatalogEntry, Definition, Key

_INDENT = " " * 4
_CONSTRAINTS = {"p": 0, "u": 1, "x": 2, "c": 3, "f": 4}
INTEGER_LIMITS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}


class Unwritable(ModelError):
    """A change that no statement makes; the message says what to do instead."""


@dataclass(frozen=True)
class Step:
    """One statement of a revision.

    alone: it has to be committed before other statements can rely on it. laid_out: its line breaks
    are meant for the reader. casts: USING clauses to try in turn where Postgres has no implicit
    cast.
    """

    sql: str
    alone: bool = False
    laid_out: bool = False
    casts: tuple[str, ...] = ()


def create_statement(key: Key, definition: Definition) -> str:
    match key:
        case ("schema", name):
            return f"CREATE SCHEMA {name}"
        case ("extension", name):
            return f"CREATE EXTENSION IF NOT EXISTS {name}"
        case ("domain default", name):
            return f"ALTER DOMAIN {name} SET DEFAULT {definition[0]}"
        case ("domain not null", name):
            return f"ALTER DOMAIN {name} SET NOT NULL"
        case ("domain check", name, constraint):
            return f"ALTER DOMAIN {name} ADD CONSTRAINT {constraint} {definition[0]}"
        case ("sequence", name):
            return f"CREATE SEQUENCE {name} {sequence_clause(definition)}".strip()
        case ("owner", name):
            return f"ALTER SEQUENCE {name} OWNED BY {'.'.join(definition)}"
        case ("default", table, column):
            return f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {definition[0]}"
        case ("constraint", table, name):
            return f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition[1]}"
        case ("index", name):
            table, is_unique, rest = definition
            unique = "UNIQUE " if is_unique else ""
            return f"CREATE {unique}INDEX {split(name)[1]} ON {table} {rest}"
        case ("view", name):
            is_materialized, text, options = definition
            kind = "MATERIALIZED VIEW" if is_materialized else "VIEW"
            with_ = f" WITH ({', '.join(options)})" if options else ""
            return f"CREATE {kind} {name}{with_} AS {text}"
        case ("placement", table):
            return placing(table, *definition)
        case ("comment", *subject):
            return f"COMMENT ON {_sql_name(tuple(subject))} IS {quote_literal(definition[0])}"
        case ("function" | "trigger", *_) if definition[0] is not None:
            return str(definition[0])
    raise Unwritable(f"{_sql_name(key)} differs; write its revision by hand.")


def drop_statement(key: Key, definition: Definition) -> str:
    match key:
        case ("column", table, column):
            return f"ALTER TABLE {table} DROP COLUMN {column}"
        case ("default", table, column):
            return f"ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT"
        case ("constraint", table, name):
            return f"ALTER TABLE {table} DROP CONSTRAINT {name}"
        case ("domain default", name):
            return f"ALTER DOMAIN {name} DROP DEFAULT"
        case ("domain not null", name):
            return f"ALTER DOMAIN {name} DROP NOT NULL"
        case ("domain check", name, constraint):
            return f"ALTER DOMAIN {name} DROP CONSTRAINT {constraint}"
        case ("owner", name):
            return f"ALTER SEQUENCE {name} OWNED BY NONE"
        case ("comment", *subject):
            return f"COMMENT ON {_sql_name(tuple(subject))} IS NULL"
        case ("placement", table):
            return f"SELECT undistribute_table({quote_literal(table)})"
        case ("view", name) if definition[0]:
            return f"DROP MATERIALIZED VIEW {name}"
        case ("type", name) if definition[0] == "domain":
            return f"DROP DOMAIN {name}"
        case ("table", name) if definition[0] == "f":
            return f"DROP FOREIGN TABLE {name}"
    return f"DROP {_sql_name(key)}"


def placing(table: str, column: str | None) -> str:
    """Return what distributes a table by a column, or makes it a reference table."""
    if column is None:
        return f"SELECT create_reference_table({quote_literal(table)})"
    return f"SELECT create_distributed_table({quote_literal(table)}, {quote_literal(column)})"


def rename_statement(before: Key, after: Key) -> str:
    if before[0] == "constraint":
        return f"ALTER TABLE {before[1]} RENAME CONSTRAINT {before[2]} TO {after[2]}"
    kind = "INDEX" if before[0] == "index" else "SEQUENCE"
    return f"ALTER {kind} {before[1]} RENAME TO {split(after[1])[1]}"


def create_table(catalog: Catalog, table: str, inline: Set[Key]) -> Step:
    """Return CREATE TABLE with those columns and constraints of the table that are inline."""
    kind, persistence, partition_key, parents, bound, options = catalog["table", table].definition
    if kind == "f":
        raise Unwritable(f"{table} is a foreign table; write its revision by hand.")
    parts: list[str] = []
    constraints: list[tuple[int, str, str]] = []
    for part, entry in catalog.items():
        if part not in inline or part[1] != table:
            continue
        if part[0] == "column":
            parts.append(column_clause(catalog, part))
        elif part[0] == "constraint":
            type_, definition = entry.definition
            text = f"CONSTRAINT {part[2]} {definition}"
            constraints.append((_CONSTRAINTS[type_], part[2], text))
    parts += [text for *_, text in sorted(constraints)]
    text = f"CREATE {'UNLOGGED ' if persistence == 'u' else ''}TABLE {table}"
    if bound:
        text += f" PARTITION OF {parents[0]}"
    if parts or not bound:
        listed = f",\n{_INDENT}".join(parts)
        text += f" (\n{_INDENT}{listed}\n)" if parts else " ()"
    if bound:
        text += f" {bound}"
    elif parents:
        text += f" INHERITS ({', '.join(parents)})"
    if partition_key:
        text += f" PARTITION BY {partition_key}"
    if options:
        text += f" WITH ({', '.join(options)})"
    return Step(text, laid_out=not any("\n" in part for part in parts))


def column_clause(catalog: Catalog, key: Key) -> str:
    """Return the column as CREATE TABLE and ADD COLUMN define it."""
    definition = catalog[key].definition
    type_, collation, not_null, identity, sequence, generated, expression = definition
    text = f"{key[2]} {type_}"
    if collation:
        text += f" COLLATE {collation}"
    if default := catalog.get(("default", *key[1:])):
        text += f" DEFAULT {default.definition[0]}"
    if identity:
        text += f" {identity_clause(identity, sequence, type_)}"
    if generated:
        kind = "STORED" if generated == "s" else "VIRTUAL"
        text += f" GENERATED ALWAYS AS ({expression}) {kind}"
    return text + (" NOT NULL" if not_null else "")


def create_type(name: str, definition: Definition) -> Step:
    match definition:
        case ("enum", labels):
            return Step(f"CREATE TYPE {name} AS ENUM ({', '.join(map(quote_literal, labels))})")
        case ("composite", attributes):
            return Step(f"CREATE TYPE {name} AS ({', '.join(attributes)})")
        case ("range", text):
            return Step(f"CREATE TYPE {name} AS RANGE ({text})")
    _, base, collation = definition
    return Step(f"CREATE DOMAIN {name} AS {base}" + (f" COLLATE {collation}" if collation else ""))


def identity_sequence(column: Key) -> str:
    """Return an expression for the sequence of an identity column."""
    return (
        f"pg_get_serial_sequence({quote_literal(column[1])}, {quote_literal(unquoted(column[2]))})"
    )


def continue_sequence(name: str, column: Key, sequence: tuple[int, ...]) -> Step:
    """Have a sequence continue after the values that its column holds."""
    last = f"{'max' if sequence[1] > 0 else 'min'}({column[2]})"
    return Step(
        f"SELECT setval({name}, {last}) FROM {column[1]}"
        f" HAVING {last} BETWEEN {sequence[2]} AND {sequence[3]}"
    )


def alter_sequence(
    step: Step, name: str, old: tuple[int, ...], new: tuple[int, ...]
) -> Iterator[Step]:
    """Alter a sequence by a step, once its current value is within its new bounds."""
    start, _, least, most, *_ = new
    if least <= old[0] <= most:
        yield step
    elif old[2] <= start <= old[3]:
        yield Step(
            f"SELECT setval({name}, {start}, false)"
            f" WHERE coalesce(pg_sequence_last_value({name}::regclass), {old[0]})"
            f" NOT BETWEEN {least} AND {most}"
        )
        yield step
    else:  # no value is within both the old and the new bounds
        yield Step(f"{step.sql} RESTART")


def add_labels(name: str, old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[Step]:
    for place, label in enumerate(new):
        if label not in old:
            where = f" AFTER {quote_literal(new[place - 1])}"
            if place == 0:
                where = f" BEFORE {quote_literal(old[0])}" if old else ""
            add = f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {quote_literal(label)}{where}"
            yield Step(add, alone=True)


def alter_table(table: str, old: Definition, new: Definition) -> Iterator[Step]:
    if old[1] != new[1]:
        yield Step(f"ALTER TABLE {table} SET {'UNLOGGED' if new[1] == 'u' else 'LOGGED'}")
    before, after = ({*(each[5] or ())} for each in (old, new))
    names = {option.partition("=")[0] for option in before}
    if unset := names - {option.partition("=")[0] for option in after}:
        yield Step(f"ALTER TABLE {table} RESET ({', '.join(sorted(unset))})")
    if set_ := after - before:
        yield Step(f"ALTER TABLE {table} SET ({', '.join(sorted(set_))})")


def _sql_name(key: Key) -> str:
    """Return kind and name as COMMENT ON and most DROP statements take them."""
    match key:
        case ("column", table, column):
            return f"COLUMN {table}.{column}"
        case ("constraint", table, name):
            return f"CONSTRAINT {name} ON {table}"
        case ("domain check", domain, name):
            return f"CONSTRAINT {name} ON DOMAIN {domain}"
        case ("trigger", table, name):
            return f"TRIGGER {name} ON {table}"
        case ("function", name, kind):
            return f"{ {'p': 'PROCEDURE', 'a': 'AGGREGATE'}.get(kind, 'FUNCTION') } {name}"
    return f"{key[0].upper()} {key[1]}"


def identity_clause(kind: str, sequence: tuple[int, ...], type_: str) -> str:
    options = " ".join(sequence_options(type_, *sequence))
    always = "ALWAYS" if kind == "a" else "BY DEFAULT"
    return f"GENERATED {always} AS IDENTITY" + (f" ({options})" if options else "")


def sequence_clause(definition: Definition, *, every: bool = False) -> str:
    type_, *options = definition
    typed = [f"AS {type_}"] if every or type_ != "bigint" else []
    return " ".join([*typed, *sequence_options(type_, *options, every=every)])


def sequence_options(
    type_: str, start: int, increment: int, least: int, most: int, cache: int, cycles: int,
    *, every: bool = False,
) -> Iterator[str]:  # fmt: skip
    """Yield the options of a sequence: every one, or those that differ from the defaults."""
    limit = INTEGER_LIMITS.get(type_, 2**63)
    is_up = increment > 0
    usual = (1, limit - 1) if is_up else (-limit, -1)
    if every or increment != 1:
        yield f"INCREMENT BY {increment}"
    if every or least != usual[0]:
        yield f"MINVALUE {least}"
    if every or most != usual[1]:
        yield f"MAXVALUE {most}"
    if every or start != (least if is_up else most):
        yield f"START WITH {start}"
    if every or cache != 1:
        yield f"CACHE {cache}"
    if every or cycles:
        yield "CYCLE" if cycles else "NO CYCLE"


def type_keyword(entry: CatalogEntry) -> str:
    return "DOMAIN" if entry.definition[0] == "domain" else "TYPE"


def replaced_name(key: Key) -> tuple[str, str]:
    """Return the name of a type while its successor is created: schema with its dot, and name."""
    schema, name = split(key[1])
    bare = unquoted(name).encode()[:55].decode(errors="ignore")
    return schema, '"' + f"{bare}_before".replace('"', '""') + '"'


def split(name: str) -> tuple[str, str]:
    """Split a qualified name into the schema with its dot, or nothing, and the name."""
    if not name.endswith('"'):
        schema, dot, last = name.rpartition(".")
        return schema + dot, last
    start = len(name) - 1
    while True:  # backwards over a quoted name, in which quotes are doubled
        start = name.rindex('"', 0, start)
        if start == 0 or name[start - 1] != '"':
            return name[:start], name[start:]
        start -= 1


def unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def quote_literal(text: str) -> str:
    # The E makes backslashes mean the same whatever standard_conforming_strings is.
    doubled = text.replace("'", "''")
    return "E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in text else f"'{doubled}'"

"""Statements of revisions as an engine takes them.

Revisions are written for Postgres. An engine that builds indexes and validates constraints apart
from the statement gets other statements for the same end, or none where there are none.
"""

import re
from collections.abc import Callable, Mapping
from typing import NoReturn

from chalicelib.errors import MigrationRefused
from chalicelib.migrate.placing import is_placing
from chalicelib.postgres.engine import Engine

_NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_PATH = rf"{_NAME}(?:\.{_NAME})?"
_FLAGS = re.IGNORECASE | re.DOTALL

_INDEX = re.compile(
    rf"CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s+(?:CONCURRENTLY\s+)?(?P<exists>IF\s+NOT\s+EXISTS\s+)?"
    rf"(?P<name>{_NAME})\s+ON\s+(?:ONLY\s+)?(?P<table>{_PATH})\s*(?:USING\s+(?P<method>\w+)\s*)?"
    r"(?P<rest>\(.*)",
    _FLAGS,
)
_ALTER = re.compile(
    rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(?P<table>{_PATH})\s+(?P<what>.*)", _FLAGS
)
_CONSTRAINT = re.compile(rf"ADD\s+(?:CONSTRAINT\s+(?P<name>{_NAME})\s+)?(?P<what>{{}}.*)", _FLAGS)
_CHECKED = re.compile(_CONSTRAINT.pattern.format(r"(?:FOREIGN\s+KEY|CHECK)\b"), _FLAGS)
_UNIQUE = re.compile(
    _CONSTRAINT.pattern.format(r"UNIQUE\s*(?P<nulls>NULLS\s+NOT\s+DISTINCT\s*)?\("), _FLAGS
)
_OTHER = re.compile(_CONSTRAINT.pattern.format(r"(?:PRIMARY\s+KEY|EXCLUDE|UNIQUE)\b"), _FLAGS)
_COLUMN = re.compile(
    rf"ADD\s+(?:COLUMN\s+)?(?P<exists>IF\s+NOT\s+EXISTS\s+)?(?P<name>{_NAME})\s+(?P<rest>.+)",
    _FLAGS,
)
_CLAUSE = re.compile(
    r"\b(?:NOT\s+NULL|DEFAULT|GENERATED|COLLATE|REFERENCES|UNIQUE|PRIMARY|CHECK|CONSTRAINT)\b",
    re.IGNORECASE,
)
_RETYPED = re.compile(
    rf"ALTER\s+(?:COLUMN\s+)?(?P<name>{_NAME})\s+(?:SET\s+DATA\s+)?TYPE\b", _FLAGS
)
_REQUIRED = re.compile(rf"ALTER\s+(?:COLUMN\s+)?(?P<name>{_NAME})\s+SET\s+NOT\s+NULL\b", _FLAGS)
_TABLE = re.compile(rf"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<table>{_PATH})", _FLAGS)
_DIVIDED = re.compile(r"\bPARTITION\s+(?:BY|OF)\b|\bINHERITS\b", re.IGNORECASE)
_IDENTITY = re.compile(r"\bAS\s+IDENTITY\b(?P<options>\s*\([^()]*\))?", re.IGNORECASE)
_SEQUENCE = re.compile(r"CREATE\s+SEQUENCE\b", re.IGNORECASE)
_CACHE = re.compile(r"\bCACHE\b", re.IGNORECASE)
_HIDDEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\1\$", re.DOTALL)

_REFUSED: Mapping[str, str] = {
    r"CREATE\s+(?:TYPE|DOMAIN)\b": "types of its own",
    r"CREATE\s+EXTENSION\b": "extensions",
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER\b": "triggers",
    r"CREATE\s+MATERIALIZED\b": "materialized views",
    r"CREATE\s+(?:UNLOGGED|TEMP|TEMPORARY)\b": "tables without a log",
    r"(?:DO|TRUNCATE|LOCK)\b": "this statement",
}
_LANGUAGE = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b.*\bLANGUAGE\s+['\"]?(?!SQL\b)(\w+)",
    _FLAGS,
)


def adapted(sql: str, engine: Engine) -> list[str]:
    """The statements that do on an engine what one does on Postgres, each to be committed before
    the next. Raises MigrationRefused, which says what cannot be done, and the cure."""
    statement = sql.strip().rstrip(";").rstrip()
    if is_placing(statement) and not engine.distributes:
        return []
    if not engine.async_indexes:
        return [statement]
    for pattern, what in _REFUSED.items():
        if re.match(pattern, statement, re.IGNORECASE):
            _refuse(statement, engine, f"it has no {what}")
    if found := _LANGUAGE.match(statement):
        _refuse(statement, engine, f"it has no functions in {found[1]}, only in SQL")
    if found := _INDEX.fullmatch(statement):
        return [_index(found, engine)]
    if found := _ALTER.fullmatch(statement):
        return _altered(statement, engine, found["table"], found["what"])
    if _SEQUENCE.match(statement) and not _CACHE.search(statement):
        return [f"{statement} CACHE 1"]
    if _TABLE.match(statement):
        if _DIVIDED.search(_masked(statement)):
            _refuse(statement, engine, "it has no partitions, and no inheritance")
        return [_with_cache(statement)]
    return [statement]


def job_of(sql: str) -> tuple[str, str] | None:
    """The table and the index, in SQL, of a statement that has one built apart from it."""
    found = re.match(
        rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+ASYNC\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>{_NAME})\s+ON\s+"
        rf"(?P<table>{_PATH})",
        sql,
        _FLAGS,
    )
    return (found["table"], found["name"]) if found else None


def _index(found: re.Match[str], engine: Engine) -> str:
    method = (found["method"] or "btree").lower()
    if method not in engine.index_methods:
        _refuse(found[0], engine, f"its only indexes are {', '.join(sorted(engine.index_methods))}")
    unique, exists = found["unique"] or "", found["exists"] or ""
    return f"CREATE {unique}INDEX ASYNC {exists}{found['name']} ON {found['table']} {found['rest']}"


def _altered(statement: str, engine: Engine, table: str, what: str) -> list[str]:
    if found := _CHECKED.fullmatch(what):
        name = found["name"] or _refuse(statement, engine, "the constraint needs a name")
        suffix = "" if re.search(r"\bNOT\s+VALID$", what, re.IGNORECASE) else " NOT VALID"
        return [
            f"ALTER TABLE {table} {what}{suffix}",
            f"ALTER TABLE ASYNC {table} VALIDATE CONSTRAINT {name}",
        ]
    if (found := _UNIQUE.fullmatch(what)) and found["name"] and what.endswith(")"):
        columns = what[found.end("nulls") if found["nulls"] else what.index("(") :].strip()
        nulls = " NULLS NOT DISTINCT" if found["nulls"] else ""
        name = found["name"]
        return [
            f"CREATE UNIQUE INDEX ASYNC {name} ON {table} {columns}{nulls}",
            f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}",
        ]
    if _OTHER.fullmatch(what) and "USING INDEX" not in what.upper():
        _refuse(statement, engine, "it adds no such constraint to a table that exists")
    for pattern, change in (
        (_RETYPED, "the type of a column"),
        (_REQUIRED, "a column to NOT NULL"),
    ):
        if pattern.match(what):
            _refuse(statement, engine, f"it cannot change {change}")
    if not re.match(
        r"ADD\s+(?:CONSTRAINT|FOREIGN|CHECK|UNIQUE|PRIMARY|EXCLUDE)\b", what, re.I
    ) and (found := _COLUMN.fullmatch(what)):
        return _column(statement, engine, table, found)
    return [statement]


def _column(statement: str, engine: Engine, table: str, found: re.Match[str]) -> list[str]:
    """A new column gets its default apart, which rows that exist do not get."""
    rest, name = found["rest"], found["name"]
    clauses = [*_CLAUSE.finditer(_masked(rest))]
    type_ = rest[: clauses[0].start()].strip() if clauses else rest
    default = ""
    for clause, behind in zip(clauses, [*clauses[1:], None], strict=True):
        if clause[0].upper() != "DEFAULT":
            _refuse(
                statement, engine, f"it adds no column with {clause[0].upper()}",
                "Add it nullable, without more than a default."
            )  # fmt: skip
        default = rest[clause.end() : behind.start() if behind else None].strip()
    added = [f"ALTER TABLE {table} ADD COLUMN {found['exists'] or ''}{name} {type_}"]
    if default:
        added.append(f"ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {default}")
    return added


def _with_cache(statement: str) -> str:
    """How many numbers a session takes at once has to be said."""

    def said(found: re.Match[str]) -> str:
        options = found["options"]
        if options is None:
            return f"{found[0]} (CACHE 1)"
        return found[0] if _CACHE.search(options) else f"{found[0][:-1]} CACHE 1)"

    return _outside_texts(_IDENTITY, said, statement)


def _outside_texts(
    pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str], statement: str
) -> str:
    parts, place = [], 0
    for found in pattern.finditer(_masked(statement)):
        parts += [statement[place : found.start()], replace(found)]
        place = found.end()
    return "".join([*parts, statement[place:]])


def _masked(text: str) -> str:
    """The text with literals and quoted names blanked out."""
    return _HIDDEN.sub(lambda found: "_" * len(found[0]), text)


def _refuse(statement: str, engine: Engine, why: str, cure: str = "") -> NoReturn:
    shown = " ".join(statement.split())[:200]
    cure = (
        cure or "Change the models so that they need none of it; docs/deploying.md says what fits."
    )
    raise MigrationRefused(f"{engine.name} refuses {shown}: {why}. {cure}")

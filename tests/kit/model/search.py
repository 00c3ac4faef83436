"""The drain's promise as a slow model: random tables, and writes applied to dicts one by one.

What is promised of one batch:

1. A message is poured whole or not at all, and has one ledger row once it is poured.
2. Writes to one key take effect in the order in which they were accepted.
3. Everything else may be in any order. There must be *one* order of all writes of the batch that
   keeps 2 and in which each of them, applied alone to what is there at its turn, is taken or
   refused just as the drain took or refused it; the tables then hold what that order leaves.
   So two writes of one batch that want the same unique value may go either way, and so may a
   delete and a new reference to the row, but no outcome that no order explains is accepted.
4. Writes of one set (resource, op and members alike) may take effect at the same moment: rows that
   refer to each other in a circle then have their parents.
5. A refused write has the type of a constraint that it violates at its turn. If it violates
   several, either may be told; a value that its type does not take comes before all of them, and
   a missing row before any constraint. A delete whose cascades take away rows that hold on to
   what it deletes may go either way: Postgres asks and cascades in the order of its triggers.
6. A condition is judged at its write's turn, before everything but a misfit. Whether the row is the
   one whose ETag was read is told by its values, except where a column is of type json, which
   remembers how a value was written: there, equal values may have another ETag.
7. A message waits only if one of its rows has no parent, and only until its deliveries are used up.

Of writes in different batches, and of creates into unordered resources, the order of pouring is
the order of effects. Not modelled: deferred constraints, triggers, exclusion constraints, circles
of foreign keys between tables, and keys made by a constant default.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from random import Random
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

ANY = "(made by the database)"
"""A value that no model can know. What the table shows is taken for it, and has to stay."""

_MOST_STATES = 50_000
_tokens = count(1)

Value = Hashable
Values = Mapping[str, Value]
Tables = dict[str, dict[Value, Values]]


class Unexplained(AssertionError):
    """What the drain did is not what any order of the writes leads to."""


# Kinds of columns


@dataclass(frozen=True)
class Default:
    """How an absent member gets a value. made: `column arguments`. value: canonical, or ANY."""

    made: Callable[[], dict[str, Any]]
    value: Value


@dataclass(frozen=True)
class Kind:
    """A type with a few values, as JSON texts; several of them are spellings of one value.

    bad: what Postgres refuses. canonical: parsed JSON → what equal values share.
    """

    type_: Callable[[], Any]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    canonical: Callable[[Any], Value]
    defaults: tuple[Default, ...] = ()
    is_key: bool = True


def _document(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _instant(value: str) -> datetime:
    return datetime.fromisoformat(value).astimezone(UTC)


def _default(value: Value, **made: Any) -> Default:
    return Default(lambda: dict(made), value)


KINDS: dict[str, Kind] = {
    "integer": Kind(
        lambda: sa.Integer(),
        ("1", "2", "3", "-7"),
        ("3000000000", '"x"', "{}"),
        int,
        (
            _default(42, server_default=sa.text("40 + 2")),
            _default(7, default=7),
            _default(8, default=lambda: 8),
            _default(9, default=sa.func.abs(-9)),
        ),
    ),
    "smallint": Kind(lambda: sa.SmallInteger(), ("0", "5"), ("40000",), int),
    "bigint": Kind(
        lambda: sa.BigInteger(), ("1", "9223372036854775807"), ("9223372036854775808",), int
    ),
    "text": Kind(
        lambda: sa.Text(),
        ('"a"', '"b"', '"ü %s/?"', '"\\"\\\\ \\uffff"'),
        ('"\\u0000"', '"\\ud800"'),
        str,
        (
            _default("it's 100%", server_default="it's 100%"),
            _default("%(rows)s", default="%(rows)s"),
            _default("made", default=lambda: "made"),
            _default("A%S", default=sa.func.upper("a%s")),
        ),
    ),
    "varchar": Kind(lambda: sa.String(4), ('"x"', '"abcd"'), ('"abcde"',), str),
    "numeric": Kind(
        lambda: sa.Numeric(6, 2),
        ("1.5", "1.50", "2", "-3.25"),
        ("10000", '"x"'),
        lambda value: Decimal(value).normalize(),
        (
            _default(Decimal("0.5"), default=Decimal("0.50")),
            _default(Decimal("4"), server_default="4"),
        ),
    ),
    "digits": Kind(
        lambda: sa.Numeric(),
        ("1.5", "1.50", "0.12345678901234567890123456789", "12345678901234567890"),
        ('"x"',),
        str,
        is_key=False,
    ),
    "double": Kind(lambda: sa.Double(), ("1.5", "15e-1", "0.1"), ('"x"',), float),
    "boolean": Kind(
        lambda: sa.Boolean(),
        ("true", "false"),
        ('"maybe"',),
        bool,
        (_default(True, server_default=sa.true()), _default(False, default=False)),
    ),
    "uuid": Kind(
        lambda: sa.Uuid(),
        (
            '"6ba7b812-9dad-11d1-80b4-00c04fd430c8"',
            '"6BA7B812-9DAD-11D1-80B4-00C04FD430C8"',
            '"6ba7b814-9dad-11d1-80b4-00c04fd430c8"',
        ),
        ('"no"',),
        UUID,
        (
            _default(ANY, server_default=sa.text("gen_random_uuid()")),
            _default(ANY, default=uuid4),
        ),
    ),
    "timestamptz": Kind(
        lambda: sa.DateTime(timezone=True),
        (
            '"2026-01-01T00:00:00Z"',
            '"2026-01-01T01:00:00+01:00"',
            '"2026-01-01T00:00:00.000001+00:00"',
        ),
        ('"2026-13-01T00:00:00Z"',),
        _instant,
        (_default(ANY, server_default=sa.func.now()), _default(ANY, default=sa.func.now())),
    ),
    "timestamp": Kind(
        lambda: sa.DateTime(),
        ('"2026-01-01T00:00:00"', '"2026-01-01T00:00:00.0"', '"2026-01-01T00:00:00.5"'),
        ('"2026-02-30T00:00:00"',),
        lambda value: datetime.fromisoformat(value),
    ),
    "date": Kind(lambda: sa.Date(), ('"2026-01-01"', '"2024-02-29"'), ('"2026-02-30"',), str),
    "bytea": Kind(
        lambda: sa.LargeBinary(),
        (r'"\\x00ff"', r'"\\x00FF"', r'"\\x61"'),
        (r'"\\x0"',),
        str.lower,
        (_default("\\x00", default=b"\x00"),),
    ),
    "enum": Kind(
        lambda: sa.Enum("red", "it's 100%", name="the colours"),
        ('"red"', '"it\'s 100%"'),
        ('"blue"',),
        str,
        (_default("red", default="red"), _default("it's 100%", server_default="it's 100%")),
    ),
    "inet": Kind(
        lambda: pg.INET(),
        ('"::1"', '"0::1"', '"10.0.0.1"'),
        ('"nowhere"',),
        lambda value: value.replace("0::", "::"),
    ),
    "jsonb": Kind(
        lambda: pg.JSONB(),
        ('{"a":{"x":1,"y":null}}', '{"a":{"x":null,"z":2},"b":null}', '{"a":null}', "{}", "[1]",
         '{"a":[{"x":null}]}', '"text"', "0", "false"),
        (),
        _document,
        (
            _default("{}", server_default="{}"),
            _default('{"a": [1, null]}', default=lambda: {"a": [1, None]}),
        ),
        is_key=False,
    ),
    "json": Kind(
        lambda: pg.JSON(),
        ('{"a":{"x":1,"y":null}}', '{"a":{"x":null,"z":2},"b":null}', "[1]", "true"),
        (),
        _document,
        is_key=False,
    ),
    "integers": Kind(
        lambda: sa.ARRAY(sa.Integer),
        ("[1,null]", "[]", "[1,2,3]"),
        ('["x"]', "[[1],[1,2]]"),
        _document,
        (_default("[]", default=list), _default("[1]", server_default="{1}")),
        is_key=False,
    ),
    "texts": Kind(
        lambda: sa.ARRAY(sa.Text), ('["a",null]', '["{,}\\"\\\\"]'), ("{}",), _document,
        is_key=False,
    ),
}  # fmt: skip


# Tables


@dataclass(frozen=True)
class Field:
    """A column. check: values of 1000 and more are refused. doubles: what it is generated from.

    is_coarse: of few values, so that a key of several columns is met again.
    """

    name: str
    kind: str
    is_key: bool = False
    nullable: bool = True
    default: Default | None = None
    check: bool = False
    onupdate: int | None = None
    doubles: str | None = None
    is_coarse: bool = False

    @property
    def good(self) -> tuple[str, ...]:
        return KINDS[self.kind].good[: 2 if self.is_coarse else None]

    def canonical(self, shown: Any) -> Value:
        """Of a parsed JSON value that Postgres takes."""
        return None if shown is None else KINDS[self.kind].canonical(shown)

    def __repr__(self) -> str:
        said = [self.name, self.kind]
        said += ["key"] if self.is_key else [] if self.nullable else ["not null"]
        said += [f"default {self.default.value}"] if self.default else []
        said += ["check < 1000"] if self.check else []
        said += [f"onupdate {self.onupdate}"] if self.onupdate else []
        said += [f"doubles {self.doubles}"] if self.doubles else []
        return f"<{' '.join(said)}>"


@dataclass(frozen=True)
class Reference:
    """A foreign key from these columns to the key of a resource. ondelete: as in SQL."""

    columns: tuple[str, ...]
    parent: str
    ondelete: str | None


@dataclass(frozen=True)
class Rows:
    """One table: its resource's name, columns and constraints."""

    resource: str
    table: str
    schema: str | None
    ordered: bool
    fields: tuple[Field, ...]
    uniques: tuple[tuple[str, ...], ...] = ()
    references: tuple[Reference, ...] = ()

    @property
    def key(self) -> tuple[Field, ...]:
        return tuple(each for each in self.fields if each.is_key)

    @property
    def rest(self) -> tuple[Field, ...]:
        """What a write may name beside the key."""
        return tuple(each for each in self.fields if not each.is_key and not each.doubles)

    @property
    def name(self) -> str:
        quoted = self.table.replace('"', '""')
        return f'"{self.schema}"."{quoted}"' if self.schema else f'"{quoted}"'

    def field(self, name: str) -> Field:
        return next(each for each in self.fields if each.name == name)

    def key_of(self, row: Values) -> tuple[Value, ...]:
        return tuple(row[each.name] for each in self.key)


@dataclass(frozen=True)
class Schema:
    """One to three tables, parents before children."""

    number: int
    tables: tuple[Rows, ...]

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(f"random_schema({self.number})")

    def rows(self, resource: str) -> Rows:
        return next(each for each in self.tables if each.resource == resource)

    def children(self, resource: str) -> Iterator[tuple[Rows, Reference]]:
        for rows in self.tables:
            for reference in rows.references:
                if reference.parent == resource:
                    yield rows, reference


_NAMES = (
    "n", "select", "a b", 'q"uote', "100%", "ü", "%(rows)s", "sent", "target", "done", "once",
    "each", "ordinality", "value", "Mixed", "place", "x.y", "it's",
)  # fmt: skip
_SIMPLE = ("integer", "text", "uuid", "bigint")
_KEYS = tuple(name for name, kind in KINDS.items() if kind.is_key)


def random_schema(number: int) -> Schema:
    """The same for the same number."""
    dice = Random(number)
    made: list[Rows] = []
    for place in range(dice.choice((1, 2, 2, 3))):
        made.append(_random_rows(dice, f"s{number}t{place}", made))
    return Schema(number, tuple(made))


def _random_rows(dice: Random, resource: str, earlier: Sequence[Rows]) -> Rows:
    names = iter(dice.sample(_NAMES, len(_NAMES)))
    ordered = not earlier or dice.random() < 0.85
    parents = [each for each in earlier if each.ordered]
    fields: list[Field] = []
    references: list[Reference] = []

    if parents and dice.random() < 0.2:  # the key begins with the parent's
        parent = dice.choice(parents)
        own = [
            Field(next(names), each.kind, True, False, is_coarse=each.is_coarse)
            for each in parent.key
        ]
        references.append(_reference(dice, own, parent.resource, (None, "CASCADE", "RESTRICT")))
        fields += [*own, Field(next(names), dice.choice(_SIMPLE), True, False, is_coarse=True)]
    elif ordered or dice.random() < 0.6:
        fields += _random_key(dice, names)
    for _ in range(dice.randint(1, 4)):
        fields.append(_random_field(dice, next(names)))
    if dice.random() < 0.5:
        doubled = Field(next(names), "integer", default=dice.choice([None, _seven()]))
        fields += [doubled, Field(next(names), "integer", doubles=doubled.name)]

    unique = [each.name for each in fields if _may_be_unique(each)]
    uniques = []
    if unique and dice.random() < 0.6:
        uniques.append(tuple(dice.sample(unique, min(len(unique), dice.choice((1, 1, 2))))))
    if dice.random() < 0.75:
        # Itself, by a key that no parent's key is part of.
        targets = [(each.resource, each.key) for each in parents]
        key = tuple(each for each in fields if each.is_key)
        if ordered and not references:
            targets.append((resource, key))
        if targets:
            target, theirs = dice.choice(targets)
            nullable = dice.random() < 0.7
            own = [
                Field(next(names), each.kind, nullable=nullable, is_coarse=each.is_coarse)
                for each in theirs
            ]
            fields += own
            actions = (None, None, "RESTRICT", "CASCADE", *(["SET NULL"] if nullable else []))
            references.append(_reference(dice, own, target, actions))

    return Rows(
        resource,
        table=f"{resource} {dice.choice(_NAMES)}"[:50],
        schema=dice.choice((None, None, "Odd schema%")),
        ordered=ordered,
        fields=tuple(fields),
        uniques=tuple(uniques),
        references=tuple(references),
    )


def _random_key(dice: Random, names: Iterator[str]) -> list[Field]:
    form = dice.random()
    if form < 0.15:
        return [Field(next(names), "integer", True, False, Default(_identity, ANY))]
    if form < 0.3:
        return [Field(next(names), "uuid", True, False, dice.choice(KINDS["uuid"].defaults))]
    if form < 0.7:
        return [Field(next(names), dice.choice((*_SIMPLE, *_KEYS)), True, False)]
    return [
        Field(next(names), dice.choice(_KEYS), True, False, is_coarse=place > 0)
        for place in range(dice.choice((2, 2, 3)))
    ]


def _identity() -> dict[str, Any]:
    return {"identity": sa.Identity(start=1_000)}  # beyond all keys that writes name


def _seven() -> Default:
    return _default(7, default=7)


def _random_field(dice: Random, name: str) -> Field:
    kind = dice.choice((*KINDS, "integer", "integer", "integer", "text", "jsonb", "jsonb"))
    defaults = KINDS[kind].defaults
    return Field(
        name,
        kind,
        nullable=dice.random() < 0.7,
        default=dice.choice(defaults) if defaults and dice.random() < 0.5 else None,
        check=kind == "integer" and dice.random() < 0.6,
        onupdate=99 if kind == "integer" and dice.random() < 0.4 else None,
    )


def _may_be_unique(each: Field) -> bool:
    made = each.default is not None and each.default.value == ANY
    return not (each.is_key or each.doubles or made) and KINDS[each.kind].is_key


def _reference(
    dice: Random, own: Sequence[Field], parent: str, actions: Sequence[str | None]
) -> Reference:
    return Reference(tuple(each.name for each in own), parent, dice.choice(actions))


def metadata_of(schemas: Sequence[Schema]) -> sa.MetaData:
    """All their tables in SQLAlchemy Core."""
    metadata = sa.MetaData()
    for schema in schemas:
        made: dict[str, sa.Table] = {}
        for rows in schema.tables:
            made[rows.resource] = table = sa.Table(
                rows.table,
                metadata,
                *[_column(rows, each) for each in rows.fields],
                *[sa.UniqueConstraint(*columns) for columns in rows.uniques],
                schema=rows.schema,
                info={"resource": rows.resource, "ordered": rows.ordered},
            )
            for number, reference in enumerate(rows.references):
                parent = made[reference.parent]
                table.append_constraint(
                    sa.ForeignKeyConstraint(
                        reference.columns,
                        list(parent.primary_key.columns),
                        # Some have the name that Postgres makes up.
                        name=f"{rows.resource}_parent_{number}" if schema.number % 2 else None,
                        ondelete=reference.ondelete,
                    )
                )
    return metadata


def _column(rows: Rows, each: Field) -> sa.Column[Any]:
    more: list[Any] = []
    made = each.default.made() if each.default else {}
    quoted = each.name.replace('"', '""')
    identity = made.pop("identity", None)
    more += [identity] if identity is not None else []
    if each.doubles is not None:
        source = each.doubles.replace('"', '""')
        more.append(sa.Computed(f'"{source}" * 2', persisted=True))
    if each.check:
        more.append(sa.CheckConstraint(f'"{quoted}" < 1000'))
    return sa.Column(
        each.name,
        KINDS[each.kind].type_(),
        *more,
        primary_key=each.is_key,
        nullable=each.nullable,
        autoincrement=identity is not None,
        onupdate=each.onupdate,
        **made,
    )


# Writes


@dataclass(frozen=True)
class Asked:
    """A condition. match, none: rows as they were when their ETags were read; a row may be any row
    that is there."""

    match: tuple[Values, ...] | None
    none: tuple[Values, ...] | None


ANY_ROW: Values = {}


@dataclass(frozen=True)
class Write:
    """One write as the model sees it.

    row: JSON text as sent, with the key. values: canonical, of members that Postgres can take.
    key: canonical, or a token of its own where the database makes it.
    is_bad: a value that its type does not take. is_misfit: a member that is no column.
    """

    resource: str
    op: str
    texts: Mapping[str, str]
    key: Value
    values: Values
    is_bad: bool
    is_misfit: bool
    asked: Asked | None = None


def write(rows: Rows, op: str, texts: Mapping[str, str], asked: Asked | None = None) -> Write:
    """texts: JSON text of each member, key included unless the database makes it."""
    fields = {each.name: each for each in rows.fields if not each.doubles}
    values: dict[str, Value] = {}
    is_bad = False
    for name, text in texts.items():
        if name in fields:
            if text in KINDS[fields[name].kind].bad:
                is_bad = True
            else:
                values[name] = fields[name].canonical(json.loads(text, parse_float=Decimal))
    complete = rows.key and all(each.name in values for each in rows.key)
    key = rows.key_of(values) if complete else ("new", next(_tokens))
    is_misfit = bool(set(texts) - set(fields))
    return Write(rows.resource, op, texts, key, values, is_bad, is_misfit, asked)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


@dataclass(frozen=True)
class Turn:
    """What one write does at its turn: the types of its faults, else the tables after it.

    doubts: types of faults that it may have or not.
    """

    faults: frozenset[str]
    after: Tables
    doubts: frozenset[str] = frozenset()


def _is_readable(text: str) -> bool:
    """Whether Postgres has characters for all that the JSON text escapes."""
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return "\\u0000" not in text


def turn(schema: Schema, tables: Tables, own: Write, lenient: bool = False) -> Turn:
    """Apply one write. lenient: parents and children are looked at by someone else."""
    rows = schema.rows(own.resource)
    old = tables[own.resource].get(own.key)
    if own.asked and not all(map(_is_readable, own.texts.values())):
        return Turn(frozenset({"value"}), tables)  # Postgres reads no row with it, for any question
    holds = _answers(rows, own.asked, old)
    if True not in holds:
        return Turn(frozenset({"precondition-failed"}), tables)
    done = _done(schema, tables, own, lenient)
    if False in holds:
        done = replace(done, doubts=done.doubts | {"precondition-failed"})
    return done


def _answers(rows: Rows, asked: Asked | None, now: Values | None) -> set[bool]:
    """Whether a condition holds; both if nobody can tell."""
    if asked is None:
        return {True}
    match = {True} if asked.match is None else _is_among(rows, asked.match, now)
    none = {False} if asked.none is None else _is_among(rows, asked.none, now)
    return {one and not other for one in match for other in none}


def _is_among(rows: Rows, read: Sequence[Values], now: Values | None) -> set[bool]:
    if now is None:
        return {False}
    if any(each is ANY_ROW for each in read):
        return {True}
    if now not in read:
        return {False}
    is_written = any(each.kind == "json" and now[each.name] is not None for each in rows.fields)
    return {True, False} if is_written else {True}


def _done(schema: Schema, tables: Tables, own: Write, lenient: bool) -> Turn:
    rows = schema.rows(own.resource)
    if own.is_bad:
        return Turn(frozenset({"value"}), tables)
    old = tables[own.resource].get(own.key)
    if old is None and own.op in ("merge", "delete"):
        return Turn(frozenset({"missing"}), tables)
    if own.op == "delete":
        after = _without(schema, tables, own.resource, own.key)
        if orphans(schema, after) and not lenient:
            return Turn(frozenset({"still-referenced"}), tables)
        is_held = _holds_what_goes(schema, tables, after)
        return Turn(frozenset(), after, frozenset({"still-referenced"} if is_held else ()))

    new = _row_after(rows, own, old)
    faults = _own_faults(rows, new)
    if own.op in ("create-or-merge", "create-or-ignore"):
        # Postgres looks at the new row before it looks for the old one.
        faults |= _own_faults(rows, _row_after(rows, own, None))
    if old is not None and own.op == "create-or-ignore":
        return Turn(faults, tables)
    if old is not None and own.op == "create":
        faults |= {"conflict"}
    others = [row for key, row in tables[own.resource].items() if key != own.key]
    for columns in rows.uniques:
        wanted = tuple(new[name] for name in columns)
        if None not in wanted and any(tuple(r[c] for c in columns) == wanted for r in others):
            faults |= {"conflict"}
    after = {**tables, own.resource: {**tables[own.resource], own.key: new}}
    if not lenient and any(_is_orphan(after, new, each) for each in rows.references):
        faults |= {"missing-parent"}
    return Turn(faults, tables if faults else after)


def _own_faults(rows: Rows, new: Values) -> frozenset[str]:
    """What is wrong with a row whatever else is there."""
    faults = set()
    if any(new[each.name] is None for each in rows.fields if not each.nullable):
        faults.add("null")
    if any(each.check and _exceeds(new[each.name]) for each in rows.fields):
        faults.add("check")
    return frozenset(faults)


def _row_after(rows: Rows, own: Write, old: Values | None) -> Values:
    new: dict[str, Value] = {}
    if old is not None and own.op in ("merge", "create-or-merge"):
        new |= old
        changed = [name for name in own.values if not rows.field(name).is_key]
        if changed:
            new |= {each.name: each.onupdate for each in rows.rest if each.onupdate}
        for name in changed:
            new[name] = own.values[name]
            if own.op == "merge" and rows.field(name).kind in ("json", "jsonb"):
                new[name] = _patched(old[name], own.values[name])
    else:
        new |= {each.name: each.default.value if each.default else None for each in rows.fields}
        new |= own.values
        if old is not None:
            new |= {each.name: old[each.name] for each in rows.key}
    for each in rows.fields:
        if each.doubles is not None:
            source: Any = new[each.doubles]
            new[each.name] = None if source is None else 2 * source
    return new


def _patched(old: Any, patch: Any) -> Value:
    if patch is None:
        return None
    return _document(merge_patch(None if old is None else json.loads(old), json.loads(patch)))


def _exceeds(value: Any) -> bool:
    return value is not None and value >= 1000


def _is_orphan(tables: Tables, row: Values, reference: Reference) -> bool:
    parent = tuple(row[name] for name in reference.columns)
    return None not in parent and parent not in tables[reference.parent]


def orphans(schema: Schema, tables: Tables) -> set[tuple[str, Value]]:
    """Rows that refer to one that is not there."""
    return {
        (rows.resource, key)
        for rows in schema.tables
        for key, row in tables[rows.resource].items()
        for reference in rows.references
        if _is_orphan(tables, row, reference)
    }


def _without(schema: Schema, tables: Tables, resource: str, key: Value) -> Tables:
    """The tables without a row, cascades done."""
    if key not in tables[resource]:
        return tables
    after = {**tables, resource: {k: row for k, row in tables[resource].items() if k != key}}
    for rows, reference in schema.children(resource):
        for child, row in tables[rows.resource].items():
            if child == key and rows.resource == resource:
                continue
            if tuple(row[name] for name in reference.columns) != key:
                continue
            if reference.ondelete == "CASCADE":
                after = _without(schema, after, rows.resource, child)
            elif reference.ondelete == "SET NULL" and child in after[rows.resource]:
                held = after[rows.resource][child]
                cleared = {**held, **dict.fromkeys(reference.columns)}
                after = {**after, rows.resource: {**after[rows.resource], child: cleared}}
    return after


def _holds_what_goes(schema: Schema, tables: Tables, after: Tables) -> bool:
    """Whether a row that cascades take away refers to another such row and would keep it."""
    return any(
        reference.ondelete in (None, "RESTRICT")
        and parent != (key if reference.parent == rows.resource else None)
        and parent in tables[reference.parent]
        and parent not in after[reference.parent]
        for rows in schema.tables
        for reference in rows.references
        for key, row in tables[rows.resource].items()
        if key not in after[rows.resource]
        for parent in [tuple(row[name] for name in reference.columns)]
    )


# A batch


@dataclass
class Poured:
    """A write that was poured, the members that its set has, and its rejection's type if any."""

    write: Write
    members: tuple[str, ...]
    outcome: str | None


@dataclass
class _Search:
    """Depth first through the orders of a batch."""

    schema: Schema
    queues: list[list[Poured]]
    shown: Mapping[str, Mapping[Value, Values]]
    seen: set[Hashable] = field(default_factory=set)

    def ends(self, tables: Tables) -> Iterator[Tables]:
        """Of all orders that explain the outcomes."""
        stack = [(tuple(0 for _ in self.queues), tables)]
        while stack:
            places, tables = stack.pop()
            places = self._without_refused(places, tables)
            heads = self._heads(places)
            mark = (places, _frozen(tables))
            if mark in self.seen:
                continue
            self.seen.add(mark)
            if not heads:
                yield tables
            if len(self.seen) > _MOST_STATES:
                raise Unexplained(f"no order found among {_MOST_STATES}; make the batches smaller")
            ways = [*self._steps(places, tables, heads), *self._circles(places, tables, heads)]
            stack += reversed(ways)

    def _without_refused(self, places: tuple[int, ...], tables: Tables) -> tuple[int, ...]:
        """A refused write changes nothing: it has its turn as soon as its type fits."""
        moved = True
        while moved:
            moved = False
            for queue, head in self._heads(places):
                if head.outcome:
                    told = turn(self.schema, tables, head.write)
                    if head.outcome in told.faults | told.doubts:
                        places, moved = _ahead(places, [queue]), True
        return places

    def _steps(
        self, places: tuple[int, ...], tables: Tables, heads: Sequence[tuple[int, Poured]]
    ) -> Iterator[tuple[tuple[int, ...], Tables]]:
        for queue, head in sorted(heads, key=lambda head: self._rank(places, *head)):
            if head.outcome is None:
                done = turn(self.schema, tables, head.write)
                if not done.faults:
                    yield _ahead(places, [queue]), done.after
                    if self._is_alone(head.write.resource):
                        return  # nobody else can tell when it is done

    def _circles(
        self, places: tuple[int, ...], tables: Tables, heads: Sequence[tuple[int, Poured]]
    ) -> Iterator[tuple[tuple[int, ...], Tables]]:
        sets: dict[Hashable, list[tuple[int, Poured]]] = defaultdict(list)
        for queue, head in heads:
            if head.outcome is None and not self._is_alone(head.write.resource):
                is_conditional = head.write.asked is not None
                kind = (head.write.resource, head.write.op, head.members, is_conditional)
                sets[kind].append((queue, head))
        for together in sets.values():
            while len(together) > 1:
                after = tables
                left = []
                for queue, head in together:
                    done = turn(self.schema, after, head.write, lenient=True)
                    if not done.faults:
                        after = done.after
                        left.append((queue, head))
                lost = orphans(self.schema, after)
                if together[0][1].write.op == "delete":
                    # Who leaves an orphan behind stays.
                    bad = {w.write.key for _, w in left if self._is_wanted(after, lost, w.write)}
                else:
                    bad = {key for resource, key in lost if resource == left[0][1].write.resource}
                left = [(queue, head) for queue, head in left if head.write.key not in bad]
                if len(left) == len(together):
                    yield _ahead(places, [queue for queue, _ in left]), after
                    break
                together = left

    def _is_wanted(self, tables: Tables, lost: set[tuple[str, Value]], own: Write) -> bool:
        return any(
            tuple(tables[rows.resource][key][name] for name in reference.columns) == own.key
            for rows, reference in self.schema.children(own.resource)
            for resource, key in lost
            if resource == rows.resource
        )

    def _heads(self, places: tuple[int, ...]) -> list[tuple[int, Poured]]:
        return [(n, q[places[n]]) for n, q in enumerate(self.queues) if places[n] < len(q)]

    def _is_alone(self, resource: str) -> bool:
        rows = self.schema.rows(resource)
        return not (rows.uniques or rows.references or [*self.schema.children(resource)])

    def _rank(self, places: tuple[int, ...], queue: int, head: Poured) -> Any:
        """The order that the drain is likely to have taken, which is then found at once."""
        rank = [rows.resource for rows in self.schema.tables].index(head.write.resource)
        is_delete = head.write.op == "delete"
        return (
            not self._is_alone(head.write.resource),
            places[queue],
            is_delete,
            (-rank if is_delete else rank),
            # Of rows that one key is for and that may be ignored, the one that is there came first.
            head.write.op == "create-or-ignore",
            not self._is_shown(head.write),
        )

    def _is_shown(self, own: Write) -> bool:
        there = self.shown[own.resource].get(own.key)
        new = _row_after(self.schema.rows(own.resource), own, None)
        return there is not None and _fits(new, there)


def explained(
    schema: Schema,
    tables: Tables,
    batch: Sequence[Poured],
    shown: Mapping[str, Sequence[Any]],
) -> Tables:
    """The tables after a batch, in the order in which it was accepted. Raises Unexplained.

    shown: rows of each resource as parsed JSON.
    """
    queues: dict[Hashable, list[Poured]] = defaultdict(list)
    for poured in batch:
        rows = schema.rows(poured.write.resource)
        own = (rows.resource, poured.write.key) if rows.ordered else next(_tokens)
        queues[own].append(poured)
    told = [f"{p.write.op} {p.write.resource} {p.write.texts}: {p.outcome}" for p in batch]
    wrong = "no order of these explains what became of them"
    there = {
        rows.resource: {rows.key_of(row): row for row in _canonical(rows, shown)}
        for rows in schema.tables
    }
    is_open = any(each.ondelete for rows in schema.tables for each in rows.references) or any(
        not schema.rows(poured.write.resource).ordered and poured.write.op != "create"
        for poured in batch
    )
    for after in _Search(schema, list(queues.values()), there).ends(tables):
        try:
            return _settled(schema, after, shown)
        except Unexplained as error:
            wrong = str(error)
        if not is_open:
            break  # all orders end alike; only with cascades, or keys without order, they need not
    raise Unexplained("\n".join([wrong, *told]))


def _settled(schema: Schema, tables: Tables, shown: Mapping[str, Sequence[Any]]) -> Tables:
    """The tables with what the database made filled in. Raises Unexplained if they differ."""
    after: Tables = {}
    for rows in schema.tables:
        after[rows.resource] = _matched(rows, tables[rows.resource], _canonical(rows, shown))
    return after


def _canonical(rows: Rows, shown: Mapping[str, Sequence[Any]]) -> list[dict[str, Value]]:
    return [
        {each.name: each.canonical(row[each.name]) for each in rows.fields}
        for row in shown[rows.resource]
    ]


def _matched(
    rows: Rows, wanted: Mapping[Value, Values], there: list[dict[str, Value]]
) -> dict[Value, Values]:
    by_key = {rows.key_of(row): row for row in there} if rows.key else {}
    matched: dict[Value, Values] = {}
    left = list(there)
    for key, row in wanted.items():
        if (found := by_key.get(key)) is not None:
            if not _fits(row, found):
                raise Unexplained(f"{rows.resource}: {row} is wanted, there is {found}")
            left.remove(found)
            matched[key] = found
    # Keys that the database made are found among the rows that are left.
    others = {key: row for key, row in wanted.items() if key not in by_key}
    for key, found in zip(others, _paired(list(others.values()), left), strict=True):
        if found is None:
            raise Unexplained(f"{rows.resource}: {others[key]} is wanted, there is {left}")
        matched[rows.key_of(found) if rows.key else key] = found
    if len(left) > len(others):
        raise Unexplained(f"{rows.resource}: more than {[*others.values()]} is there: {left}")
    return matched


def _paired(wanted: Sequence[Values], there: Sequence[Values]) -> list[Values | None]:
    """A row of its own for each that is wanted, where there is one for all of them."""
    taken: dict[int, int] = {}  # which place in `there` is whose

    def finds(who: int, tried: set[int]) -> bool:
        for place in range(len(there)):
            if place not in tried and _fits(wanted[who], there[place]):
                tried.add(place)
                if place not in taken or finds(taken[place], tried):
                    taken[place] = who
                    return True
        return False

    for who in range(len(wanted)):
        finds(who, set())
    found = {who: there[place] for place, who in taken.items()}
    return [found.get(who) for who in range(len(wanted))]


def _fits(wanted: Values, found: Values) -> bool:
    return all(
        found[name] is not None if value == ANY else found[name] == value
        for name, value in wanted.items()
    )


def _ahead(places: tuple[int, ...], queues: Sequence[int]) -> tuple[int, ...]:
    return tuple(place + (queue in queues) for queue, place in enumerate(places))


def _frozen(tables: Tables) -> Hashable:
    return tuple(
        frozenset((key, frozenset(row.items())) for key, row in rows.items())
        for rows in tables.values()
    )


def counted(outcomes: Sequence[str | None]) -> Counter[str]:
    return Counter(outcome or "applied" for outcome in outcomes)

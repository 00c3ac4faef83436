"""Random tables for the model of the drain, and values that compare as in Postgres."""

import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

ANY = "(made by the database)"
"""A value made by the database: the model adopts what the table has, which must not change."""

Value = Hashable
Values = Mapping[str, Value]


# Kinds of columns


@dataclass(frozen=True)
class Default:
    """The default of a column. made: arguments of `Column`. value: canonical, or ANY."""

    made: Callable[[], dict[str, Any]]
    value: Value


@dataclass(frozen=True)
class Kind:
    """A type with some values as JSON texts, some of which are spellings of the same value.

    bad: values that Postgres refuses. canonical: maps parsed JSON to one value for all equal ones.
    is_told_apart: whether the JSON alone says which values are equal.
    """

    type_: Callable[[], Any]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    canonical: Callable[[Any], Value]
    defaults: tuple[Default, ...] = ()
    is_key: bool = True
    is_told_apart: bool = True


def document(value: Any) -> str:
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
    "double": Kind(
        lambda: sa.Double(), ("1.5", "15e-1", "0.1"), ('"x"',), float,
        is_told_apart=False,
    ),
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
        is_told_apart=False,
    ),
    "jsonb": Kind(
        lambda: pg.JSONB(),
        ('{"a":{"x":1,"y":null}}', '{"a":{"x":null,"z":2},"b":null}', '{"a":null}', "{}", "[1]",
         '{"a":[{"x":null}]}', '"text"', "0", "false"),
        (),
        document,
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
        document,
        is_key=False,
    ),
    "integers": Kind(
        lambda: sa.ARRAY(sa.Integer),
        ("[1,null]", "[]", "[1,2,3]"),
        ('["x"]', "[[1],[1,2]]"),
        document,
        (_default("[]", default=list), _default("[1]", server_default="{1}")),
        is_key=False,
    ),
    "texts": Kind(
        lambda: sa.ARRAY(sa.Text), ('["a",null]', '["{,}\\"\\\\"]'), ("{}",), document,
        is_key=False,
    ),
}  # fmt: skip


# Tables


@dataclass(frozen=True)
class Field:
    """A column. check: whether values from 1000 on are refused. doubles: the column that it is
    generated from. is_coarse: whether it has few values, so that composite keys repeat.
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
        """Return the canonical value of parsed JSON that Postgres accepts."""
        return None if shown is None else KINDS[self.kind].canonical(shown)

    def __repr__(self) -> str:
        words = [self.name, self.kind]
        words += ["key"] if self.is_key else [] if self.nullable else ["not null"]
        words += [f"default {self.default.value}"] if self.default else []
        words += ["check < 1000"] if self.check else []
        words += [f"onupdate {self.onupdate}"] if self.onupdate else []
        words += [f"doubles {self.doubles}"] if self.doubles else []
        return f"<{' '.join(words)}>"


@dataclass(frozen=True)
class Reference:
    """A foreign key from these columns to the key of a resource."""

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
        """The columns that a write may set besides the key."""
        return tuple(each for each in self.fields if not each.is_key and not each.doubles)

    @property
    def name(self) -> str:
        quoted = self.table.replace('"', '""')
        return f'"{self.schema}"."{quoted}"' if self.schema else f'"{quoted}"'

    def field(self, name: str) -> Field:
        return next(each for each in self.fields if each.name == name)

    def key_of(self, row: Values) -> Value:
        return tuple(row[each.name] for each in self.key)

    def told_apart(self, key: Value) -> Value:
        """Return what the JSON alone says of a key: keys that share it may be equal."""
        if not isinstance(key, tuple) or all(KINDS[each.kind].is_told_apart for each in self.key):
            return key
        pairs = zip(self.key, key, strict=True)
        return tuple(value for each, value in pairs if KINDS[each.kind].is_told_apart)


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
    """Return the schema of a number, always the same one."""
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
    """Return the tables of all schemas in SQLAlchemy Core."""
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

"""The statements that bring a database from one catalog to another."""

from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass

from chalicelib.postgres.resources import ModelError
from decanter.migration.catalog import Catalog, Definition, Key, Thing

_INDENT = " " * 4

_HOLDS_NOTHING = frozenset(
    ("index", "constraint", "domain check", "view", "function", "trigger", "default")
)
"""Kinds that can be dropped and made anew, and nothing is lost."""

_LAST = ("type", "sequence", "function", "schema", "extension")
"""Kinds that go when nothing has them any more."""

_ORDER = {
    kind: place
    for place, kind in enumerate(
        (
            "extension", "schema", "type", "domain default", "domain not null", "domain check",
            "sequence", "function", "table", "column", "default", "owner", "constraint", "index",
            "view", "trigger", "comment",
        )
    )
}  # fmt: skip
_CONSTRAINTS = {"p": 0, "u": 1, "x": 2, "c": 3, "f": 4}


class Unwritable(ModelError):
    """What no statement brings about, and what to do."""


@dataclass(frozen=True)
class Step:
    """One statement of a revision.

    alone: it must be committed before others can rely on it. laid_out: its line breaks are ours.
    casts: ends of it, one of which it takes where Postgres has no cast of its own.
    """

    sql: str
    alone: bool = False
    laid_out: bool = False
    casts: tuple[str, ...] = ()


def steps(old: Catalog, new: Catalog, *, thorough: bool = False) -> list[Step]:
    """All of `new`, and nothing but that.

    thorough: what depends on a column is dropped while its type changes, and a domain that becomes
    stricter is made anew; otherwise Postgres is left to take it over, which is cheaper, and which
    it cannot always. Raises Unwritable.
    """
    return list(_Plan(old, new, thorough).steps())


def dependents(catalog: Catalog, roots: Iterable[Key]) -> set[Key]:
    """What cannot be without any of these, directly or by others; these included."""
    users: dict[Key, list[Key]] = {}
    for key, thing in catalog.items():
        for need in thing.needs:
            users.setdefault(need, []).append(key)
    found, open_ = set(roots), list(roots)
    while open_:
        for user in users.get(open_.pop(), ()):
            if user not in found:
                found.add(user)
                open_.append(user)
    return found


def drop_statement(key: Key, thing: Thing) -> str:
    """What drops it."""
    return _dropped(key, thing.definition)


class _Plan:
    def __init__(self, old: Catalog, new: Catalog, thorough: bool) -> None:
        self.old, self.new = old, new
        self.gone = old.keys() - new.keys()
        self.added = new.keys() - old.keys()
        self.changed = {
            key for key in old.keys() & new.keys() if old[key].definition != new[key].definition
        }
        self.renamed = dict(_renamed(old, new, self.gone, self.added))
        self.gone -= self.renamed.keys()
        self.added -= set(self.renamed.values())
        for key in self.changed:
            _refuse_what_cannot_change(key, old[key].definition, new[key].definition)
        self.rebuilt = self._rebuilt_types(thorough)
        self.retyped = {
            key
            for key in old.keys() & new.keys()
            if key[0] == "column" and (self._is_retyped(key) or old[key].needs & self.rebuilt)
        }
        self.anew = self._made_anew(thorough)

    def steps(self) -> Iterator[Step]:
        old, new = self.old, self.new
        for key in sorted(self.changed - self.rebuilt):
            if key[0] == "type":
                labels = (each[key].definition[1] for each in (old, new))
                for sql in _added_labels(key[1], *labels):
                    yield Step(sql, alone=True)
        yield from self._drops()
        for before, after in self.renamed.items():
            if before[0] != "owner":
                yield Step(_rename(before, after))
        for key in in_order(old, self.rebuilt):
            yield Step(f"ALTER {_type_kind(old[key])} {key[1]} RENAME TO {_before(key)[1]}")
        made = self.added | self.changed | self.anew | self.rebuilt | self.retyped
        made |= {key for key in new if self._is_lost(key)}
        inside = self._inside_created_tables()
        for key in in_order(new, made - inside):
            if key in self.added | self.anew:
                if key[0] == "table":
                    yield self._create_table(key, inside)
                else:
                    yield from self._create(key)
            else:
                yield from self._alter(key)
        for key in reversed(in_order(old, self.rebuilt)):
            schema, name = _before(key)
            yield Step(f"DROP {_type_kind(old[key])} {schema}{name}")
        goes_along = self._goes_along()
        for key in reversed(in_order(old, self.gone - goes_along)):
            if key[0] in _LAST:
                yield Step(_dropped(key, old[key].definition))

    def _is_lost(self, key: Key) -> bool:
        """Whether it went with the thing that it is said of, which is made anew."""
        of = key[1:] if key[0] == "comment" else ("type", key[1])
        is_part = key[0] == "comment" or key[0].startswith("domain ")
        return is_part and of in self.anew | self.rebuilt

    def _drops(self) -> Iterator[Step]:
        goes_along = self._goes_along()
        for key in reversed(in_order(self.old, (self.gone | self.anew) - goes_along)):
            if key[0] not in _LAST or key in self.anew:
                yield Step(_dropped(key, self.old[key].definition))
        for key in sorted(self.changed - self.anew):
            # A sequence with the name of its own may be made.
            if (
                key[0] == "column"
                and self.old[key].definition[3]
                and not self.new[key].definition[3]
            ):
                yield Step(f"ALTER TABLE {key[1]} ALTER COLUMN {key[2]} DROP IDENTITY")

    def _goes_along(self) -> set[Key]:
        """What is gone by itself when the table, column or domain that it is of is dropped, and
        what can only be left."""
        whole = {key for key in self.gone | self.anew if key[0] in ("table", "column", "type")}
        whole |= self.rebuilt
        found: set[Key] = set()
        for key in self.gone | self.anew:
            match key:
                case ("column" | "default" | "trigger", table, *_):
                    along = ("table", table) in whole
                case ("constraint", table, _):
                    along = ("table", table) in whole and self.old[key].definition[0] != "f"
                case ("index", _):
                    along = ("table", self.old[key].definition[0]) in whole
                case ("domain default" | "domain not null" | "domain check", domain, *_):
                    along = ("type", domain) in whole
                case ("owner", _):
                    owner = ("column", *self.old[key].definition)
                    along = ("sequence", key[1]) in self.gone and (
                        owner in whole or ("table", owner[1]) in whole
                    )
                    if along:
                        found.add(("sequence", key[1]))
                case ("comment", *thing):
                    along = tuple(thing) in self.gone | self.anew
                case _:
                    along = False
            if not along and key[0] == "default":
                along = ("column", *key[1:]) in whole
            if along:
                found.add(key)
        return found

    def _rebuilt_types(self, thorough: bool) -> set[Key]:
        old, new = self.old, self.new
        found = {
            key
            for key in self.changed
            if key[0] == "type" and not _takes_labels(old[key].definition, new[key].definition)
        }
        if thorough:  # no domain becomes stricter of which there are arrays
            stricter = self.added | self.changed
            found |= {
                ("type", k[1]) for k in stricter if k[0] in ("domain check", "domain not null")
            }
            found &= old.keys()
        return {key for key in dependents(old, found) if key[0] == "type" and key in new}

    def _is_retyped(self, key: Key) -> bool:
        return self.old[key].definition[:2] != self.new[key].definition[:2]

    def _made_anew(self, thorough: bool) -> set[Key]:
        """What is dropped first and made again: it changes, or something that it depends on."""
        old, new = self.old, self.new
        found = {
            key
            for key in self.changed
            if key[0] in _HOLDS_NOTHING
            or (key[0] == "column" and _changes_generation(old[key], new[key]))
        }
        moved = found | self.gone | self.rebuilt | self.retyped
        left: set[Key] = set()
        while moved:
            users = {
                key
                for key, thing in old.items()
                if key in new and key not in found and thing.needs & moved
            }
            moved = {key for key in users if self._is_in_the_way(key, found, thorough)} - left
            found |= moved
            left |= users
        return found

    def _is_in_the_way(self, key: Key, found: Set[Key], thorough: bool) -> bool:
        """Whether it has to be dropped while something that it needs changes."""
        if key[0] == "column":
            return bool(self.old[key].definition[5])
        if key[0] in ("constraint", "index", "domain check"):
            return thorough or bool(self.old[key].needs & (self.gone | found))
        return key[0] in _HOLDS_NOTHING

    def _inside_created_tables(self) -> set[Key]:
        """Columns, defaults and constraints that CREATE TABLE says."""
        found: set[Key] = set()
        for key in self.added:
            match key:
                case ("column" | "default", table, *_):
                    inside = ("table", table) in self.added
                case ("constraint", table, _):
                    inside = ("table", table) in self.added and all(
                        need[0] in ("column", "table") and need[1] == table
                        for need in self.new[key].needs
                    )
                    inside = inside and self.new[key].definition[0] != "f"
                case _:
                    inside = False
            if inside:
                found.add(key)
        return found

    def _create_table(self, key: Key, inside: Set[Key]) -> Step:
        table = key[1]
        kind, persistence, partition_key, parents, bound, options = self.new[key].definition
        if kind == "f":
            raise Unwritable(f"{table} is a foreign table; write its revision yourself.")
        parts: list[str] = []
        constraints: list[tuple[int, str, str]] = []
        for part, thing in self.new.items():
            if part not in inside or part[1] != table:
                continue
            if part[0] == "column":
                parts.append(self._column(part))
            elif part[0] == "constraint":
                type_, definition = thing.definition
                text = f"CONSTRAINT {part[2]} {definition}"
                constraints.append((_CONSTRAINTS[type_], part[2], text))
        parts += [text for *_, text in sorted(constraints)]
        head = f"CREATE {'UNLOGGED ' if persistence == 'u' else ''}TABLE {table}"
        if bound:
            head += f" PARTITION OF {parents[0]}"
        text = head
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

    def _column(self, key: Key) -> str:
        type_, collation, not_null, identity, sequence, generated, expression = self.new[
            key
        ].definition
        text = f"{key[2]} {type_}"
        if collation:
            text += f" COLLATE {collation}"
        if ("default", *key[1:]) in self.new:
            text += f" DEFAULT {self.new['default', *key[1:]].definition[0]}"
        if identity:
            text += f" {_identity(identity, sequence, type_)}"
        if generated:
            kind = "STORED" if generated == "s" else "VIRTUAL"
            text += f" GENERATED ALWAYS AS ({expression}) {kind}"
        return text + (" NOT NULL" if not_null else "")

    def _create(self, key: Key) -> Iterator[Step]:
        definition = self.new[key].definition
        match key:
            case ("column", table, _):
                yield Step(f"ALTER TABLE {table} ADD COLUMN {self._column(key)}")
            case ("default", table, column) if ("column", table, column) in self.added | self.anew:
                return  # with its column
            case ("type", _):
                yield self._create_type(key[1], definition)
            case ("owner", name):
                yield Step(_created(key, definition))
                owner: Key = ("column", *definition)
                if owner in self.old and self.new[owner].definition[0] in _MOST:
                    sequence = self.new["sequence", name].definition[1:]
                    yield _continued(_quoted(name), owner, sequence)
            case _:
                yield Step(_created(key, definition))

    def _create_type(self, name: str, definition: Definition) -> Step:
        match definition:
            case ("enum", labels):
                return Step(f"CREATE TYPE {name} AS ENUM ({', '.join(map(_quoted, labels))})")
            case ("composite", attributes):
                return Step(f"CREATE TYPE {name} AS ({', '.join(attributes)})")
            case ("range", text):
                return Step(f"CREATE TYPE {name} AS RANGE ({text})")
        _, base, collation = definition
        return Step(
            f"CREATE DOMAIN {name} AS {base}" + (f" COLLATE {collation}" if collation else "")
        )

    def _alter(self, key: Key) -> Iterator[Step]:
        old, new = self.old[key].definition, self.new[key].definition
        match key:
            case ("column", table, column):
                yield from self._alter_column(key, f"ALTER TABLE {table} ALTER COLUMN {column}")
            case ("table", table):
                yield from _alter_table(table, old, new)
            case ("type", name):
                if key in self.rebuilt:
                    yield self._create_type(name, new)
            case ("sequence", name):
                step = Step(f"ALTER SEQUENCE {name} {_sequence(new, every=True)}")
                yield from _restarted(step, _quoted(name), old[1:], new[1:])
            case _:  # a new one takes the place of the old one
                yield Step(_created(key, new))

    def _alter_column(self, key: Key, alter: str) -> Iterator[Step]:
        column = key[2]
        old, new = self.old[key], self.new[key]
        type_, collation, not_null, identity, sequence, *_ = new.definition
        if old.definition[5] and not new.definition[5]:
            yield Step(f"{alter} DROP EXPRESSION")
        if key in self.retyped:
            text = f"{alter} TYPE {type_}" + (f" COLLATE {collation}" if collation else "")
            casts = f" USING {column}::{type_}", f" USING {column}::text::{type_}"
            if new.needs & self.rebuilt:
                yield Step(text + casts[1])
            else:
                yield Step(text, casts=casts)
        if not_null != old.definition[2]:
            yield Step(f"{alter} {'SET' if not_null else 'DROP'} NOT NULL")
        if identity and not old.definition[3]:
            yield Step(f"{alter} ADD {_identity(identity, sequence, type_)}")
            yield _continued(_sequence_of(key), key, sequence)
        elif identity and (identity, sequence) != old.definition[3:5]:
            kind = "ALWAYS" if identity == "a" else "BY DEFAULT"
            options = "".join(f" SET {each}" for each in _options(type_, *sequence, every=True))
            yield from _restarted(
                Step(f"{alter} SET GENERATED {kind}{options}"),
                _sequence_of(key), old.definition[4], sequence,
            )  # fmt: skip


def _sequence_of(column: Key) -> str:
    """The name of an identity's sequence, as an expression."""
    return f"pg_get_serial_sequence({_quoted(column[1])}, {_quoted(unquoted(column[2]))})"


def _continued(name: str, column: Key, sequence: tuple[int, ...]) -> Step:
    """The numbers of a sequence go on after those that are there."""
    last = f"{'max' if sequence[1] > 0 else 'min'}({column[2]})"
    return Step(
        f"SELECT setval({name}, {last}) FROM {column[1]}"
        f" HAVING {last} BETWEEN {sequence[2]} AND {sequence[3]}"
    )


def _restarted(step: Step, name: str, old: tuple[int, ...], new: tuple[int, ...]) -> Iterator[Step]:
    """A change of a sequence; where it stands has to be within its new bounds."""
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
    else:  # where it has never been
        yield Step(f"{step.sql} RESTART")


def _renamed(
    old: Catalog, new: Catalog, gone: Set[Key], added: Set[Key]
) -> Iterator[tuple[Key, Key]]:
    """Constraints and indexes that have another name now and are the same otherwise, and sequences
    of the same column."""
    for kind in ("constraint", "index", "owner"):
        free = [key for key in in_order(new, added) if key[0] == kind]
        for before in in_order(old, {key for key in gone if key[0] == kind}):
            for after in free:
                same_table = kind != "constraint" or before[1] == after[1]
                if same_table and old[before].definition == new[after].definition:
                    if kind == "owner":
                        sequences = ("sequence", before[1]), ("sequence", after[1])
                        if sequences[0] in gone and sequences[1] in added:
                            yield sequences
                    yield before, after
                    free.remove(after)
                    break


def _rename(before: Key, after: Key) -> str:
    if before[0] == "constraint":
        return f"ALTER TABLE {before[1]} RENAME CONSTRAINT {before[2]} TO {after[2]}"
    kind = "INDEX" if before[0] == "index" else "SEQUENCE"
    return f"ALTER {kind} {before[1]} RENAME TO {split(after[1])[1]}"


def _refuse_what_cannot_change(key: Key, old: Definition, new: Definition) -> None:
    if key[0] == "table" and (old[0], old[2:5]) != (new[0], new[2:5]):
        was, wanted = (_partitioned(each) for each in (old, new))
        raise Unwritable(
            f"Table {key[1]} is {was} and the models want it {wanted}, which no statement changes."
            " Write a revision that makes a table beside it, copies the rows, drops the old one and"
            " renames the new one."
        )


def _partitioned(definition: Definition) -> str:
    _, _, key, parents, bound, _ = definition
    text = f"partitioned by {key}" if key else "" if parents else "not partitioned"
    if parents:
        text += f" a {'partition' if bound else 'child'} of {', '.join(parents)} {bound or ''}"
    return text.strip()


def _takes_labels(old: Definition, new: Definition) -> bool:
    """Whether labels only have to be added to the enum."""
    if (old[0], new[0]) != ("enum", "enum"):
        return False
    return bool(tuple(label for label in new[1] if label in old[1]) == old[1])


def _added_labels(name: str, old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[str]:
    for place, label in enumerate(new):
        if label not in old:
            where = f" AFTER {_quoted(new[place - 1])}"
            if place == 0:
                where = f" BEFORE {_quoted(old[0])}" if old else ""
            yield f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {_quoted(label)}{where}"


def _changes_generation(old: Thing, new: Thing) -> bool:
    """Whether what generates a column changes; one that is stored can be made a plain one."""
    before, after = old.definition[5:], new.definition[5:]
    return bool(before != after and not (before[0] == "s" and not after[0]))


def _alter_table(table: str, old: Definition, new: Definition) -> Iterator[Step]:
    if old[1] != new[1]:
        yield Step(f"ALTER TABLE {table} SET {'UNLOGGED' if new[1] == 'u' else 'LOGGED'}")
    before, after = ({*(each[5] or ())} for each in (old, new))
    names = {option.partition("=")[0] for option in before}
    if unset := names - {option.partition("=")[0] for option in after}:
        yield Step(f"ALTER TABLE {table} RESET ({', '.join(sorted(unset))})")
    if set_ := after - before:
        yield Step(f"ALTER TABLE {table} SET ({', '.join(sorted(set_))})")


def _created(key: Key, definition: Definition) -> str:
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
            return f"CREATE SEQUENCE {name} {_sequence(definition)}".strip()
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
        case ("comment", *thing):
            return f"COMMENT ON {_named(tuple(thing))} IS {_quoted(definition[0])}"
        case ("function" | "trigger", *_) if definition[0] is not None:
            return str(definition[0])
    raise Unwritable(f"{_named(key)} differs; write its revision yourself.")


def _dropped(key: Key, definition: Definition) -> str:
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
        case ("comment", *thing):
            return f"COMMENT ON {_named(tuple(thing))} IS NULL"
        case ("view", name) if definition[0]:
            return f"DROP MATERIALIZED VIEW {name}"
        case ("type", name) if definition[0] == "domain":
            return f"DROP DOMAIN {name}"
        case ("table", name) if definition[0] == "f":
            return f"DROP FOREIGN TABLE {name}"
    return f"DROP {_named(key)}"


def _named(key: Key) -> str:
    """As COMMENT ON and most of DROP have it."""
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


def _identity(kind: str, sequence: tuple[int, ...], type_: str) -> str:
    options = " ".join(_options(type_, *sequence))
    always = "ALWAYS" if kind == "a" else "BY DEFAULT"
    return f"GENERATED {always} AS IDENTITY" + (f" ({options})" if options else "")


def _sequence(definition: Definition, *, every: bool = False) -> str:
    type_, *options = definition
    typed = [f"AS {type_}"] if every or type_ != "bigint" else []
    return " ".join([*typed, *_options(type_, *options, every=every)])


_MOST = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}


def _options(
    type_: str, start: int, increment: int, least: int, most: int, cache: int, cycles: int,
    *, every: bool = False,
) -> Iterator[str]:  # fmt: skip
    """Of a sequence, those that are not what Postgres takes by itself."""
    limit = _MOST.get(type_, 2**63)
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


def _type_kind(thing: Thing) -> str:
    return "DOMAIN" if thing.definition[0] == "domain" else "TYPE"


def _before(key: Key) -> tuple[str, str]:
    """What a type is called while another takes its place: schema with its dot, and name."""
    schema, name = split(key[1])
    bare = unquoted(name).encode()[:55].decode(errors="ignore")
    return schema, '"' + f"{bare}_before".replace('"', '""') + '"'


def split(name: str) -> tuple[str, str]:
    """A qualified name: the schema with its dot, or nothing, and the name."""
    if not name.endswith('"'):
        schema, dot, last = name.rpartition(".")
        return schema + dot, last
    start = len(name) - 1
    while True:  # back over a quoted name, in which quotes are doubled
        start = name.rindex('"', 0, start)
        if start == 0 or name[start - 1] != '"':
            return name[:start], name[start:]
        start -= 1


def unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _quoted(text: str) -> str:
    # With a backslash in it, an E keeps its meaning whatever the server is set to.
    doubled = text.replace("'", "''")
    return "E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in text else f"'{doubled}'"


def in_order(catalog: Catalog, keys: Collection[Key]) -> list[Key]:
    """What others need comes before them; otherwise by kind and name."""
    chosen = {*keys}
    found: dict[Key, None] = {}
    way: set[Key] = set()

    def visit(key: Key) -> None:
        if key in way or key in found or key not in catalog:
            return
        way.add(key)
        for need in sorted(catalog[key].needs, key=place):
            visit(need)
        way.discard(key)
        found[key] = None

    def place(key: Key) -> tuple[int, Key]:
        return _ORDER[key[0]], key

    for key in sorted(chosen, key=place):
        visit(key)
    return [key for key in found if key in chosen]

"""The statements that bring a database from one catalog to another."""

from collections.abc import Iterator, Set

from decanter.migration import statements as sql
from decanter.migration.catalog import Catalog, CatalogEntry, Definition, Key
from decanter.migration.order import dependents, sort_by_dependency
from decanter.migration.statements import Step, Unwritable

_HOLDS_NOTHING = frozenset(
    (
        *("index", "constraint", "domain check", "view", "function", "trigger", "default"),
        "placement",
    )
)
"""Kinds that can be dropped and recreated without losing data."""

_LAST = ("type", "sequence", "function", "schema", "extension")
"""Kinds that are dropped once nothing uses them any more."""


def steps(old: Catalog, new: Catalog, *, thorough: bool = False) -> list[Step]:
    """Return the statements that turn `old` into exactly `new`. Raise Unwritable.

    thorough: drop what depends on a column while its type changes, and recreate a domain that
    becomes stricter. Otherwise Postgres has to adapt them itself, which is cheaper and not always
    possible.
    """
    return list(_Plan(old, new, thorough).steps())


class _Plan:
    def __init__(self, old: Catalog, new: Catalog, thorough: bool) -> None:
        self.old, self.new = old, new
        self.removed = old.keys() - new.keys()
        self.added = new.keys() - old.keys()
        self.changed = {
            key for key in old.keys() & new.keys() if old[key].definition != new[key].definition
        }
        self.renamed = dict(_find_renamed(old, new, self.removed, self.added))
        self.removed -= self.renamed.keys()
        self.added -= set(self.renamed.values())
        for key in self.changed:
            _refuse_impossible_change(key, old[key].definition, new[key].definition)
        self.rebuilt = self._find_rebuilt_types(thorough)
        self.retyped = {
            key
            for key in old.keys() & new.keys()
            if key[0] == "column" and (self._is_retyped(key) or old[key].needs & self.rebuilt)
        }
        self.recreated = self._find_recreated(thorough)

    def steps(self) -> Iterator[Step]:
        old, new = self.old, self.new
        for key in sorted(self.changed - self.rebuilt):
            if key[0] == "type":
                labels = (each[key].definition[1] for each in (old, new))
                yield from sql.add_labels(key[1], *labels)
        yield from self._drop_steps()
        for before, after in self.renamed.items():
            if before[0] != "owner":
                yield Step(sql.rename_statement(before, after))
        for key in sort_by_dependency(old, self.rebuilt):
            yield Step(
                f"ALTER {sql.type_keyword(old[key])} {key[1]} RENAME TO {sql.replaced_name(key)[1]}"
            )
        made = self.added | self.changed | self.recreated | self.rebuilt | self.retyped
        made |= {key for key in new if self._is_lost_with_owner(key)}
        inline = self._find_inline_parts()
        for key in sort_by_dependency(new, made - inline):
            if key in self.added | self.recreated:
                if key[0] == "table":
                    yield sql.create_table(self.new, key[1], inline)
                else:
                    yield from self._create(key)
            else:
                yield from self._alter(key)
        for key in reversed(sort_by_dependency(old, self.rebuilt)):
            schema, name = sql.replaced_name(key)
            yield Step(f"DROP {sql.type_keyword(old[key])} {schema}{name}")
        implicit = self._find_implicitly_dropped()
        for key in reversed(sort_by_dependency(old, self.removed - implicit)):
            if key[0] in _LAST:
                yield Step(sql.drop_statement(key, old[key].definition))

    def _is_lost_with_owner(self, key: Key) -> bool:
        """Whether it was dropped with the object that it belongs to, which is recreated."""
        of = key[1:] if key[0] == "comment" else ("type", key[1])
        is_part = key[0] == "comment" or key[0].startswith("domain ")
        return is_part and of in self.recreated | self.rebuilt

    def _drop_steps(self) -> Iterator[Step]:
        implicit = self._find_implicitly_dropped()
        for key in reversed(
            sort_by_dependency(self.old, (self.removed | self.recreated) - implicit)
        ):
            if key[0] == "placement" and (column := self._identity(key[1])):
                raise Unwritable(
                    f"Citus does not move {key[1]}, whose column {column} is an identity. Write a"
                    " revision that creates a second table, copies the rows, drops the old table"
                    " and renames the new one; or leave the placement of the table as it was."
                )
            if key[0] not in _LAST or key in self.recreated:
                yield Step(sql.drop_statement(key, self.old[key].definition))
        for key in sorted(self.changed - self.recreated):
            # The new catalog may have a sequence with the name of the identity's.
            if (
                key[0] == "column"
                and self.old[key].definition[3]
                and not self.new[key].definition[3]
            ):
                yield Step(f"ALTER TABLE {key[1]} ALTER COLUMN {key[2]} DROP IDENTITY")

    def _identity(self, table: str) -> str | None:
        columns = (key for key in self.old if key[:2] == ("column", table))
        return next((key[2] for key in columns if self.old[key].definition[3]), None)

    def _find_implicitly_dropped(self) -> set[Key]:
        """Objects that Postgres drops with their table, column or domain, and comments of dropped
        objects."""
        whole = {
            key for key in self.removed | self.recreated if key[0] in ("table", "column", "type")
        }
        whole |= self.rebuilt
        found: set[Key] = set()
        for key in self.removed | self.recreated:
            match key:
                case ("column" | "default" | "trigger" | "placement", table, *_):
                    is_implicit = ("table", table) in whole
                case ("constraint", table, _):
                    is_implicit = ("table", table) in whole and self.old[key].definition[0] != "f"
                case ("index", _):
                    is_implicit = ("table", self.old[key].definition[0]) in whole
                case ("domain default" | "domain not null" | "domain check", domain, *_):
                    is_implicit = ("type", domain) in whole
                case ("owner", _):
                    owner = ("column", *self.old[key].definition)
                    is_implicit = ("sequence", key[1]) in self.removed and (
                        owner in whole or ("table", owner[1]) in whole
                    )
                    if is_implicit:
                        found.add(("sequence", key[1]))
                case ("comment", *subject):
                    is_implicit = tuple(subject) in self.removed | self.recreated
                case _:
                    is_implicit = False
            if key[0] == "default":
                is_implicit |= ("column", *key[1:]) in whole
            if is_implicit:
                found.add(key)
        return found

    def _find_rebuilt_types(self, thorough: bool) -> set[Key]:
        old, new = self.old, self.new
        found = {
            key
            for key in self.changed
            if key[0] == "type" and not _only_adds_labels(old[key].definition, new[key].definition)
        }
        if thorough:  # a domain in use by an array cannot become stricter
            stricter = self.added | self.changed
            found |= {
                ("type", k[1]) for k in stricter if k[0] in ("domain check", "domain not null")
            }
            found &= old.keys()
        return {key for key in dependents(old, found) if key[0] == "type" and key in new}

    def _is_retyped(self, key: Key) -> bool:
        return self.old[key].definition[:2] != self.new[key].definition[:2]

    def _find_recreated(self, thorough: bool) -> set[Key]:
        """Objects to drop first and create again: they change, or something they depend on does."""
        old, new = self.old, self.new
        found = {
            key
            for key in self.changed
            if key[0] in _HOLDS_NOTHING
            or (key[0] == "column" and _changes_generation(old[key], new[key]))
        }
        # A table is placed while it has no foreign keys, by a column whose type stays.
        placed = {key for key in self.added if key[0] == "placement"}
        for key in old.keys() & new.keys():
            is_moved = key[0] == "placement" and old[key].needs & self.retyped
            if is_moved or new[key].needs & placed:
                found.add(key)
        moved = found | self.removed | self.rebuilt | self.retyped
        left: set[Key] = set()
        while moved:
            users = {
                key
                for key, entry in old.items()
                if key in new and key not in found and entry.needs & moved
            }
            moved = {key for key in users if self._must_be_dropped(key, found, thorough)} - left
            found |= moved
            left |= users
        return found

    def _must_be_dropped(self, key: Key, found: Set[Key], thorough: bool) -> bool:
        """Whether it has to be dropped while something that it depends on changes."""
        if key[0] == "column":
            return bool(self.old[key].definition[5])
        if key[0] in ("constraint", "index", "domain check"):
            return thorough or bool(self.old[key].needs & (self.removed | found))
        return key[0] in _HOLDS_NOTHING

    def _find_inline_parts(self) -> set[Key]:
        """Columns, defaults and constraints that CREATE TABLE includes."""
        found: set[Key] = set()
        for key in self.added:
            match key:
                case ("column" | "default", table, *_):
                    inline = ("table", table) in self.added
                case ("constraint", table, _):
                    definition, needs = self.new[key]
                    inline = (
                        ("table", table) in self.added
                        and definition[0] != "f"
                        and all(
                            need[0] in ("column", "table") and need[1] == table for need in needs
                        )
                    )
                case _:
                    inline = False
            if inline:
                found.add(key)
        return found

    def _create(self, key: Key) -> Iterator[Step]:
        definition = self.new[key].definition
        match key:
            case ("column", table, _):
                yield Step(f"ALTER TABLE {table} ADD COLUMN {sql.column_clause(self.new, key)}")
            case ("default", table, column) if (
                "column",
                table,
                column,
            ) in self.added | self.recreated:
                return  # created with its column
            case ("type", _):
                yield sql.create_type(key[1], definition)
            case ("owner", name):
                yield Step(sql.create_statement(key, definition))
                owner: Key = ("column", *definition)
                if owner in self.old and self.new[owner].definition[0] in sql.INTEGER_LIMITS:
                    sequence = self.new["sequence", name].definition[1:]
                    yield sql.continue_sequence(sql.quote_literal(name), owner, sequence)
            case _:
                yield Step(sql.create_statement(key, definition))

    def _alter(self, key: Key) -> Iterator[Step]:
        old, new = self.old[key].definition, self.new[key].definition
        match key:
            case ("column", table, column):
                yield from self._alter_column(key, f"ALTER TABLE {table} ALTER COLUMN {column}")
            case ("table", table):
                yield from sql.alter_table(table, old, new)
            case ("type", name):
                if key in self.rebuilt:
                    yield sql.create_type(name, new)
            case ("sequence", name):
                step = Step(f"ALTER SEQUENCE {name} {sql.sequence_clause(new, every=True)}")
                yield from sql.alter_sequence(step, sql.quote_literal(name), old[1:], new[1:])
            case _:  # replaces the old one
                yield Step(sql.create_statement(key, new))

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
            yield Step(f"{alter} ADD {sql.identity_clause(identity, sequence, type_)}")
            yield sql.continue_sequence(sql.identity_sequence(key), key, sequence)
        elif identity and (identity, sequence) != old.definition[3:5]:
            kind = "ALWAYS" if identity == "a" else "BY DEFAULT"
            options = "".join(
                f" SET {each}" for each in sql.sequence_options(type_, *sequence, every=True)
            )
            yield from sql.alter_sequence(
                Step(f"{alter} SET GENERATED {kind}{options}"),
                sql.identity_sequence(key), old.definition[4], sequence,
            )  # fmt: skip


def _find_renamed(
    old: Catalog, new: Catalog, removed: Set[Key], added: Set[Key]
) -> Iterator[tuple[Key, Key]]:
    """Yield old and new key of constraints and indexes that differ in their name alone, and of
    sequences with the same owner."""
    for kind in ("constraint", "index", "owner"):
        free = [key for key in sort_by_dependency(new, added) if key[0] == kind]
        for before in sort_by_dependency(old, {key for key in removed if key[0] == kind}):
            for after in free:
                same_table = kind != "constraint" or before[1] == after[1]
                if same_table and old[before].definition == new[after].definition:
                    if kind == "owner":
                        sequences = ("sequence", before[1]), ("sequence", after[1])
                        if sequences[0] in removed and sequences[1] in added:
                            yield sequences
                    yield before, after
                    free.remove(after)
                    break


def _refuse_impossible_change(key: Key, old: Definition, new: Definition) -> None:
    if key[0] == "table" and (old[0], old[2:5]) != (new[0], new[2:5]):
        was, wanted = (_describe_partitioning(each) for each in (old, new))
        raise Unwritable(
            f"Table {key[1]} is {was} and the models make it {wanted}; no statement changes that."
            " Write a revision that creates a second table, copies the rows, drops the old table"
            " and renames the new one."
        )


def _describe_partitioning(definition: Definition) -> str:
    _, _, key, parents, bound, _ = definition
    text = f"partitioned by {key}" if key else "" if parents else "not partitioned"
    if parents:
        text += f" a {'partition' if bound else 'child'} of {', '.join(parents)} {bound or ''}"
    return text.strip()


def _only_adds_labels(old: Definition, new: Definition) -> bool:
    """Whether adding labels is enough to turn one enum into the other."""
    if (old[0], new[0]) != ("enum", "enum"):
        return False
    return bool(tuple(label for label in new[1] if label in old[1]) == old[1])


def _changes_generation(old: CatalogEntry, new: CatalogEntry) -> bool:
    """Whether a column has to be recreated for its expression; a stored one can become plain."""
    before, after = old.definition[5:], new.definition[5:]
    return bool(before != after and not (before[0] == "s" and not after[0]))

"""The order in which the objects of a catalog depend on each other."""

from collections.abc import Collection, Iterable

from decanter.migration.catalog import Catalog, Key

_ORDER = {
    kind: place
    for place, kind in enumerate(
        (
            "extension", "schema", "type", "domain default", "domain not null", "domain check",
            "sequence", "function", "table", "column", "default", "owner", "placement",
            "constraint", "index", "view", "trigger", "comment",
        )
    )
}  # fmt: skip


def dependents(catalog: Catalog, roots: Iterable[Key]) -> set[Key]:
    """Return all that depends on any of these, directly or not; these included."""
    users: dict[Key, list[Key]] = {}
    for key, entry in catalog.items():
        for need in entry.needs:
            users.setdefault(need, []).append(key)
    found, open_ = set(roots), list(roots)
    while open_:
        for user in users.get(open_.pop(), ()):
            if user not in found:
                found.add(user)
                open_.append(user)
    return found


def sort_by_dependency(catalog: Catalog, keys: Collection[Key]) -> list[Key]:
    """Put every object behind those that it depends on, and otherwise sort by kind and name."""
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

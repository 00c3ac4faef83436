"""The placement of tables on the nodes of a cluster, as part of a catalog.

A scratch database knows nothing of it. So it is taken from the statements that are, or were,
applied: a table has the column that it is distributed by, or None as a reference table.
"""

from collections.abc import Iterable, Mapping

from chalicelib.migrate.placing import PLACING
from decanter.migration.catalog import Catalog, CatalogEntry, Key
from decanter.migration.statements import unquoted

Placed = Mapping[str, str | None]


def placements(catalog: Catalog) -> dict[str, str | None]:
    """Return the tables that a catalog places."""
    return {key[1]: entry.definition[0] for key, entry in catalog.items() if key[0] == "placement"}


def placed_after(placed: Placed, statements: Iterable[str]) -> dict[str, str | None]:
    """Return the tables that are placed once these statements are applied as well."""
    now = dict(placed)
    for each in statements:
        if found := PLACING.match(each):
            table, column = (text and text.replace("''", "'") for text in found.group(2, 3))
            if found["what"].lower() == "undistribute_table":
                now.pop(table, None)
            elif column or found["what"].lower() == "create_reference_table":
                now[table] = column
        elif each.startswith("DROP TABLE "):
            now.pop(each.removeprefix("DROP TABLE "), None)
    return now


def add_placements(catalog: Catalog, placed: Placed) -> dict[Key, CatalogEntry]:
    """Return the catalog with the placement of its tables, which is before foreign keys are made,
    and after they are dropped."""
    found = dict(catalog)
    own: dict[str, Key] = {}
    for table, column in placed.items():
        if ("table", table) in catalog:
            own[table] = ("placement", table)
            needs = frozenset(
                key
                for key in catalog
                if key == ("table", table)
                or (key[:2] == ("column", table) and unquoted(key[2]) == column)
            )
            found[own[table]] = CatalogEntry((column,), needs)
    for key, entry in catalog.items():
        if key[0] == "constraint" and entry.definition[0] == "f":
            kinds = ("table", "column", "constraint")
            tables = {need[1] for need in entry.needs if need[0] in kinds}
            more = {own[table] for table in tables & own.keys()}
            found[key] = CatalogEntry(entry.definition, entry.needs | more)
    return found

"""The objects of a database as Postgres itself spells them, so that only real differences count.

Not included are objects of Decanter, of Postgres and of extensions, and what a partition inherits
from its table.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from chalicelib.migrate.connection import SCHEMA

Key = tuple[str, ...]
"""Kind and quoted names: ("column", "crm.customers", "region")."""

Definition = tuple[Any, ...]


class CatalogEntry(NamedTuple):
    """definition: all but kind and name. needs: keys of the objects that have to exist before."""

    definition: Definition
    needs: frozenset[Key] = frozenset()


Catalog = Mapping[Key, CatalogEntry]

# Definitions, by kind:
#   schema ()  extension ()  function (text)  view (is materialized, text, options)  trigger (text)
#   type ("enum", labels) ("domain", base, collation) ("composite", attributes) ("range", text)
#   domain default (expression)  domain not null ()  domain check (definition)
#   sequence (type, start, increment, least, most, cache, cycles)  owner (table, column)
#   table (kind, persistence, partition key, parents, bound, options)
#   column (type, collation, not null, identity, its sequence, generated, expression)
#   default (expression)  constraint (type, definition)  index (table, is unique, the rest)
#   comment (text)

_SYSTEM_SCHEMAS = f"""
    SELECT oid FROM pg_namespace
    WHERE nspname IN ('pg_catalog', 'information_schema', '{SCHEMA}')
        OR nspname LIKE 'pg\\_toast%' OR nspname LIKE 'pg\\_temp%'
"""

_MEMBERS = """
    SELECT FROM pg_depend AS member WHERE deptype = 'e' AND member.classid = {class_}::regclass
        AND member.objid = {oid}
"""


def _user_defined(class_: str, oid: str, namespace: str) -> str:
    theirs = _MEMBERS.format(class_=f"'{class_}'", oid=oid)
    return f"{namespace} NOT IN ({_SYSTEM_SCHEMAS}) AND NOT EXISTS ({theirs})"


_RELATIONS = _user_defined("pg_class", "c.oid", "relnamespace")
_TYPES = _user_defined("pg_type", "t.oid", "typnamespace")


# Each selects oid and sub-id as in pg_depend, the names of the key, and the definition.
_QUERIES: Mapping[str, str] = {
    "schema": f"""
        SELECT oid, 0, ARRAY[quote_ident(nspname)]
        FROM pg_namespace
        WHERE nspname <> 'public' AND {_user_defined("pg_namespace", "oid", "oid")}
    """,
    "extension": """
        SELECT oid, 0, ARRAY[quote_ident(extname)] FROM pg_extension WHERE extname <> 'plpgsql'
    """,
    "enum": f"""
        SELECT t.oid, 0, ARRAY[format_type(t.oid, NULL)], (
            SELECT coalesce(array_agg(enumlabel::text ORDER BY enumsortorder), '{{}}')
            FROM pg_enum WHERE enumtypid = t.oid)
        FROM pg_type AS t
        WHERE typtype = 'e' AND {_TYPES}
    """,
    "domain": f"""
        SELECT t.oid, 0, ARRAY[format_type(t.oid, NULL)], format_type(typbasetype, typtypmod),
            CASE WHEN typcollation <> 0 AND typcollation <> (
                SELECT typcollation FROM pg_type AS base WHERE base.oid = t.typbasetype)
                THEN typcollation::regcollation::text END
        FROM pg_type AS t
        WHERE typtype = 'd' AND {_TYPES}
    """,
    "composite": f"""
        SELECT t.oid, 0, ARRAY[format_type(t.oid, NULL)], (
            SELECT coalesce(array_agg(quote_ident(attname) || ' '
                || format_type(atttypid, atttypmod)
                || CASE WHEN attcollation <> 0 AND attcollation <> typcollation
                    THEN ' COLLATE ' || attcollation::regcollation ELSE '' END
                ORDER BY attnum), '{{}}')
            FROM pg_attribute JOIN pg_type AS of_it ON of_it.oid = atttypid
            WHERE attrelid = t.typrelid AND NOT attisdropped)
        FROM pg_type AS t JOIN pg_class AS c ON c.oid = t.typrelid AND relkind = 'c'
        WHERE typtype = 'c' AND {_TYPES}
    """,
    "range": f"""
        SELECT t.oid, 0, ARRAY[format_type(t.oid, NULL)],
            'SUBTYPE = ' || format_type(rngsubtype, NULL) || ', SUBTYPE_OPCLASS = '
            || quote_ident(n.nspname) || '.' || quote_ident(opcname)
            || CASE WHEN rngcollation <> 0 THEN ', COLLATION = ' || rngcollation::regcollation
                ELSE '' END
            || CASE WHEN rngcanonical <> 0 THEN ', CANONICAL = ' || rngcanonical ELSE '' END
            || CASE WHEN rngsubdiff <> 0 THEN ', SUBTYPE_DIFF = ' || rngsubdiff ELSE '' END
        FROM pg_type AS t JOIN pg_range ON rngtypid = t.oid
            JOIN pg_opclass AS o ON o.oid = rngsubopc
            JOIN pg_namespace AS n ON n.oid = opcnamespace
        WHERE typtype = 'r' AND {_TYPES}
    """,
    "domain default": f"""
        SELECT NULL, 0, ARRAY[format_type(t.oid, NULL)], typdefault
        FROM pg_type AS t
        WHERE typtype = 'd' AND typdefault IS NOT NULL AND {_TYPES}
    """,
    "domain not null": f"""
        SELECT NULL, 0, ARRAY[format_type(t.oid, NULL)]
        FROM pg_type AS t
        WHERE typtype = 'd' AND typnotnull AND {_TYPES}
    """,
    "domain check": f"""
        SELECT c.oid, 0, ARRAY[format_type(t.oid, NULL), quote_ident(conname)],
            pg_get_constraintdef(c.oid)
        FROM pg_constraint AS c JOIN pg_type AS t ON t.oid = contypid
        WHERE contype = 'c' AND {_TYPES}
    """,
    "sequence": f"""
        SELECT c.oid, 0, ARRAY[c.oid::regclass::text], format_type(seqtypid, NULL), seqstart,
            seqincrement, seqmin, seqmax, seqcache, seqcycle
        FROM pg_class AS c JOIN pg_sequence ON seqrelid = c.oid
        WHERE {_RELATIONS} AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
                AND deptype = 'i')
    """,
    "owner": f"""
        SELECT NULL, 0, ARRAY[c.oid::regclass::text], attrelid::regclass::text, quote_ident(attname)
        FROM pg_class AS c JOIN pg_depend ON classid = 'pg_class'::regclass AND objid = c.oid
                AND refclassid = 'pg_class'::regclass AND deptype = 'a'
            JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
        WHERE relkind = 'S' AND {_RELATIONS}
    """,
    "table": f"""
        SELECT c.oid, 0, ARRAY[c.oid::regclass::text], relkind::text, relpersistence::text,
            CASE WHEN relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
            (SELECT array_agg(inhparent::regclass::text ORDER BY inhseqno)
                FROM pg_inherits WHERE inhrelid = c.oid),
            pg_get_expr(relpartbound, c.oid),
            (SELECT array_agg(option ORDER BY option) FROM unnest(reloptions) AS option)
        FROM pg_class AS c
        WHERE relkind IN ('r', 'p', 'f') AND {_RELATIONS}
    """,
    "column": f"""
        SELECT c.oid, attnum,
            ARRAY[coalesce(parent.root, c.oid)::regclass::text, quote_ident(attname)],
            format_type(atttypid, atttypmod),
            CASE WHEN attcollation <> 0 AND attcollation <> typcollation
                THEN attcollation::regcollation::text END,
            attnotnull, attidentity::text,
            CASE WHEN attidentity <> '' THEN (
                SELECT ARRAY[seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle::int]
                FROM pg_depend JOIN pg_sequence ON seqrelid = objid
                WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
                    AND refobjid = c.oid AND refobjsubid = attnum AND deptype = 'i') END,
            attgenerated::text,
            CASE WHEN attgenerated <> '' THEN pg_get_expr(adbin, adrelid) END,
            attinhcount > 0
        FROM pg_class AS c JOIN pg_attribute ON attrelid = c.oid
            JOIN pg_type AS t ON t.oid = atttypid
            LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum
            LEFT JOIN LATERAL (
                WITH RECURSIVE up AS (
                    SELECT inhparent, 1 AS step FROM pg_inherits
                    WHERE inhrelid = c.oid AND attinhcount > 0
                    UNION ALL
                    SELECT i.inhparent, step + 1 FROM pg_inherits AS i
                        JOIN up ON i.inhrelid = up.inhparent)
                SELECT inhparent AS root FROM up ORDER BY step DESC LIMIT 1
            ) AS parent ON true
        WHERE relkind IN ('r', 'p', 'f') AND attnum > 0 AND NOT attisdropped AND {_RELATIONS}
        ORDER BY c.oid, attnum
    """,
    "default": f"""
        SELECT d.oid, 0, ARRAY[c.oid::regclass::text, quote_ident(attname)],
            pg_get_expr(adbin, adrelid)
        FROM pg_attrdef AS d JOIN pg_class AS c ON c.oid = adrelid
            JOIN pg_attribute ON attrelid = c.oid AND attnum = adnum
        WHERE attgenerated = '' AND attinhcount = 0 AND {_RELATIONS}
    """,
    "constraint": f"""
        SELECT k.oid, 0, ARRAY[c.oid::regclass::text, quote_ident(conname)], contype::text,
            pg_get_constraintdef(k.oid), coninhcount > 0 OR conparentid <> 0
        FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = conrelid
        WHERE contype IN ('c', 'f', 'p', 'u', 'x') AND {_RELATIONS}
    """,
    "index": f"""
        SELECT i.oid, 0, ARRAY[i.oid::regclass::text], indrelid::regclass::text, indisunique,
            pg_get_indexdef(i.oid), quote_ident(i.relname), i.relispartition
        FROM pg_index JOIN pg_class AS i ON i.oid = indexrelid
            JOIN pg_class AS c ON c.oid = indrelid
        WHERE {_user_defined("pg_class", "c.oid", "c.relnamespace")} AND NOT EXISTS (
            SELECT FROM pg_constraint WHERE conindid = i.oid AND contype IN ('p', 'u', 'x'))
    """,
    "view": f"""
        SELECT c.oid, 0, ARRAY[c.oid::regclass::text], relkind = 'm',
            rtrim(pg_get_viewdef(c.oid), ';'), reloptions
        FROM pg_class AS c
        WHERE relkind IN ('v', 'm') AND {_RELATIONS}
    """,
    "function": f"""
        SELECT p.oid, 0, ARRAY[p.oid::regprocedure::text, prokind::text],
            CASE WHEN prokind <> 'a' THEN rtrim(pg_get_functiondef(p.oid)) END
        FROM pg_proc AS p
        WHERE {_user_defined("pg_proc", "p.oid", "pronamespace")} AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid
                AND deptype = 'i')
    """,
    "trigger": f"""
        SELECT t.oid, 0, ARRAY[c.oid::regclass::text, quote_ident(tgname)], pg_get_triggerdef(t.oid)
        FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid
        WHERE NOT tgisinternal AND tgparentid = 0 AND {_RELATIONS}
    """,
}

_CLASSES = {
    "schema": "pg_namespace",
    "extension": "pg_extension",
    **dict.fromkeys(("enum", "domain", "composite", "range"), "pg_type"),
    **dict.fromkeys(("domain check", "constraint"), "pg_constraint"),
    **dict.fromkeys(("sequence", "table", "column", "index", "view"), "pg_class"),
    "default": "pg_attrdef",
    "function": "pg_proc",
    "trigger": "pg_trigger",
}

# Other identities of an object in pg_depend: class, oid and sub-id, followed by the object's.
_ALIASES = """
    SELECT 'pg_type', oid, 0, 'pg_class', typrelid, 0 FROM pg_type WHERE typrelid <> 0
    UNION ALL
    SELECT 'pg_type', oid, 0, 'pg_type', typelem, 0 FROM pg_type WHERE typelem <> 0
    UNION ALL
    SELECT 'pg_type', rngmultitypid, 0, 'pg_type', rngtypid, 0 FROM pg_range
    UNION ALL
    SELECT 'pg_class', typrelid, 0, 'pg_type', pg_type.oid, 0
    FROM pg_type JOIN pg_class AS c ON c.oid = typrelid AND relkind = 'c'
    UNION ALL
    SELECT 'pg_class', conindid, 0, 'pg_constraint', oid, 0 FROM pg_constraint
    WHERE contype IN ('p', 'u', 'x')
    UNION ALL
    SELECT 'pg_rewrite', oid, 0, 'pg_class', ev_class, 0 FROM pg_rewrite
    UNION ALL
    SELECT 'pg_attrdef', d.oid, 0, 'pg_class', adrelid, adnum
    FROM pg_attrdef AS d JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE attgenerated <> ''
    UNION ALL
    SELECT member.classid::regclass::text, member.objid, 0, 'pg_extension', member.refobjid, 0
    FROM pg_depend AS member WHERE deptype = 'e'
    UNION ALL
    SELECT 'pg_class', inhrelid, 0, 'pg_class', inhparent, 0
    FROM pg_inherits JOIN pg_class AS i ON i.oid = inhrelid AND relkind IN ('i', 'I')
"""

_NEEDS = """
    SELECT classid::regclass::text, objid, objsubid, refclassid::regclass::text, refobjid,
        refobjsubid
    FROM pg_depend
    WHERE deptype IN ('n', 'a', 'i', 'P', 'S') AND objid >= 16384
"""

_COMMENTS = """
    SELECT classoid::regclass::text, objoid, objsubid, description FROM pg_description
    WHERE objoid >= 16384
"""


def describe(cursor: Any) -> dict[Key, CatalogEntry]:
    """Return the catalog, as the cursor's transaction and search path see it."""
    definitions: dict[Key, Definition] = {}
    places: dict[tuple[str, int, int], Key] = {}
    for kind, query in _QUERIES.items():
        cursor.execute(query)
        for oid, place, names, *parts in cursor.fetchall():
            is_type = _CLASSES.get(kind) == "pg_type"
            key = ("type" if is_type else kind, *names)
            if oid is not None:
                places[_CLASSES[kind], oid, place] = key
            if kind in ("column", "constraint", "index") and parts.pop():
                continue  # inherited
            if kind == "index":
                parts[2:] = [_after_name(*parts[2:])]
            if is_type:
                parts.insert(0, kind)
            definitions[key] = tuple(tuple(p) if isinstance(p, list) else p for p in parts)
    cursor.execute(_ALIASES)
    rows = [((a, b, c), (d, e, f)) for a, b, c, d, e, f in cursor.fetchall()]
    for _ in range(3):  # an alias may be of an alias
        for place, other in rows:
            if place not in places and other in places:
                places[place] = places[other]
    cursor.execute(_COMMENTS)
    for *spot, text in cursor.fetchall():
        subject = places.get((spot[0], spot[1], spot[2]))
        if subject in definitions and subject[0] not in ("extension", "schema"):
            definitions["comment", *subject] = (text,)
    return {
        key: CatalogEntry(definition, needs)
        for (key, definition), needs in zip(
            definitions.items(), _needs(cursor, definitions, places), strict=True
        )
    }


def find_inherited(cursor: Any) -> set[Key]:
    """Return constraints and indexes that tables inherit, which a catalog does not include."""
    found: set[Key] = set()
    for kind in ("constraint", "index"):
        cursor.execute(_QUERIES[kind])
        found |= {
            (kind, *names) for _, _, names, *_, is_inherited in cursor.fetchall() if is_inherited
        }
    return found


def differing_keys(one: Catalog, other: Catalog) -> list[Key]:
    """Return the keys that only one catalog has, or that differ in their definition; sorted."""
    return sorted(
        key
        for key in one.keys() | other.keys()
        if key not in one or key not in other or one[key].definition != other[key].definition
    )


def _needs(
    cursor: Any, definitions: Mapping[Key, Definition], places: Mapping[tuple[str, int, int], Key]
) -> Iterable[frozenset[Key]]:
    found: dict[Key, set[Key]] = {key: set() for key in definitions}
    cursor.execute(_NEEDS)
    for class_, oid, place, other_class, other_oid, other_place in cursor.fetchall():
        key = places.get((class_, oid, place), places.get((class_, oid, 0)))
        # Columns of a view are not objects here.
        other = places.get(
            (other_class, other_oid, other_place), places.get((other_class, other_oid, 0))
        )
        if key is None or other is None or key == other or other not in found:
            continue
        if key[0] == "sequence" and other[0] in ("column", "table"):
            continue  # its owner, which has a key of its own
        if key in found:
            found[key].add(other)
    for key, definition in definitions.items():
        match key:
            case ("column" | "constraint" | "trigger", table, *_):
                found[key].add(("table", table))
            case ("default", table, column):
                found[key].add(("column", table, column))
            case ("index", _):
                found[key].add(("table", definition[0]))
            case ("domain default" | "domain not null" | "domain check", domain, *_):
                found[key].add(("type", domain))
            case ("owner", sequence):
                found[key] |= {("sequence", sequence), ("column", *definition)}
            case ("comment", *subject):
                found[key].add(tuple(subject))
    return [frozenset(found[key]) for key in definitions]


def _after_name(definition: str, name: str) -> str:
    """Return all of an index's definition that follows the table's name."""
    start = definition.index(f"INDEX {name} ON ") + len(f"INDEX {name} ON ")
    return definition[_after_names(definition, start) :].strip()


def _after_names(text: str, place: int) -> int:
    """Return where a qualified table name ends, which may be quoted, and follow ONLY."""
    if text.startswith("ONLY ", place):
        place += len("ONLY ")
    is_quoted = False
    while is_quoted or text[place] != " ":
        if text[place] == '"':
            is_quoted = not is_quoted
        place += 1
    return place

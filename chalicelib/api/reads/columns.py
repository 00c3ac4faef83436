"""Filters, order and selected columns of a query, in PostgREST's syntax. In addition, a value
without an operator is one that the column equals."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from chalicelib.api.http.request import Query
from chalicelib.contract import key, validator
from chalicelib.contract.json_text import render
from chalicelib.contract.resources import Resource
from chalicelib.errors import Fault

OWN = ("select", "order", "limit", "cursor")
"""Parameters of a list that are no filters. A filter by a column `order` is `column.order`."""

MAX_FILTERS = 20
"""Most filters for one column."""

Order = list[tuple[str, str]]

_PREFIX = "column."
_DIRECTIONS = ("asc", "desc")
_COMPARISONS = ("eq", "neq", "gt", "gte", "lt", "lte")
OPERATORS = (*_COMPARISONS, "in", "is")
_STATES = ("null", "not_null", "true", "false", "unknown")
_ELSEWHERE = frozenset((
    "like", "ilike", "match", "imatch", "isdistinct", "fts", "plfts", "phfts", "wfts", "cs", "cd",
    "ov", "sl", "sr", "nxr", "nxl", "adj", "not",
))  # fmt: skip
"""Operators of PostgREST that are not supported. As plain text, they would find other rows."""

_OPERATED = re.compile(r"(not\.)?([a-z]+)(\([^()]*\))?\.(.*)", re.DOTALL)
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_ITEM = re.compile(rf'{_QUOTED}(?=[,)])|([^",)][^,)]*|)(?=[,)])', re.DOTALL)
_TERM = re.compile(rf"(?:{_QUOTED})?([^,]*)(,|\Z)", re.DOTALL)
_HINTS = {
    "or": "filters are joined by `and`; in.(a,b) finds any of several values of one column",
    "and": "send several filters as parameters: age=gte.18&age=lt.65",
    "not.or": "filters are joined by `and`, and each may begin with not.",
    "not.and": "filters are joined by `and`, and each may begin with not.",
    "offset": "follow the Link of each page to the next one",
    "columns": "use select to name the columns",
}
_NO_EMBEDDING = "nothing can be embedded or computed; read each resource separately"
_UNSUPPORTED = (
    ("->", "paths into JSON are not supported; select the whole column"),
    ("::", "casts are not supported; select the column as it is"),
    ("(", _NO_EMBEDDING),
    (")", _NO_EMBEDDING),
    (":", "columns cannot be renamed; select the column by its own name"),
    ("*", "* stands alone, for all columns"),
)


class QueryFilter(NamedTuple):
    """A condition on rows. op: one of PostgREST's. negated: it must not hold.

    values: typed by the column's schema; for `is`, the state.
    """

    column: str
    op: str
    values: tuple[Any, ...]
    negated: bool = False

    @property
    def is_equality(self) -> bool:
        return self.op == "eq" and not self.negated

    @property
    def texts(self) -> list[str]:
        """The values as texts for Postgres."""
        return [each if isinstance(each, str) else render(each) for each in self.values]


def fault(parameter: str, detail: str, rule: str = "query") -> Fault:
    return Fault(f"?{parameter}", rule, detail)


def parameter(column: str) -> str:
    """The parameter that filters by a column: its name, unless that is taken."""
    is_ours = column in OWN or column.startswith(_PREFIX)
    return f"{_PREFIX}{column}" if is_ours else column


def filters(resource: Resource, query: Query, faults: list[Fault]) -> list[QueryFilter]:
    """The filters of a list, in the order of the query."""
    columns = {parameter(name): name for name in resource.row}
    found: list[QueryFilter] = []
    for name, texts in query.items():
        if name in OWN:
            continue
        if name not in columns:
            faults.append(fault(name, _unknown_column(name, columns)))
            continue
        if len(texts) > MAX_FILTERS:
            detail = f"it appears {len(texts)} times; a column takes {MAX_FILTERS} filters"
            faults.append(fault(name, detail))
            continue
        own: list[QueryFilter] = []
        for text in texts:
            read = _filter(resource, columns[name], text)
            if isinstance(read, QueryFilter):
                own.append(read)
            else:
                faults.append(fault(name, *read))
        if sum(each.is_equality for each in own) > 1:
            detail = "it appears more than once; for several values, use in.(a,b)"
            faults.append(fault(name, detail))
        found += own
    return found


def order(resource: Resource, text: str | None, faults: list[Fault]) -> Order:
    """The columns of ?order, followed by the other columns of the key."""
    found: Order = []
    for term, quoted, rest in [] if text is None else _terms(text):
        name, _, direction = term.rpartition(".")
        if quoted is not None and (not rest or rest.startswith(".")):
            name, direction = quoted, rest[1:] or "asc"
        else:
            is_both = name in resource.filters and direction in _DIRECTIONS
            if not is_both and (term in resource.filters or name not in resource.filters):
                name, direction = term, "asc"
        if name not in resource.filters:
            known = f"there are: {_listed(resource.filters)}; each may end in .desc"
            faults.append(fault("order", f"{term!r} is not a column to order by; {known}"))
        elif direction not in _DIRECTIONS:
            detail = f"{direction!r} is not a direction; use {name}.asc or {name}.desc"
            faults.append(fault("order", detail))
        elif any(name == earlier for earlier, _ in found):
            faults.append(fault("order", f"{name} appears more than once"))
        else:
            found.append((name, direction))
    named = {name for name, _ in found}
    return [*found, *((c.name, "asc") for c in resource.key if c.name not in named)]


def select(resource: Resource, text: str | None, faults: list[Fault]) -> list[str] | None:
    """The columns of ?select, in its order; None for all."""
    if text is None or text == "*":
        return None
    found: list[str] = []
    for term, quoted, rest in _terms(text):
        name = term if quoted is None or rest else quoted
        if name not in resource.row:
            why = next((why for part, why in _UNSUPPORTED if part in term), None)
            why = why or f"there are: {_listed(resource.row)}"
            faults.append(fault("select", f"{term!r} is not a column; {why}"))
            return None
        if name in found:
            faults.append(fault("select", f"{name} appears more than once"))
        found.append(name)
    return found


def _filter(resource: Resource, name: str, text: str) -> QueryFilter | tuple[str, ...]:
    """The filter in a parameter's value; or the detail of its fault, and the rule."""
    operated = _OPERATED.fullmatch(text)
    negated, op, quantifier, rest = operated.groups() if operated else (None, "", None, text)
    if not negated and op not in OPERATORS and op not in _ELSEWHERE:
        if text == "null":
            schema = resource.filters.get(name)
            is_text = schema is not None and validator.compiled(schema).is_valid(text)
            more = ", and eq.null those with the text null" if is_text else ""
            return (f"is.null finds rows without a value{more}",)
        op, quantifier, rest = "eq", None, text
    if op not in OPERATORS or quantifier:
        known = ", ".join(OPERATORS)
        begin = f"{negated or ''}{op}{quantifier or ''}."
        return (f"there is no {begin}; there are: {known}, each also after not.; {_hint(text)}",)
    if op == "is":
        return _state(resource, name, text, rest, bool(negated))
    if name not in resource.filters:
        return (f"values of {name} cannot be compared; use is.null or not.is.null",)
    texts = _items(rest) if op == "in" else [rest]
    if texts is None:
        detail = f'in needs a list in brackets, such as in.(a,b,"c,d"), \\" for a "; {_hint(text)}'
        return (detail,)
    schema = resource.filters[name]
    if not all(map(_is_text, texts)):
        return ("it is not UTF-8, or contains U+0000",)
    values = tuple(key.typed(schema, each) for each in texts)
    check = validator.compiled(schema)
    for value in values:
        if not check.is_valid(value):
            from chalicelib.contract import explain  # only where something is wrong

            error = next(check.iter_errors(value))
            hint = "; is.null finds rows without a value" if value == "null" else ""
            return (explain.detail(error, schema) + hint, error.kind.name)
    return QueryFilter(name, op, values, bool(negated))


def _state(
    resource: Resource, name: str, text: str, state: str, negated: bool
) -> QueryFilter | tuple[str, ...]:
    is_boolean = resource.filters.get(name, {}).get("type") == "boolean"
    known = _STATES if is_boolean else _STATES[:2]
    if state not in known:
        states = ", ".join(f"is.{each}" for each in known)
        return (f"for {name} there are {states}, each also after not.; {_hint(text)}",)
    if state == "not_null":
        state, negated = "null", not negated
    return QueryFilter(name, "is", (state,), negated)


def _hint(text: str) -> str:
    return f"to find the text itself: eq.{text}"


def _items(text: str) -> list[str] | None:
    """The items of a list in brackets; None if the text is no list."""
    if not text.startswith("("):
        return None
    if text == "()":
        return []
    found: list[str] = []
    at = 1
    while match := _ITEM.match(text, at):
        found.append(match[2] if match[1] is None else _unescaped(match[1]))
        at = match.end() + 1
        if at == len(text):
            return found if text[-1] == ")" else None
        if text[at - 1] == ")":
            return None
    return None


def _terms(text: str) -> Iterable[tuple[str, str | None, str]]:
    """The terms between commas: each as it is, its quoted name if it has one, and the rest."""
    at = 0
    while match := _TERM.match(text, at):
        quoted = None if match[1] is None else _unescaped(match[1])
        yield text[at : match.end(2)], quoted, match[2]
        if not match[3]:
            return
        at = match.end()


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _unknown_column(name: str, columns: Iterable[str]) -> str:
    if name in _HINTS:
        return f"there is no such parameter, and no column {name}; {_HINTS[name]}"
    found = f"there is no such column to filter by; there are: {_listed(columns)}"
    return f"{found}. Paths into JSON are not supported" if "->" in name else found


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"

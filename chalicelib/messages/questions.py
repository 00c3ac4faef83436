"""Questions of the API function to the reader function, the answers to them, and the JSON of both.

The two functions are deployed one after the other, so each meets older and newer versions of the
other. A question that an older reader would understand only in part has another word in `ask`,
which that reader does not know: it fails instead of answering with other rows. Unknown members are
ignored.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from types import UnionType
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, get_origin
from uuid import UUID

from chalicelib.messages import pace
from chalicelib.messages.pace import Pace
from chalicelib.messages.receipt import Receipt

_Yes = Literal[True]
_Answer = TypeVar("_Answer", covariant=True)


@dataclass(frozen=True)
class StatusAnswer:
    """body: JSON text. pending: until the last message is poured, or can no longer be. next: the
    item after which the lists continue, None where they are complete. queued: writes that no drain
    has poured, None where an older reader does not tell. paces: of the buffers now, if there are
    some."""

    body: str
    state: str
    pending: bool
    next: int | None = None
    queued: int | None = None
    paces: Sequence[Pace] = ()


@dataclass(frozen=True)
class RowAnswer:
    """body: JSON text, None where there is no such row. etag: of the whole row; None where that is
    too large to have one."""

    body: str | None
    etag: str | None = None


@dataclass(frozen=True)
class Pending:
    """The writes that the read has to follow are not applied yet."""

    pending: _Yes


@dataclass(frozen=True)
class Rejected:
    """The write to the row was rejected. rejected: the reason."""

    rejected: str


@dataclass(frozen=True)
class Expired:
    """It is no longer known whether the writes were applied. expired: the reason."""

    expired: str


@dataclass(frozen=True)
class RowsAnswer:
    """JSON texts and ETags in the order of the keys, None for a missing row."""

    rows: list[str | None]
    etags: Sequence[str | None] = ()


@dataclass(frozen=True)
class Page:
    """body: JSON text of an array. next: where the next page begins. rows: their number. lag, age:
    of a resource in front, seconds by which Postgres was behind, and since then."""

    body: str
    next: str | None
    rows: int = 0
    lag: float | None = None
    age: float | None = None


@dataclass(frozen=True)
class CountedPage:
    """A page, and the number of all rows of the list."""

    body: str
    next: str | None
    rows: int
    count: int
    lag: float | None = None
    age: float | None = None


class RefusedWrite(NamedTuple):
    """A write that Postgres has refused, and the row that it has now.

    key: JSON text of an object, its numbers as texts. type, reason: of the rejection. row: JSON
    text, None where there is no row or it is too large. etag: of the row, None where there is none.
    """

    resource: str
    key: str
    dedup_id: str
    type: str
    reason: str
    row: str | None
    etag: str | None
    is_too_large: bool


@dataclass(frozen=True)
class RefusedWrites:
    """refused: in the order in which they were refused. next: where others follow, None at the end.
    known: where to begin another time; behind it there may be some that are here already."""

    refused: Sequence[RefusedWrite]
    next: str | None
    known: str


@dataclass(frozen=True)
class PouredAnswer:
    """missing: the dedup IDs of messages that are not poured. waiting: how many writes to the
    resource wait in the database."""

    missing: Sequence[str]
    waiting: int


@dataclass(frozen=True)
class OpsAnswer:
    """body: JSON text. next: where the next page begins, None at the end. rows: their number, of a
    list."""

    body: str
    next: str | None = None
    rows: int = 0


@dataclass(frozen=True)
class InvalidList:
    """The database cannot make this list. unfit: the reason."""

    unfit: str


@dataclass(frozen=True)
class TooLarge:
    """A row has more text than an answer holds."""

    too_large: _Yes


@dataclass(frozen=True)
class PageTooLarge:
    """The first row of a page has. next: where the page after it begins, if that is known."""

    too_large: _Yes
    next: str | None


@dataclass(frozen=True)
class Unavailable:
    """The database does not answer."""

    unwell: _Yes


Answer = (
    StatusAnswer | RowAnswer | Pending | Rejected | Expired | RowsAnswer | Page | CountedPage
    | RefusedWrites | PouredAnswer | OpsAnswer | InvalidList | TooLarge | PageTooLarge | Unavailable
)  # fmt: skip
"""An answer of the reader: a JSON object with the members of one of these."""


class Question(Protocol[_Answer]):
    @property
    def ask(self) -> str:
        """The word that names the question."""

    def read_answer(self, payload: Mapping[str, Any]) -> _Answer:
        """The answer in a payload. Raises ValueError for anything else."""


@dataclass(frozen=True)
class StatusQuestion:
    """The status of a request. after_item: the lists begin after this item."""

    receipt: Receipt
    after_item: int = -1
    ask = "status"

    def read_answer(self, payload: Mapping[str, Any]) -> StatusAnswer:
        return _status(payload)


@dataclass(frozen=True)
class RejectionsQuestion:
    """A page of the rejections of a request, with their rows. after_item: it begins after this
    item. form: json or lines."""

    receipt: Receipt
    limit: int
    after_item: int = -1
    form: str = "json"
    ask = "rejections"

    def read_answer(self, payload: Mapping[str, Any]) -> StatusAnswer:
        return _status(payload)


@dataclass(frozen=True)
class RowQuestion:
    """A row. key: JSON text of an object; a value that is not of the column's type names no row.
    select: columns to show, None for all. after: read only once these writes are applied."""

    resource: str
    key: str
    select: Sequence[str] | None = None
    after: Receipt | None = None

    @property
    def ask(self) -> str:
        return "row" if self.select is None else "part"

    def read_answer(self, payload: Mapping[str, Any]) -> RowAnswer | Pending | Rejected | Expired:
        if self.select is None and payload.get("etag") is None and payload.get("body") is not None:
            raise ValueError("the payload is no answer: a whole row has an ETag")
        after = () if self.after is None else (Pending, Rejected, Expired)
        found: RowAnswer | Pending | Rejected | Expired = _read(payload, RowAnswer, *after)
        return found


@dataclass(frozen=True)
class RowsQuestion:
    """Rows. keys: JSON text of an array of objects. If one of them has a value that is not of its
    column's type, none names a row."""

    resource: str
    keys: str
    ask = "rows"

    def read_answer(self, payload: Mapping[str, Any]) -> RowsAnswer:
        found: RowsAnswer = _read(payload, RowsAnswer)
        return found


class Where(NamedTuple):
    """A condition on a column. op: one of PostgREST's. negated: it must not hold."""

    column: str
    op: str
    negated: bool
    texts: Sequence[str]


@dataclass(frozen=True)
class ListQuestion:
    """A page of a list.

    equal: JSON text of an object, the columns that equal a value. where: all other filters. order:
    columns with `asc` or `desc`, those of the key last. select: columns to show, None for all.
    limit: most rows. start: None, or the `next` of another page. counted: whether to count all rows
    of the list too.
    """

    resource: str
    equal: str
    order: Sequence[tuple[str, str]]
    limit: int
    start: str | None
    where: Sequence[Where] = ()
    select: Sequence[str] | None = None
    counted: bool = False

    @property
    def ask(self) -> str:
        is_simple = not self.where and self.select is None
        return "counted" if self.counted else "list" if is_simple else "search"

    def read_answer(self, payload: Mapping[str, Any]) -> Page | CountedPage | InvalidList:
        page = CountedPage if self.counted else Page
        found: Page | CountedPage | InvalidList = _read(payload, page, InvalidList)
        return found


@dataclass(frozen=True)
class RefusedQuestion:
    """Writes to resources behind the front table that Postgres has refused. since: `next` or
    `known` of another answer; anything else: from the beginning."""

    since: str
    ask = "refused"

    def read_answer(self, payload: Mapping[str, Any]) -> RefusedWrites:
        found: RefusedWrites = _read(payload, RefusedWrites)
        most = len(RefusedWrite._fields)
        try:
            refused = [RefusedWrite._make(each[:most]) for each in found.refused]
        except TypeError:
            raise ValueError("the payload is no answer: a refused write lacks something") from None
        return replace(found, refused=refused)


@dataclass(frozen=True)
class PouredQuestion:
    """Which of these messages of a resource are not poured."""

    resource: str
    dedup_ids: Sequence[str]
    ask = "poured"

    def read_answer(self, payload: Mapping[str, Any]) -> PouredAnswer:
        found: PouredAnswer = _read(payload, PouredAnswer)
        return found


@dataclass(frozen=True)
class OpsQuestion:
    """A question of an operator to the reader, or an act for the operate function.

    what: its name there. given: what its function takes, as JSON.
    """

    what: str
    given: Mapping[str, Any]
    ask = "ops"

    def read_answer(self, payload: Mapping[str, Any]) -> OpsAnswer | InvalidList:
        found: OpsAnswer | InvalidList = _read(payload, OpsAnswer, InvalidList)
        return found


_QUESTIONS: Mapping[str, type[Any]] = {
    "status": StatusQuestion,
    "rejections": RejectionsQuestion,
    **dict.fromkeys(("row", "part"), RowQuestion),
    "rows": RowsQuestion,
    **dict.fromkeys(("list", "search", "counted"), ListQuestion),
    "refused": RefusedQuestion,
    "poured": PouredQuestion,
    "ops": OpsQuestion,
}
_NAMES = {"equal": "filters", "start": "from"}
"""Members that JSON calls otherwise."""


def to_event(question: Any, seconds: float) -> bytes:
    """The event that asks a question. Members with their default values are left out.

    seconds: how long the client waits for the answer.
    """
    event: dict[str, Any] = {"ask": question.ask, "seconds": round(seconds, 3)}
    for member in fields(question):
        value = getattr(question, member.name)
        if isinstance(value, Receipt):
            value = {**value._asdict(), "id": str(value.id)}
        if member.name == "receipt":
            event |= value
        elif member.default is MISSING or value not in (member.default, []):
            event[_NAMES.get(member.name, member.name)] = value
    return json.dumps(event).encode()


def from_event(event: Mapping[str, Any]) -> Any:
    """The question that an event asks. Raises KeyError for an unknown one."""
    kind = _QUESTIONS[event["ask"]]
    given = {"where": (), "counted": event["ask"] == "counted", **event, "receipt": event}
    names = {each.name: _NAMES.get(each.name, each.name) for each in fields(kind)}
    return kind(**{name: _member(name, given[key]) for name, key in names.items() if key in given})


def read_refusal(payload: Mapping[str, Any]) -> TooLarge | PageTooLarge | Unavailable | None:
    """An answer that any question may get in place of its own."""
    found: TooLarge | PageTooLarge | Unavailable | None
    found = _parse(payload, PageTooLarge if "next" in payload else TooLarge)
    return found or _parse(payload, Unavailable)


def _member(name: str, value: Any) -> Any:
    if name in ("receipt", "after") and value is not None:
        return Receipt(UUID(value["id"]), *(value[each] for each in Receipt._fields[1:]))
    return [Where(*each) for each in value] if name == "where" else value


def _status(payload: Mapping[str, Any]) -> StatusAnswer:
    found: StatusAnswer = _read(payload, StatusAnswer)
    try:
        return replace(found, paces=(*pace.read(found.paces),))
    except TypeError:
        raise ValueError("the payload is no answer: a pace lacks something") from None


def _read(payload: Mapping[str, Any], *kinds: type[Any]) -> Any:
    """The answer in a payload, one of these kinds. Raises ValueError."""
    for kind in kinds:
        if found := _parse(payload, kind):
            return found
    raise ValueError("the payload is no answer to the question")


def _parse(payload: Mapping[str, Any], kind: type[Any]) -> Any:
    """The answer of a kind, if a payload has its members, each of its type; None otherwise."""
    given = {each: payload[each.name] for each in fields(kind) if each.name in payload}
    missing = {each for each in fields(kind) if each.default is MISSING} - given.keys()
    if missing or not all(_is_of(value, each.type) for each, value in given.items()):
        return None
    return kind(**{each.name: value for each, value in given.items()})


def _is_of(value: Any, type_: Any) -> bool:
    if type_ is _Yes:
        return value is True
    origin = get_origin(type_)
    return isinstance(value, type_ if origin in (None, UnionType) else origin)

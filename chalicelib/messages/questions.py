"""What the API function asks of the reader function, and what that answers: values, and their JSON.

Both are deployed one after the other, and meet each other's versions before and after. So what not
every version of the reader knows is asked in another word: one that knew only half of a question
would answer with other rows. Members that are not known are passed over.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from types import UnionType
from typing import Any, Literal, NamedTuple, NoReturn, Protocol, TypeVar, get_origin
from uuid import UUID

from chalicelib.messages.receipt import Receipt

Json = dict[str, Any]
_Yes = Literal[True]
_Kind = TypeVar("_Kind")
_Answer = TypeVar("_Answer", covariant=True)


@dataclass(frozen=True)
class StatusAnswer:
    """body: JSON text. pending: until the last message is poured, or cannot be any more. next: the
    item behind which its lists go on, None where they are complete."""

    body: str
    state: str
    pending: bool
    next: int | None = None


@dataclass(frozen=True)
class RowAnswer:
    """body: JSON text, None where there is no such row. etag: of the whole row; None where it is
    too large to have one."""

    body: str | None
    etag: str | None = None


@dataclass(frozen=True)
class Pending:
    """The writes that a row is to be read after are not applied yet."""

    pending: _Yes


@dataclass(frozen=True)
class Rejected:
    """The write to the row was rejected. rejected: why."""

    rejected: str


@dataclass(frozen=True)
class Expired:
    """Nobody knows any more whether the writes were applied. expired: why."""

    expired: str


@dataclass(frozen=True)
class RowsAnswer:
    """JSON texts and ETags in the order of the keys, None for a row that is not there."""

    rows: list[str | None]
    etags: Sequence[str | None] = ()


@dataclass(frozen=True)
class Page:
    """body: JSON text of an array. next: where another page begins. rows: how many it has."""

    body: str
    next: str | None
    rows: int = 0


@dataclass(frozen=True)
class CountedPage:
    """The same, and how many rows the list has in all."""

    body: str
    next: str | None
    rows: int
    count: int


@dataclass(frozen=True)
class InvalidList:
    """A list that cannot be had. unfit: why."""

    unfit: str


@dataclass(frozen=True)
class TooLarge:
    """A row has more text than an answer holds."""

    too_large: _Yes


@dataclass(frozen=True)
class PageTooLarge:
    """The same of the first row of a page. next: where a page behind it begins, if it is known."""

    too_large: _Yes
    next: str | None


@dataclass(frozen=True)
class Unwell:
    """The database does not answer."""

    unwell: _Yes


Answer = (
    StatusAnswer | RowAnswer | Pending | Rejected | Expired | RowsAnswer | Page | CountedPage
    | InvalidList | TooLarge | PageTooLarge | Unwell
)  # fmt: skip
"""What the reader answers: an object with the members of one of them."""


class Question(Protocol[_Answer]):
    def to_json(self) -> Json: ...

    def answered(self, payload: Mapping[str, Any]) -> _Answer:
        """What a payload says. Raises ValueError where that is no answer to this question."""


@dataclass(frozen=True)
class StatusQuestion:
    """What became of a request. after_item: the lists begin behind that item."""

    receipt: Receipt
    after_item: int = -1

    def to_json(self) -> Json:
        more = {} if self.after_item < 0 else {"after_item": self.after_item}
        return {"ask": "status", **_fields(self.receipt), **more}

    def answered(self, payload: Mapping[str, Any]) -> StatusAnswer:
        return _read(payload, StatusAnswer) or _no_answer()


@dataclass(frozen=True)
class RowQuestion:
    """A row. key: JSON text of an object, where a value that the key's type does not have names no
    row. select: columns to show, None for all. after: it is read only once these writes are
    applied."""

    resource: str
    key: str
    select: Sequence[str] | None = None
    after: Receipt | None = None

    def to_json(self) -> Json:
        return {
            "ask": "row" if self.select is None else "part",
            "resource": self.resource,
            "key": self.key,
            **({} if self.select is None else {"select": self.select}),
            **({} if self.after is None else {"after": _fields(self.after)}),
        }

    def answered(self, payload: Mapping[str, Any]) -> RowAnswer | Pending | Rejected | Expired:
        if found := _read(payload, RowAnswer):
            is_whole = found.body is not None and self.select is None
            return _no_answer() if is_whole and found.etag is None else found
        if self.after is None:
            _no_answer()
        other = _read(payload, Pending) or _read(payload, Rejected) or _read(payload, Expired)
        return other or _no_answer()


@dataclass(frozen=True)
class RowsQuestion:
    """Rows. keys: JSON text of an array of objects. If one of them has a value that its type does
    not have, none names a row."""

    resource: str
    keys: str

    def to_json(self) -> Json:
        return {"ask": "rows", **vars(self)}

    def answered(self, payload: Mapping[str, Any]) -> RowsAnswer:
        return _read(payload, RowsAnswer) or _no_answer()


class Where(NamedTuple):
    """What a column has to be like. op: one of PostgREST's; negated: what it must not be like."""

    column: str
    op: str
    negated: bool
    texts: Sequence[str]


@dataclass(frozen=True)
class ListQuestion:
    """A page of a list.

    equal: JSON text of an object, of columns that equal a value. where: all other filters. order:
    columns, each with `asc` or `desc`, those of the key last. select: columns to show, None for
    all. limit: most rows. start: None, or the `next` of another page. counted: whether all rows of
    the list are counted too.
    """

    resource: str
    equal: str
    order: Sequence[tuple[str, str]]
    limit: int
    start: str | None
    where: Sequence[Where] = ()
    select: Sequence[str] | None = None
    counted: bool = False

    def to_json(self) -> Json:
        is_simple = not self.where and self.select is None and not self.counted
        return {
            "ask": "counted" if self.counted else "list" if is_simple else "search",
            "resource": self.resource,
            "filters": self.equal,
            "order": self.order,
            "limit": self.limit,
            "from": self.start,
            **({} if is_simple else {"where": self.where, "select": self.select}),
        }

    def answered(self, payload: Mapping[str, Any]) -> Page | CountedPage | InvalidList:
        page = _read(payload, CountedPage) if self.counted else _read(payload, Page)
        return page or _read(payload, InvalidList) or _no_answer()


def asked(question: Question[Any], seconds: float) -> bytes:
    """The event of a question. seconds: for how long somebody waits for its answer."""
    return json.dumps({**question.to_json(), "seconds": round(seconds, 3)}).encode()


def question(event: Mapping[str, Any]) -> Any:
    """The question that was made this event. Raises KeyError for one that is not known."""
    return _QUESTIONS[event["ask"]](event)


def cannot(payload: Mapping[str, Any]) -> TooLarge | PageTooLarge | Unwell | None:
    """What any question may be answered with instead."""
    large = _read(payload, PageTooLarge) if "next" in payload else _read(payload, TooLarge)
    return large or _read(payload, Unwell)


def _row(event: Mapping[str, Any]) -> RowQuestion:
    after = _receipt(event["after"]) if event.get("after") else None
    return RowQuestion(event["resource"], event["key"], event.get("select"), after)


def _list(event: Mapping[str, Any]) -> ListQuestion:
    where = [Where(*each) for each in event.get("where", ())]
    return ListQuestion(
        event["resource"], event["filters"], event["order"], event["limit"], event["from"],
        where, event.get("select"), event["ask"] == "counted",
    )  # fmt: skip


_QUESTIONS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "status": lambda event: StatusQuestion(_receipt(event), event.get("after_item", -1)),
    "row": _row,
    "part": _row,
    "rows": lambda event: RowsQuestion(event["resource"], event["keys"]),
    "list": _list,
    "search": _list,
    "counted": _list,
}


def _fields(receipt: Receipt) -> Json:
    return {**receipt._asdict(), "id": str(receipt.id)}


def _receipt(said: Mapping[str, Any]) -> Receipt:
    return Receipt(UUID(said["id"]), *(said[name] for name in Receipt._fields[1:]))


def _read(payload: Mapping[str, Any], kind: type[_Kind]) -> _Kind | None:
    """The answer of a kind, if a payload has all its members, of their types."""
    members: Json = {}
    for member in fields(kind):  # type: ignore[arg-type]
        if member.name in payload:
            if not _is_of(payload[member.name], member.type):
                return None
            members[member.name] = payload[member.name]
        elif member.default is MISSING:
            return None
    return kind(**members)


def _no_answer() -> NoReturn:
    raise ValueError("the payload is no answer to the question")


def _is_of(value: Any, type_: Any) -> bool:
    if type_ is _Yes:
        return value is True
    origin = get_origin(type_)
    return isinstance(value, type_ if origin in (None, UnionType) else origin)

"""Messages on the queues: writes of one request and one lane, in sets, under one dedup ID.

The body consists of lines. The first is the header, a JSON object. A set follows as the JSON array
of its rows in one line, or by its values alone, a row in each line; see `values`. Either is the
client's own text, so that numbers keep their digits and the drain can pass the rows to Postgres
without parsing them.

After a rollback, a deployment finds newer messages on the queue, which it must neither pour nor
reject. So anything that an earlier `decode` would not understand, or would read differently, raises
VERSION: an op, a member of the header that changes what the message means. Others are ignored by a
`decode` that does not know them: `by`, `receipt`. `v`, `id`, `fp` and `at` keep their form in all
versions. A message is written with the lowest version that can express it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

from chalicelib.errors import ForeignMessage, NewerMessage, shortened
from chalicelib.messages import values
from chalicelib.ops import OPS, Op

SINCE: Mapping[str, int] = MappingProxyType({"if": 2, "patient": 3, "values": 4})
"""The version that introduced a member of the header that has one; 1 for all others."""

VERSION = max(*SINCE.values(), *(facts.since for facts in OPS.values()))

ANY_ROW = ("*",)
"""In a condition: any ETag."""

_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FINGERPRINT = re.compile("[0-9a-f]{32}")
_RECEIPT = re.compile("[0-9A-Za-z_-]{80}")
_LAST_MILLISECOND = 1 << 47
_LAST_ITEM = (1 << 31) - 1
_CALLER_CHARACTERS = 200  # of a caller's name; each message has it
_ESCAPED = 6  # bytes of another character than ASCII in the header
_INTEGERS = {int}
_STRINGS = {str}
_decode = json.JSONDecoder().raw_decode
_encode = json.JSONEncoder(separators=(",", ":")).encode

# A single write as `encode` writes it, if no text in its header needs an escape.
_TEXT = r"[ !#-\[\]-~]*+"
_SINGLE_WRITE = re.compile(
    rf'\{{"v":([14]),"id":"({_UUID.pattern})","fp":"({_FINGERPRINT.pattern})",'
    rf'"at":(0|[1-9][0-9]{{,13}}+),("resource":"{_TEXT}","op":"[a-z-]*+","sets":\[\[\[[^]\n]*+\]),'
    r"\[(0|[1-9][0-9]{,8}+)\],\[(0|[1-9][0-9]{,29}+|)\]\]\]"
    rf'(?:,"values":\[\[([^]\n]*+)\]\])?+(?:,"by":"({_TEXT})")?+'
    rf'(?:,"receipt":"({_RECEIPT.pattern})")?+\}}\n'
    r"(?:\[(\{[^\n]*\})\]|([^[\\\n][^\n]*+))\Z"
)


class RowSet(NamedTuple):
    """Rows with the same members, no key twice.

    members: column names of every row, sorted; of a set by values in the order of these.
    items: each row's position in the client's request, from 0.
    digests: each row's key digest; empty for unordered resources.
    text: the rows' JSON objects, comma separated, without the array's brackets; of a set by values
        a line for each.
    documents: of a set by values, the members that hold documents, see `values`; None: JSON
        objects.
    """

    members: tuple[str, ...]
    items: tuple[int, ...]
    digests: tuple[int, ...]
    text: str
    documents: tuple[str, ...] | None = None

    @property
    def rows(self) -> str:
        """The rows' JSON objects, comma separated. A set by values is converted each time."""
        if self.documents is None:
            return self.text
        return values.objects(self.members, self.documents, self.text, len(self.items))


class Condition(NamedTuple):
    """A condition on a row when its write is poured (RFC 9110, If-Match, If-None-Match).

    match, none_match: strong ETags without their quotes; one of them must be, or none may be, the
    row's. ANY_ROW matches any row, an empty tuple and a missing row match nothing. None: no such
    condition.
    """

    match: tuple[str, ...] | None
    none_match: tuple[str, ...] | None


class Message(NamedTuple):
    """Writes of one request and lane that are poured together or not at all.

    dedup_id: a UUID, in lower case.
    fingerprint: identity of the request's content, which distinguishes a reused key from a retry.
    accepted_at: milliseconds since the epoch.
    sets: in the order of the pour.
    condition: only of a message with one row.
    is_patient: whether its writes may wait for writes to other rows, such as their parents.
    caller: who has sent the writes, see `caller_name`; empty where nobody has said so.
    receipt: the token of its request's receipt, where the end of the request makes an event; or
        empty.
    """

    dedup_id: str
    fingerprint: str
    accepted_at: int
    resource: str
    op: Op
    sets: tuple[RowSet, ...]
    condition: Condition | None = None
    is_patient: bool = True
    caller: str = ""
    receipt: str = ""

    @property
    def writes(self) -> int:
        return sum([len(rows.items) for rows in self.sets])


# These take half as long as the constructors.
_row_set_of = partial(tuple.__new__, RowSet)
_message_of = partial(tuple.__new__, Message)


def encode(message: Message) -> str:
    """Body for SQS. U+FFFE and U+FFFF in JSON strings, which SQS refuses, are escaped."""
    header: dict[str, Any] = {
        "v": _version(message),
        "id": message.dedup_id,
        "fp": message.fingerprint,
        "at": message.accepted_at,
        "resource": message.resource,
        "op": message.op,
        "sets": [[rows.members, rows.items, rows.digests] for rows in message.sets],
    }
    if _has_values(message):
        header["values"] = [rows.documents for rows in message.sets]
    if message.condition:
        match, none_match = message.condition
        header["if"] = {"match": match} if match is not None else {}
        header["if"] |= {"none": none_match} if none_match is not None else {}
    if not message.is_patient:
        header["patient"] = False
    if message.caller:
        header["by"] = message.caller
    if message.receipt:
        header["receipt"] = message.receipt
    lines = [_encode(header)]
    lines += [f"[{rows.text}]" if rows.documents is None else rows.text for rows in message.sets]
    return "\n".join(lines).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def decode(body: str) -> Message:
    """The message in a body. Raises NewerMessage for a message of a later version, and
    ForeignMessage, with the reason, for anything else."""
    # A shortcut: for the bodies that it reads, `read_header` gives the same message.
    return _single_write(body) or read_header(body)


def _single_write(body: str) -> Message | None:
    """The message in a body of the form that nearly all single writes have; None for any other."""
    if (found := _SINGLE_WRITE.match(body)) is None:
        return None
    (
        version,
        dedup_id,
        fingerprint,
        at,
        kind,
        item,
        digest,
        documents,
        caller,
        receipt,
        row,
        line,
    ) = found.groups()
    has_values = documents is not None
    if (version != "1") != has_values or (line is not None) != has_values:
        return None
    if (parsed := _kind(kind, documents)) is None:
        return None
    resource, op, members, held = parsed
    digests = (int(digest),) if digest else ()
    rows = _row_set_of((members, (int(item),), digests, line or row, held))
    given = (dedup_id, fingerprint, int(at), resource, op, (rows,))
    return _message_of((*given, None, True, caller or "", receipt or ""))


@lru_cache(maxsize=1_000)
def _kind(
    described: str, documents: str | None
) -> tuple[str, Op, tuple[str, ...], tuple[str, ...] | None] | None:
    """Resource, op and members in these parts of a header, and the members that hold documents;
    None if they are not in order. Cached: most messages have the same as another one."""
    try:
        header = json.loads(f"{{{described}]]}}")
        ((members,),) = header["sets"]
        names = _names(tuple(members))
        held = None if documents is None else _held(json.loads(f"[{documents}]"), names)
    except (TypeError, ValueError, RecursionError):
        return None
    op = header["op"]
    is_first = op in OPS and OPS[op].since == 1
    return (header["resource"], op, names, held) if is_first else None


def read_header(body: str) -> Message:
    """The message in a body, by the objects of its header; raises as `decode`."""
    first, *lines = body.split("\n")
    try:
        header, end = _decode(first)
    except (ValueError, RecursionError):
        raise ForeignMessage("the body is not JSON lines written by Decanter") from None
    if end != len(first) or type(header) is not dict or "v" not in header:
        raise ForeignMessage("the body has no Decanter header")
    version = header["v"]
    if type(version) is not int or not 1 <= version <= VERSION:
        detail = f"the message has version {version!r:.20}, this deployment reads up to {VERSION}"
        raise NewerMessage(detail) if _is_newer(header) else ForeignMessage(detail)
    try:
        message = Message(
            header["id"],
            header["fp"],
            header["at"],
            header["resource"],
            header["op"],
            tuple(_row_sets(header, lines)),
            _condition(header["if"]) if "if" in header else None,
            _is_patient(header["patient"]) if "patient" in header else True,
            _caller(header["by"]) if "by" in header else "",
            _receipt(header["receipt"]) if "receipt" in header else "",
        )
        _check(message)
        if version != VERSION and version < _version(message):
            raise ValueError(f"version {version} has no such op, condition or preference")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ForeignMessage(f"the header is not one that Decanter writes: {error!r}") from None
    return message


def _row_sets(header: Mapping[str, Any], lines: Sequence[str]) -> Iterator[RowSet]:
    described = header["sets"]
    documents = header["values"] if "values" in header else [None] * len(described)
    if {*map(type, described)} != {list} or type(documents) is not list:
        raise ValueError("sets or values are not arrays")
    at = 0
    for (members, items, digests), held in zip(described, documents, strict=True):
        end = at + (1 if held is None else len(items))
        yield _row_set(members, items, digests, "\n".join(lines[at:end]), held)
        at = end
    if at != len(lines):
        raise ValueError("there are more lines than rows")


def _row_set(members: Any, items: Any, digests: Any, text: str, held: Any) -> RowSet:
    if not items or {*map(type, items), *map(type, digests)} != _INTEGERS:
        raise ValueError("items and digests are not whole numbers")
    if min(items) < 0 or max(items) > _LAST_ITEM or (digests and len(digests) != len(items)):
        raise ValueError("items and digests do not agree")
    if not _may_be_rows(text, held is not None) or (
        held is not None and text.count("\n") != len(items) - 1
    ):
        raise ValueError("a set is not an array of rows, and not a line for each row")
    try:
        names = _names(tuple(members))
    except TypeError:  # an array or an object among them
        raise ValueError("members are not names") from None
    documents = None if held is None else _held(held, names)
    rows = text[1:-1] if held is None else text
    return RowSet(names, tuple(items), tuple(digests), rows, documents)


def _may_be_rows(text: str, by_values: bool) -> bool:
    """Whether this may be the text of a set. To COPY, a backslash may mean the end of all lines."""
    if by_values:
        return bool(text) and text[0] not in "\\\n" and "\n\\" not in text and "\n\n" not in text
    return text[:2] == "[{" and text[-2:] == "}]"


def _held(documents: Any, members: tuple[str, ...]) -> tuple[str, ...]:
    if type(documents) is not list or not members or not {*documents} <= {*members}:
        raise ValueError("documents are not in members")
    return tuple(documents)


@lru_cache(maxsize=1_000)
def _names(members: tuple[Any, ...]) -> tuple[str, ...]:
    """The members, if they are unique names. Cached: most messages have the same as another one."""
    if (members and set(map(type, members)) != _STRINGS) or b"\0" in "".join(members).encode():
        raise ValueError("members are not names")
    if len(set(members)) < len(members):
        raise ValueError("a member appears more than once")
    return members


def _condition(described: Any) -> Condition:
    if not described or not described.keys() <= {"match", "none"}:
        raise ValueError("the condition is not one that Decanter writes")
    return Condition(
        *(_tags(described[name]) if name in described else None for name in ("match", "none"))
    )


def _tags(described: Any) -> tuple[str, ...]:
    if type(described) is not list or not {*map(type, described)} <= _STRINGS:
        raise ValueError("the ETags of a condition are not strings")
    if b"\0" in "".join(described).encode():
        raise ValueError("an ETag of a condition contains U+0000")
    return tuple(described)


def _is_patient(described: Any) -> bool:
    if described is not False:
        raise ValueError("patient can only be false")
    return False


def caller_name(name: str) -> str:
    """The name of a caller as messages and rejections have it: of a long one, beginning and end."""
    return shortened(name, _CALLER_CHARACTERS // (1 if name.isascii() else _ESCAPED))


def _caller(described: Any) -> str:
    """Nothing depends on it, so another one than a text that Postgres can store is left out."""
    if type(described) is not str or "\0" in described:
        return ""
    return described.encode(errors="ignore").decode()


def _receipt(described: Any) -> str:
    """No write depends on it, so a text that cannot be a token is left out."""
    is_token = type(described) is str and _RECEIPT.fullmatch(described)
    return described if is_token else ""


def _version(message: Message) -> int:
    """The lowest version that can express the message."""
    op = OPS[message.op].since
    condition = SINCE["if"] if message.condition else 1
    patient = 1 if message.is_patient else SINCE["patient"]
    return max(op, condition, patient, SINCE["values"] if _has_values(message) else 1)


def _has_values(message: Message) -> bool:
    return any(rows.documents is not None for rows in message.sets)


def _is_newer(header: Mapping[str, Any]) -> bool:
    """Whether the members that all versions share are valid, and the version is a later one."""
    try:
        _check_identity(header["id"], header["fp"], header["at"])
    except (KeyError, TypeError, ValueError):
        return False
    return type(header["v"]) is int and header["v"] > VERSION


def _check(message: Message) -> None:
    _check_identity(message.dedup_id, message.fingerprint, message.accepted_at)
    if message.op not in [*OPS] or not message.sets or not message.resource.isprintable():
        raise ValueError("it has no op, resource or rows")
    if message.condition and (message.writes != 1 or not OPS[message.op].names_row):
        raise ValueError("only a write that names its row has a condition")


def _check_identity(dedup_id: str, fingerprint: str, accepted_at: int) -> None:
    if not _UUID.fullmatch(dedup_id) or not _FINGERPRINT.fullmatch(fingerprint):
        raise ValueError("id or fingerprint is invalid")
    if type(accepted_at) is not int or not 0 <= accepted_at < _LAST_MILLISECOND:
        raise ValueError("the time of acceptance is invalid")

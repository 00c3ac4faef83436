"""The rejections that an act is about: named by a body, and read page by page."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.api.http.request import Request
from chalicelib.api.ops import asking, bodies, filters
from chalicelib.api.ops.act import Act, Correction, State, StepResult
from chalicelib.errors import Fault, Problem

MAX_IDS = 1_000
"""Most rejections that a body names one by one."""

_ROW_BYTES = 1_400_000
"""Most text of the rows of a page, which Lambda's answer has as text within text."""

_MOST_LISTED = 20
"""Most rejections that a step names with the reason why they remain; an act has many steps."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[0-9]{1,10}")
_LAST_ITEM = (1 << 31) - 1
ABOUT_ID = "it must be the id of a rejection: a dedup ID, a point, and an item"
_MEMBERS = ("kind", "note", "ids", "filter", "expect")


class RejectedWrite(NamedTuple):
    """A rejection. text: JSON of its row, or of the edited row in its place; None where there is
    none, or rows were not asked for. place: in the order in which rejections are corrected."""

    id: str
    resource: str | None
    op: str | None
    type: str
    text: str | None
    is_edited: bool = False
    place: Sequence[Any] = ()

    @property
    def dedup_id(self) -> str:
        return self.id.partition(".")[0]

    @property
    def item(self) -> int:
        return int(self.id.partition(".")[2])


class Page(NamedTuple):
    """The next rejections of an act. after: the place before them. is_last: whether there are no
    more behind them."""

    rejections: Sequence[RejectedWrite]
    after: Sequence[Any] | None
    is_last: bool

    def first(self, count: int) -> "Page":
        """The beginning of the page."""
        if count >= len(self.rejections):
            return self
        return Page(self.rejections[:count], self.after, False)

    def result(
        self, corrections: Sequence[Correction], failed: Sequence[Mapping[str, str]]
    ) -> StepResult:
        """The result of a step that has come to the end of the page. failed: id and reason of
        rejections that remain as they are."""
        after = self.rejections[-1].place if self.rejections else self.after
        detail: dict[str, Any] = {"after": after} if after else {}
        if failed:
            detail["failed"] = failed[:_MOST_LISTED]
        if failed[_MOST_LISTED:]:
            detail["failed_unlisted"] = len(failed) - _MOST_LISTED
        state: State = "done" if self.is_last else "running"
        return StepResult(len(corrections), len(failed), state, detail, corrections)


def target(given: Mapping[str, Any], *others: str) -> dict[str, Any]:
    """The target in the body of an act: `ids`, or `filter`, with it `expect`, and `checked`, the
    checked filter. others: further members that the body may have. Raises Problem `invalid-act`."""
    faults = bodies.others(given, *_MEMBERS, *others)
    if ("ids" in given) == ("filter" in given):
        faults.append(Fault("", "oneOf", "name either ids or a filter, which may be {}"))
    found: dict[str, Any] = {}
    if "ids" in given:
        found["ids"] = ids(given["ids"], "/ids", faults)
    elif "filter" in given:
        found["filter"] = given["filter"]
        found["checked"] = filters.from_json(given["filter"], "/filter", faults)
        if found["checked"].get("state", "open") != "open":
            detail = "only open rejections can be corrected: leave it out"
            faults.append(Fault("/filter/state", "enum", detail))
    found |= _expected(given, faults)
    bodies.refuse(faults)
    return found


def ids(given: Any, pointer: str, faults: list[Fault]) -> list[str]:
    """The ids of rejections in a body. pointer: to them."""
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_IDS:
        detail = f"it must be an array of 1 to {MAX_IDS} ids; a filter may mean more"
        faults.append(Fault(pointer, "type", detail))
        return []
    for number, id_ in enumerate(given):
        if not is_id(id_):
            faults.append(Fault(f"{pointer}/{number}", "id", ABOUT_ID))
    texts = [str(each) for each in given]
    if len({*texts}) < len(texts):
        faults.append(Fault(pointer, "unique", "an id appears more than once"))
    return texts


def is_id(given: Any) -> bool:
    """Whether it is the id of a rejection, of which each has one spelling."""
    if not isinstance(given, str) or not _ID.fullmatch(given):
        return False
    item = given.partition(".")[2]
    return int(item) <= _LAST_ITEM and str(int(item)) == item


def next_page(request: Request, act: Act, most: int, with_rows: bool) -> Page:
    """The next rejections of an act, at most so many. Raises Problem `reader-busy`."""
    after = act.detail.get("after")
    given = {"after": after, "most": most, "bytes": _ROW_BYTES, "with_rows": with_rows}
    found = json.loads(asking.read(request, "next-rejected", act=act.id, **given).body)
    return Page([RejectedWrite(*each) for each in found["rejections"]], after, found["is_last"])


def rejected(request: Request, ids: Sequence[str], with_rows: bool) -> dict[str, RejectedWrite]:
    """Rejections by their ids, corrected or not. Raises Problem `reader-busy`, and 413 if their
    rows are too large to be read at once."""
    given = {"ids": [*ids], "bytes": _ROW_BYTES if with_rows else 0}
    found = json.loads(asking.read(request, "rejected", **given).body)
    if found["bytes"] > _ROW_BYTES:
        raise Problem(
            "body-too-large",
            f"the rows of these rejections have {found['bytes']} bytes; at most {_ROW_BYTES} can be"
            " tried at once: name fewer",
        )
    return {each.id: each for each in [RejectedWrite(*row) for row in found["rejections"]]}


def _expected(given: Mapping[str, Any], faults: list[Fault]) -> dict[str, int]:
    expect = given.get("expect")
    if expect is None and "filter" not in given:
        return {}
    if type(expect) is not int or not 0 <= expect < 1 << 53:
        detail = "give the number of rejections that the operator was shown"
        faults.append(Fault("/expect", "type", detail))
        return {}
    if "ids" in given and isinstance(given["ids"], list) and expect != len(given["ids"]):
        faults.append(Fault("/expect", "ids", f"there are {len(given['ids'])} ids"))
    return {"expect": expect}

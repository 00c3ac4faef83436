"""Acts that discard rejections: they are kept, and no longer open."""

from collections.abc import Mapping
from typing import Any

from chalicelib.api.http.request import Request
from chalicelib.api.ops import targets
from chalicelib.api.ops.act import Act, Correction, StepResult

_AT_ONCE = 5_000


def begin(request: Request, body: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG001
    """The rejections to discard, see `targets.target`."""
    return targets.target(body)


def step(request: Request, act: Act) -> StepResult:
    """Discard the next rejections."""
    page = targets.next_page(request, act, _AT_ONCE, with_rows=False)
    corrections = [Correction(each.id) for each in page.rejections]
    return page.result(corrections, failed=[])


def stop(request: Request, act: Act) -> None:
    """Nothing goes on by itself."""

"""An act of an operator, and what each kind of act knows to do."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

from chalicelib.api.http.request import Request

State = Literal["begun", "running", "done", "stopped"]


class Correction(NamedTuple):
    """A rejection that is corrected. id: its own. resent_as, resent_item: the dedup ID and the item
    of the write that was sent in its place; None if there is none."""

    id: str
    resent_as: str | None = None
    resent_item: int | None = None


class Act(NamedTuple):
    """An act as it is recorded.

    target: what `begin` has returned, without what is not shown. writes: how many it is to be done
    to, None where that is not known. done, failed: how many so far. steps: how many are recorded.
    detail: that of the last step, empty before the first.
    """

    id: str
    kind: str
    who: str
    note: str
    target: Mapping[str, Any]
    writes: int | None
    done: int
    failed: int
    state: State
    steps: int = 0
    detail: Mapping[str, Any] = MappingProxyType({})

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "stopped")


class StepResult(NamedTuple):
    """What a step has done. done, failed: in this step. state: of the act, if nobody has stopped
    it. detail: JSON, for operators and for the next step. corrections: rejections that are
    corrected with it; those that another act has corrected before count as failed, not as done."""

    done: int
    failed: int
    state: State
    detail: Mapping[str, Any] = MappingProxyType({})
    corrections: Sequence[Correction] = ()


class Kind(Protocol):
    """A kind of act, or several: a module.

    A step may be done twice, by two operators at once or after a crash before it was recorded, and
    has to be harmless then.
    """

    def begin(self, request: Request, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The target of a new act, as JSON. body: the request's, with `kind` and `note`, its
        numbers exact. Raises Problem for a body or a situation that does not allow the act."""

    def step(self, request: Request, act: Act) -> StepResult:
        """Do the next step of an act, in some 15 s. Raises Problem; nothing is recorded then."""

    def stop(self, request: Request, act: Act) -> None:
        """Undo what would go on by itself, before the act is recorded as stopped."""


def read(described: Mapping[str, Any]) -> Act:
    """An act from its JSON."""
    return Act(**{name: described[name] for name in Act._fields if name in described})

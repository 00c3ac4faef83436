"""The event source mappings: Lambda's pollers that take from the buffers, and can be paused.

A paused buffer goes on accepting writes. Lambda may need a minute to stop, or to begin again.
"""

import time
from collections.abc import Callable
from datetime import UTC
from functools import cache
from typing import Any, NamedTuple, TypeVar

from chalicelib import aws
from chalicelib.errors import Problem
from chalicelib.settings import BUFFERS, has_front_table, mapping_ids, mapping_variable

_Result = TypeVar("_Result")

_READ_SECONDS = 5.0
_MISSING = "Missing"
_OFF = ("Disabled", "Disabling", _MISSING)
_BUSY = ("ResourceInUseException", "ResourceConflictException", "TooManyRequestsException")


class MappingState(NamedTuple):
    """The state of a buffer's mapping.

    state: Lambda's word, such as Enabled, Disabling, Disabled; Missing; None: not known, and why.
    changed_at: an ISO 8601 time in UTC.
    """

    buffer: str
    state: str | None
    changed_at: str | None = None
    why: str = ""

    @property
    def paused(self) -> bool | None:
        """Whether nothing is taken from the buffer, or soon nothing will be; None: not known."""
        return None if self.state is None else self.state in _OFF


def buffers() -> list[str]:
    """The buffers of this stage."""
    has_stream = has_front_table() or "stream" in mapping_ids()
    return [each for each in BUFFERS if each != "stream" or has_stream]


def states(deadline: float) -> list[MappingState]:
    """The state of each buffer's mapping, whoever has changed it. deadline: a time.monotonic();
    what is not known by then has a reason in its place."""
    return [state(each, deadline) for each in buffers()]


def set_enabled(buffer: str, enabled: bool, deadline: float) -> MappingState:
    """Pause a buffer, or resume it; returns its state, which may still be on its way there. May be
    repeated. Raises Problem."""
    uuid = mapping_ids().get(buffer)
    if uuid is None:
        raise Problem("not-configured", _unnamed(buffer))
    try:
        found = _within(
            deadline,
            lambda client: client.update_event_source_mapping(UUID=uuid, Enabled=enabled),
        )
    except aws.failures() as error:
        if aws.code(error) in _BUSY:  # it is just being changed
            return state(buffer, deadline)
        raise Problem(
            "unavailable",
            f"Lambda did not change the mapping of {buffer}: {aws.code(error)}. Try again",
            headers={"Retry-After": "5"},
        ) from error
    return _as_state(buffer, found)


def state(buffer: str, deadline: float) -> MappingState:
    """The state of a buffer's mapping, as in `states`."""
    uuid = mapping_ids().get(buffer)
    if uuid is None:
        return MappingState(buffer, None, why=_unnamed(buffer))
    try:
        found = _within(deadline, lambda client: client.get_event_source_mapping(UUID=uuid))
    except aws.failures() as error:
        if aws.code(error) == "ResourceNotFoundException":
            return MappingState(buffer, _MISSING)
        return MappingState(buffer, None, why=f"Lambda did not tell: {aws.code(error)}")
    return _as_state(buffer, found)


def _within(deadline: float, call: Callable[[Any], _Result]) -> _Result:
    client = _client()
    return aws.within(min(deadline, time.monotonic() + _READ_SECONDS), lambda: call(client))


def _as_state(buffer: str, found: Any) -> MappingState:
    changed = found.get("LastModified")
    shown = changed.astimezone(UTC).isoformat(timespec="milliseconds") if changed else None
    return MappingState(buffer, found["State"], shown)


def _unnamed(buffer: str) -> str:
    return (
        f"{mapping_variable(buffer)} is not set. Deploy the stage; after `chalice deploy`, run"
        " `python -m decanter partial-responses`"
    )


@cache
def _client() -> Any:
    return aws.client("lambda", tries=2, read_timeout=_READ_SECONDS)

"""The state of the buffers' mappings, and how they are paused and resumed."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from chalicelib.buffer import mappings
from chalicelib.errors import Problem

CHANGED = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "so it is"}}, "Call")


class Lambda:
    """Lambda with mappings by their UUID; a change takes until the next look."""

    def __init__(self) -> None:
        self.states = {"u-1": "Enabled", "u-2": "Enabled", "u-3": "Enabled"}
        self.error: Exception | None = None

    def get_event_source_mapping(self, UUID: str) -> dict[str, Any]:
        if self.error:
            raise self.error
        found = self.states[UUID]
        self.states[UUID] = found.replace("ing", "ed")
        return {"UUID": UUID, "State": found, "LastModified": CHANGED}

    def update_event_source_mapping(self, UUID: str, Enabled: bool) -> dict[str, Any]:
        if self.error:
            error, self.error = self.error, None
            raise error
        self.states[UUID] = "Enabling" if Enabled else "Disabling"
        return {"UUID": UUID, "State": self.states[UUID], "LastModified": CHANGED}


@pytest.fixture(name="cloud")
def fixture_cloud(monkeypatch: pytest.MonkeyPatch) -> Lambda:
    found = Lambda()
    monkeypatch.setattr(mappings, "_client", lambda: found)
    for number, buffer in enumerate(("ORDERED", "UNORDERED", "STREAM"), 1):
        monkeypatch.setenv(f"DECANTER_{buffer}_MAPPING", f"u-{number}")
    monkeypatch.setenv("DECANTER_FRONT_TABLE", "front")
    return found


def soon() -> float:
    return time.monotonic() + 5


def found() -> dict[str, tuple[str | None, bool | None]]:
    return {each.buffer: (each.state, each.paused) for each in mappings.states(soon())}


def test_each_buffer_has_a_state(cloud: Lambda) -> None:
    cloud.states["u-3"] = "Disabled"

    assert found() == {
        "ordered": ("Enabled", False),
        "unordered": ("Enabled", False),
        "stream": ("Disabled", True),
    }
    assert mappings.states(soon())[0].changed_at == "2026-01-02T03:04:05.678+00:00"


def test_a_stage_without_a_front_table_has_no_stream(
    cloud: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DECANTER_FRONT_TABLE")
    assert [*found()] == ["ordered", "unordered", "stream"]  # as the audit knows it
    monkeypatch.delenv("DECANTER_STREAM_MAPPING")

    assert [*found()] == ["ordered", "unordered"]


def test_a_mapping_that_is_not_there_takes_nothing(cloud: Lambda) -> None:
    cloud.error = refusal("ResourceNotFoundException")

    assert set(found().values()) == {("Missing", True)}


def test_a_buffer_is_paused_and_resumed(cloud: Lambda) -> None:
    pausing = mappings.set_enabled("unordered", False, soon())

    assert (pausing.state, pausing.paused) == ("Disabling", True)
    assert found()["unordered"] == ("Disabling", True)
    assert found()["unordered"] == ("Disabled", True)
    assert found()["ordered"] == ("Enabled", False)
    resuming = mappings.set_enabled("unordered", True, soon())
    assert (resuming.state, resuming.paused) == ("Enabling", False)


@pytest.mark.parametrize("code", ["ResourceInUseException", "ResourceConflictException"])
def test_a_mapping_that_is_just_being_changed_is_looked_at(cloud: Lambda, code: str) -> None:
    cloud.error = refusal(code)

    assert mappings.set_enabled("ordered", False, soon()).state == "Enabled"
    assert mappings.set_enabled("ordered", False, soon()).state == "Disabling"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (refusal("AccessDeniedException"), "AccessDeniedException"),
        (EndpointConnectionError(endpoint_url="https://x"), "EndpointConnectionError"),
    ],
)
def test_what_lambda_does_not_tell_is_not_known(cloud: Lambda, error: Exception, why: str) -> None:
    cloud.error = error

    first = mappings.states(soon())[0]
    assert (first.state, first.paused, first.changed_at) == (None, None, None)
    assert why in first.why
    with pytest.raises(Problem, match=why) as problem:
        mappings.set_enabled("ordered", False, soon())
    assert problem.value.status == 503


def test_a_mapping_that_is_not_named_says_what_to_do(
    cloud: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DECANTER_ORDERED_MAPPING")

    assert "DECANTER_ORDERED_MAPPING" in mappings.states(soon())[0].why
    with pytest.raises(Problem, match="partial-responses"):
        mappings.set_enabled("ordered", False, soon())


def test_nothing_is_asked_without_time(cloud: Lambda) -> None:
    assert [each.state for each in mappings.states(time.monotonic())] == [None, None, None]

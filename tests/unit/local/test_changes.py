"""What `make dev` does with a change of the models."""

from typing import Any
from unittest.mock import Mock

import pytest

from decanter.deployment.stage import Stage
from decanter.local import dev, stack


def applied(monkeypatch: pytest.MonkeyPatch, *, had: bool, has: bool) -> list[str]:
    """The steps of applying a change of the models. had, has: whether the stage had a front table,
    and has one now."""
    steps: list[str] = []
    server: Any = Mock()
    server.stack.stage = Stage("p", "jwt", has_front=had)
    server.cloud.deploy.side_effect = lambda: steps.append("deploy") or server.stack
    monkeypatch.setattr(dev, "load", lambda *_: Stage("p", "jwt", has_front=has))
    monkeypatch.setattr(dev, "_check_syntax", lambda: None)
    monkeypatch.setattr(dev, "_run_python", lambda *_, **__: "")
    monkeypatch.setattr(stack, "update_code", lambda *_: steps.append("code"))
    monkeypatch.setattr(stack, "migrate", lambda *_: steps.append("migrate") or {})
    monkeypatch.setattr(dev.package, "app_code", lambda _project: b"")

    dev._apply(server, {dev.MODELS}, lambda _error: None)

    return steps


@pytest.mark.parametrize(
    ("had", "has", "expected"),
    [
        (False, True, ["deploy"]),
        (True, False, ["deploy"]),
        (True, True, ["code", "migrate"]),
        (False, False, ["code", "migrate"]),
    ],
)
def test_a_front_table_comes_and_goes_with_the_models(
    monkeypatch: pytest.MonkeyPatch, had: bool, has: bool, expected: list[str]
) -> None:
    assert applied(monkeypatch, had=had, has=has) == expected

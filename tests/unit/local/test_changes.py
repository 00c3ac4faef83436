"""What `make dev` does with a change of the models."""

from typing import Any
from unittest.mock import Mock

import pytest

from decanter.deployment.stage import Stage
from decanter.local import dev, stack

Fronts = dict[str, str]


def applied(monkeypatch: pytest.MonkeyPatch, *, had: Fronts, has: Fronts) -> list[str]:
    """The steps of applying a change of the models. had, has: the resources with items before and
    after it."""
    steps: list[str] = []
    server: Any = Mock()
    server.stack.stage = Stage("p", "jwt", fronts=had)
    server.cloud.deploy.side_effect = lambda: steps.append("deploy") or server.stack
    monkeypatch.setattr(dev, "load", lambda *_: Stage("p", "jwt", fronts=has))
    monkeypatch.setattr(dev, "_check_syntax", lambda: None)
    monkeypatch.setattr(dev, "_run_python", lambda *_, **__: "")
    monkeypatch.setattr(
        stack,
        "hydrate",
        lambda _cloud, _stack, known, say: steps.append(f"hydrate, not {[*known]}"),
    )
    monkeypatch.setattr(stack, "update_code", lambda *_: steps.append("code"))
    monkeypatch.setattr(stack, "migrate", lambda *_: steps.append("migrate") or {})
    monkeypatch.setattr(dev.package, "app_code", lambda _project: b"")

    dev._apply(server, {dev.MODELS}, lambda _error: None)

    return steps


@pytest.mark.parametrize(
    ("had", "has", "expected"),
    [
        ({}, {"a": "dynamodb"}, ["deploy", "hydrate, not []"]),
        ({"a": "dynamodb"}, {}, ["deploy", "hydrate, not ['a']"]),
        ({"a": "dynamodb"}, {"a": "closed"}, ["deploy", "hydrate, not ['a']"]),
        ({"a": "closed"}, {"a": "closed", "b": "dynamodb"}, ["deploy", "hydrate, not ['a']"]),
        ({"a": "dynamodb"}, {"a": "dynamodb"}, ["code", "migrate"]),
        ({}, {}, ["code", "migrate"]),
    ],
)
def test_a_front_comes_and_goes_with_the_models(
    monkeypatch: pytest.MonkeyPatch, had: Fronts, has: Fronts, expected: list[str]
) -> None:
    assert applied(monkeypatch, had=had, has=has) == expected

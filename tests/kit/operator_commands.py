"""`python -m decanter`, as an operator types it."""

import io
import shlex
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from decanter.__main__ import main
from tests.kit.deployed_operator import Operator


class Said(NamedTuple):
    """What a command has said, and its exit code."""

    code: int
    out: str
    err: str


Type = Callable[[str], Said]
"""Runs what stands behind `python -m decanter`, and answers yes to whatever it asks."""


@pytest.fixture(name="type_")
def fixture_type(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Type:
    """`type_(command)`, with the operator's token and the credentials of the local cloud."""
    monkeypatch.setenv("DECANTER_URL", operator.deployed.api_url)
    monkeypatch.setenv("DECANTER_TOKEN", operator.token)
    for name, value in operator.deployed.cloud.ministack.environment.items():
        monkeypatch.setenv(name, value)
    answers = io.StringIO("y\n" * 100)
    answers.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", answers)

    def run(command: str) -> Said:
        capsys.readouterr()
        try:
            code = main(shlex.split(command))
        except SystemExit as end:  # argparse's
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err, err
        assert "bug in Decanter" not in err, err
        return Said(code, out, err)

    return run

"""A command reads the stage once."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from decanter import PROJECT
from decanter.__main__ import main
from decanter.deployment import packaging, pipeline, template
from decanter.deployment.stage import Stage
from tests.kit.opened import opened


class Package:
    """A package that is nothing but its template."""

    def __init__(self, _project: Path, stage: Stage, _out: Path) -> None:
        self.template = template.build(stage)
        for name, resource in self.template["Resources"].items():
            for event in resource.get("Properties", {}).get("Events", {}).values():
                event["Properties"]["ScalingConfig"] = {"MaximumConcurrency": 2}
            if f"{name}Logs" in self.template["Resources"]:
                resource["Properties"]["ReservedConcurrentExecutions"] = 2


def nobody(_service: str) -> Any:
    """AWS without credentials."""
    raise NoCredentialsError


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["template"], '"Resources"'),
        (["budget", "--url", "postgresql://127.0.0.1:1/d"], "sum"),
        (["check"], "credentials"),
        (["check", "--plain"], "credentials"),
        (["deploy"], "credentials"),
        (["migrate"], "credentials"),
        (["secrets"], "credentials"),
        (["queues"], "credentials"),
        (["partial-responses"], "credentials"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_command_opens_the_configuration_once(
    command: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pipeline, "client", nobody)
    monkeypatch.setattr(packaging, "package", Package)

    with opened("config.json") as files:
        main([*command, "--stage", "dev"])

    shown = capsys.readouterr()
    assert said in shown.out + shown.err
    assert files == [PROJECT / ".chalice" / "config.json"]

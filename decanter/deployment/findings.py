"""Reasons not to deploy, and failures of a deployment."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Finding(NamedTuple):
    """A reason not to deploy. name: stable. text: what is wrong, where, and what to do."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


class DeploymentError(Exception):
    """CloudFormation, a migration or the smoke test failed."""


class PreflightFailed(Exception):
    """A stage cannot be deployed as it is; nothing was changed."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


def refuse(findings: Iterable[Finding]) -> None:
    """Raise PreflightFailed if there are findings."""
    if found := [*findings]:
        raise PreflightFailed(found)

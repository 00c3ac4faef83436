"""Why something is not deployed."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Finding(NamedTuple):
    """Why something is not deployed. name: stays the same; text: what is wrong, and the cure."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


class DeploymentError(Exception):
    """CloudFormation, a migration or the smoke test failed."""


class PreflightFailed(Exception):
    """Something cannot be deployed as it is; nothing was changed."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


def refuse(findings: Iterable[Finding]) -> None:
    """Raises PreflightFailed if there are any."""
    if found := [*findings]:
        raise PreflightFailed(found)

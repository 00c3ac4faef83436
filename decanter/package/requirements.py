"""requirements.txt: what is deployed, each at one version and with the hashes of its files."""

import re
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from decanter.package.faults import PackagingError
from decanter.package.runtime import Runtime

WRITE_ANEW = "Name it in requirements.in and run: make requirements"


class Pin(NamedTuple):
    """A distribution. name: normalised."""

    name: str
    version: str


def pins(project: Path, runtime: Runtime) -> list[Pin]:
    """What requirements.txt of a project wants on a runtime, in its order.

    Raises PackagingError where it is not pinned and hashed, or not what requirements.in asks for.
    """
    file = project / "requirements.txt"
    found = []
    for line in _lines(file):
        requirement = _requirement(line, file)
        pin = _pin(requirement, line, file)
        if pin.name == "chalice":
            raise PackagingError(
                "chalice is in requirements.txt, and would bring pip and setuptools along: take "
                "it out of requirements.in and run: make requirements. What functions need of it "
                "is packaged anyway."
            )
        if requirement.marker is None or requirement.marker.evaluate(runtime.markers):
            found.append(pin)
    _compare(project / "requirements.in", dict(found))
    return found


def _lines(file: Path) -> list[str]:
    text = re.sub(r"\\\r?\n", " ", file.read_text(encoding="utf-8"))
    stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in stripped if line]


def _requirement(line: str, file: Path) -> Requirement:
    try:
        return Requirement(line.split(" --hash")[0])
    except InvalidRequirement:
        raise PackagingError(
            f"{file.name} has a line that is not a pinned requirement: {line[:60]!r}. {WRITE_ANEW}"
        ) from None


def _pin(requirement: Requirement, line: str, file: Path) -> Pin:
    [*specifiers] = requirement.specifier
    if len(specifiers) != 1 or specifiers[0].operator != "==" or "*" in specifiers[0].version:
        raise PackagingError(f"{file.name} does not pin {requirement.name}. {WRITE_ANEW}")
    if not re.search(r"\s--hash=sha256:[0-9a-f]{64}\b", line):
        raise PackagingError(
            f"{file.name} has no hashes of {requirement.name}, so another file could take its "
            f"place. {WRITE_ANEW}"
        )
    return Pin(canonicalize_name(requirement.name), specifiers[0].version)


def _compare(file: Path, found: dict[str, str]) -> None:
    """Whether requirements.txt has what requirements.in, where there is one, asks for."""
    for line in _lines(file) if file.exists() else ():
        wanted = _requirement(line, file)
        version = found.get(canonicalize_name(wanted.name))
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            raise PackagingError(
                f"requirements.in asks for {wanted.name}{wanted.specifier}, and requirements.txt "
                f"has {version or 'none'}. Run: make requirements"
            )

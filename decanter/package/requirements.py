"""requirements.txt: the deployed packages, each with its version and the hashes of its files."""

import re
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from decanter.package.faults import PackagingError
from decanter.package.runtime import Runtime

_CURE = "Add it to requirements.in and run: make requirements"


class Pin(NamedTuple):
    """A pinned distribution, with its normalised name."""

    name: str
    version: str


def pins(project: Path, runtime: Runtime) -> list[Pin]:
    """Return the pins in a project's requirements.txt for a runtime, in order.

    Raise PackagingError where one lacks a version or hash, or does not match requirements.in.
    """
    file = project / "requirements.txt"
    found = []
    for line in _lines(file):
        requirement = _requirement(line, file)
        pin = _pin(requirement, line, file)
        if pin.name == "chalice":
            raise PackagingError(
                "chalice is in requirements.txt, which adds pip and setuptools: remove it from "
                "requirements.in and run: make requirements. What functions need of it is packaged "
                "anyway."
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
            f"{file.name} has a line that is not a pinned requirement: {line[:60]!r}. {_CURE}"
        ) from None


def _pin(requirement: Requirement, line: str, file: Path) -> Pin:
    [*specifiers] = requirement.specifier
    if len(specifiers) != 1 or specifiers[0].operator != "==" or "*" in specifiers[0].version:
        raise PackagingError(f"{file.name} does not pin {requirement.name}. {_CURE}")
    if not re.search(r"\s--hash=sha256:[0-9a-f]{64}\b", line):
        raise PackagingError(
            f"{file.name} has no hashes of {requirement.name}, so its file could be "
            f"replaced. {_CURE}"
        )
    return Pin(canonicalize_name(requirement.name), specifiers[0].version)


def _compare(file: Path, found: dict[str, str]) -> None:
    """Raise PackagingError where requirements.txt does not satisfy requirements.in, if any."""
    for line in _lines(file) if file.exists() else ():
        wanted = _requirement(line, file)
        version = found.get(canonicalize_name(wanted.name))
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            raise PackagingError(
                f"requirements.in asks for {wanted.name}{wanted.specifier}, and requirements.txt "
                f"has {version or 'none'}. Run: make requirements"
            )

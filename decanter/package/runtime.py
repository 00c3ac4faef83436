"""The runtimes of Lambda: a version of Python and a processor architecture."""

import sys
from dataclasses import dataclass

from packaging.tags import Tag, compatible_tags, cpython_tags

from decanter.package.faults import PackagingError

ARCHITECTURES = ("x86_64", "arm64")
OLDEST_ON_ARM = (3, 12)


@dataclass(frozen=True)
class Runtime:
    """A runtime of Lambda. python: such as (3, 11); architecture: one of ``ARCHITECTURES``."""

    python: tuple[int, int]
    architecture: str = "x86_64"

    @property
    def name(self) -> str:
        """Lambda's name of the runtime."""
        return f"python{self.python[0]}.{self.python[1]}"

    @property
    def abi(self) -> str:
        """The ABI in the names of wheels."""
        return f"cp{self.python[0]}{self.python[1]}"

    @property
    def machine(self) -> str:
        """The processor in the names of wheels."""
        return {"x86_64": "x86_64", "arm64": "aarch64"}[self.architecture]

    @property
    def glibc(self) -> tuple[int, int]:
        """The C library: of Amazon Linux 2 up to Python 3.11, of Amazon Linux 2023 since."""
        return (2, 34) if self.python >= (3, 12) else (2, 26)

    @property
    def site_packages(self) -> str:
        """The folder of packages in a layer."""
        return f"python/lib/{self.name}/site-packages"

    @property
    def platforms(self) -> list[str]:
        """The compatible platforms in the names of published wheels, newest first."""
        major, newest = self.glibc
        names = [f"manylinux_{major}_{minor}" for minor in range(newest, 4, -1)]
        old = ["manylinux2014", "manylinux2010", "manylinux1"]
        return [f"{name}_{self.machine}" for name in (*names, *old)]

    @property
    def tags(self) -> frozenset[Tag]:
        """The tags of compatible wheels, including those built on such a system."""
        platforms = [*self.platforms, f"linux_{self.machine}"]
        native = cpython_tags(self.python, [self.abi], platforms)
        return frozenset([*native, *compatible_tags(self.python, self.abi, platforms)])

    @property
    def markers(self) -> dict[str, str]:
        """The environment markers that differ from those of this CPython."""
        version = f"{self.python[0]}.{self.python[1]}"
        return {
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_system": "Linux",
            "python_full_version": f"{version}.0",
            "python_version": version,
            "sys_platform": "linux",
        }


def runtime_of(stage: str, architecture: str) -> Runtime:
    """Return the runtime of a stage: its architecture, and the version of this Python.

    Chalice takes the version from the running Python, too. Raise PackagingError.
    """
    if architecture not in ARCHITECTURES:
        raise PackagingError(
            f"lambda_architecture of stage {stage!r} in .chalice/config.json is {architecture!r}: "
            f"it has to be {' or '.join(ARCHITECTURES)}."
        )
    found = Runtime(sys.version_info[:2], architecture)
    if found.architecture == "arm64" and found.python < OLDEST_ON_ARM:
        raise PackagingError(
            f"Stage {stage!r} is for arm64, and this is {found.name}: psycopg2-binary and "
            "jsonschema-rs have wheels for Lambda on arm64 from Python 3.12 on. Package with a "
            "newer Python (make clean, then make package PYTHON=python3.12), or set "
            "lambda_architecture of the stage in .chalice/config.json to x86_64."
        )
    return found

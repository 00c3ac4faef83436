"""Checks of the finished zips: nothing is missing, and nothing is in them that should not be.

Chalice only warns of a wheel that it cannot find, and packs every file in ``chalicelib``.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.parser import HeaderParser
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from packaging.tags import parse_tag
from packaging.utils import canonicalize_name

from decanter.package.requirements import Pin
from decanter.package.runtime import Runtime

UNPACKED_BYTES = 250 * 2**20
"""Lambda's limit for code and layers, unpacked."""

_REBUILD = "remove build/layers and .chalice/deployments, and package again"

_CODE = ("app.py", "chalicelib/*", "chalice/__init__.py", "chalice/app.py", "*__pycache__/*.pyc")
_TESTS = re.compile(r"(^|/)(tests?/|test_[^/]*\.py$|conftest\.py$)")
_SECRET_NAMES = (".env", ".env.*", "*.key", "id_rsa*", "id_ed25519*", "*.p12", "*.pfx", "*.kdbx")
_SECRETS = {
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[\w+/=:, -]{16}"),
    "an AWS access key": re.compile(rb"\b(AKIA|ASIA)(?!\w*EXAMPLE)[A-Z0-9]{16}\b"),
    "a database URL with its password": re.compile(
        rb"postgres(ql)?://[^\s:/@]+:(?!password@)[^\s:/@{]+@"
    ),
}
_ELF = b"\x7fELF"
_LITTLE_64 = b"\x02\x01"
_MACHINES = {b"\x3e\x00": "x86_64", b"\xb7\x00": "aarch64"}
_FOREIGN = {".dylib": "macOS", ".pyd": "Windows", ".dll": "Windows"}


def find_faults(
    code: Mapping[str, bytes], layer: Mapping[str, bytes], pins: Sequence[Pin], runtime: Runtime
) -> list[str]:
    """Return what is wrong with the zips of functions and layer, with the cures."""
    prefix = f"{runtime.site_packages}/"
    packages = {
        name.removeprefix(prefix): content
        for name, content in layer.items()
        if name.startswith(prefix)
    }
    return [
        *_misplaced(layer, prefix),
        *_distributions(packages, pins),
        *_wheels(packages, runtime),
        *_libraries({**packages, **code}, runtime),
        *_code(code),
        *_tests(packages, "leave it out in decanter/package/contents.py"),
        *_secret_files({**packages, **code}),
        *_secrets(code),
        *_size([*code.values(), *layer.values()]),
    ]


def _misplaced(layer: Mapping[str, bytes], prefix: str) -> Iterator[str]:
    others = sorted({name.split("/site-packages/")[0] for name in layer if prefix not in name})
    if others:
        yield (
            f"The layer has files outside {prefix}, and Python ignores {others[0]!r}: it was made "
            f"for another Python; {_REBUILD}."
        )


def _distributions(packages: Mapping[str, bytes], pins: Sequence[Pin]) -> Iterator[str]:
    found: dict[str, str] = {}
    for name, content in packages.items():
        if fnmatchcase(name, "*.dist-info/METADATA") and name.count("/") == 1:
            headers = HeaderParser().parsestr(content.decode(errors="replace"))
            found[canonicalize_name(headers["Name"])] = headers["Version"]
    for pin in pins:
        if pin.name not in found:
            yield (
                f"No wheel of {pin.name} is in the layer: pin a version in requirements.in that "
                "has one for Lambda, or put the package into vendor/."
            )
        elif found[pin.name] != pin.version:
            yield (
                f"The layer has {pin.name} {found[pin.name]}, and requirements.txt pins "
                f"{pin.version}: {_REBUILD}."
            )
    for name in sorted(found.keys() - {pin.name for pin in pins}):
        yield (
            f"{name} is in the layer, and not in requirements.txt: {_REBUILD}; what functions need "
            "belongs into requirements.in."
        )


def _wheels(packages: Mapping[str, bytes], runtime: Runtime) -> Iterator[str]:
    """Yield wheels for other platforms than Lambda's."""
    for name, content in packages.items():
        if not fnmatchcase(name, "*.dist-info/WHEEL"):
            continue
        tags = re.findall(r"^Tag: (\S+)", content.decode(errors="replace"), re.M)
        if tags and runtime.tags.isdisjoint(each for tag in tags for each in parse_tag(tag)):
            yield (
                f"{name.split('-')[0]} in the layer is built for {', '.join(tags)}, which "
                f"{runtime.name} on {runtime.architecture} cannot load: {_REBUILD}; if it stays, "
                "pin another version."
            )


def _libraries(files: Mapping[str, bytes], runtime: Runtime) -> Iterator[str]:
    for name, content in files.items():
        if wrong := _wrong_library(name, content, runtime):
            yield (
                f"{name} is {wrong}, and the functions run with {runtime.name} on "
                f"{runtime.architecture}: {_REBUILD}; if it is of vendor/, build it for Lambda."
            )


def _wrong_library(name: str, content: bytes, runtime: Runtime) -> str | None:
    path = PurePosixPath(name)
    if path.suffix in _FOREIGN:
        return f"a library for {_FOREIGN[path.suffix]}"
    if not content.startswith(_ELF):
        return "not a native library" if path.suffix == ".so" else None
    machine = _MACHINES.get(content[18:20]) if content[4:6] == _LITTLE_64 else None
    if machine != runtime.machine:
        return f"built for {machine or 'another machine'}"
    versions = re.findall(rb"\0GLIBC_(\d+)\.(\d+)(?=[.\d]*\0)", content)
    newest = max(((int(major), int(minor)) for major, minor in versions), default=(0, 0))
    if newest > runtime.glibc:
        return "built for glibc {}.{}".format(*newest)
    tag = re.search(r"\.(cpython-\d+)[^/]*\.so$", name)
    if tag and tag[1] != f"cpython-{runtime.abi[2:]}":
        return f"built for {tag[1]}"
    return None


def _code(code: Mapping[str, bytes]) -> Iterator[str]:
    for name in sorted(code):
        if not any(fnmatchcase(name, pattern) for pattern in _CODE):
            yield (
                f"{name} is in the functions' code, which is app.py and chalicelib only: move it."
            )
    yield from _tests(code, "move it to tests/")


def _tests(files: Iterable[str], cure: str) -> Iterator[str]:
    for name in sorted(files):
        if _TESTS.search(name):
            yield f"{name} is a test, and would be deployed: {cure}."


def _secret_files(files: Iterable[str]) -> Iterator[str]:
    for name in files:
        if any(fnmatchcase(PurePosixPath(name).name, pattern) for pattern in _SECRET_NAMES):
            yield (
                f"{name} would be deployed, and files of that name hold secrets: move it elsewhere "
                "and keep secrets in Secrets Manager."
            )


def _secrets(files: Mapping[str, bytes]) -> Iterator[str]:
    for name, content in files.items():
        for what, pattern in _SECRETS.items():
            if not name.endswith(".pyc") and pattern.search(content):
                yield (
                    f"{name} holds {what}, and would be deployed: remove and revoke it, "
                    "and keep secrets in Secrets Manager."
                )


def _size(contents: Iterable[bytes]) -> Iterator[str]:
    unpacked = sum(len(content) for content in contents)
    if unpacked > UNPACKED_BYTES:
        yield (
            f"Functions and layer are {unpacked / 2**20:.0f} MiB unpacked, and Lambda takes "
            f"{UNPACKED_BYTES // 2**20}: leave out more in decanter/package/contents.py."
        )

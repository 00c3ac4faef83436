"""A Chromium for tests of pages: an installed one, or one fetched into .venv."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.kit.project import HOME

# First the one that has no window to make: a page costs it a quarter of the processor's time.
_SHELL = "chromium-headless-shell"
_NAMES = (
    _SHELL,
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "msedge",
)
_MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
_HOME = (HOME / ".venv").resolve() / "chromium"  # its start script has this path
_APT = (
    "apt-get",
    "-qq",
    "-o=Debug::NoLocking=1",
    f"-o=Dir::State::Lists={_HOME}/lists",
    f"-o=Dir::Cache={_HOME}",
)


class NoChromium(Exception):
    """No Chromium is available; the message has the cure."""


def chromium() -> str:
    """Return the path of a Chromium, which is fetched if necessary. Raise NoChromium."""
    if named := os.environ.get("DECANTER_CHROMIUM"):
        return named
    _HOME.mkdir(parents=True, exist_ok=True)
    with (_HOME / ".lock").open("w") as lock:
        # Tests that run beside these wait until it is there as a whole.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := next(_present(), None):
            return found
        errors = [error for way in (_unpack_debian, _install_playwright) if (error := way())]
        if found := next(_present(), None):
            return found
    raise NoChromium(
        "There is no Chromium on this machine, and it could not be fetched. Install one"
        " (`apt-get install chromium`, `brew install --cask google-chrome`), or name one in"
        " DECANTER_CHROMIUM.\n" + "\n".join(errors)
    )


def _present() -> Iterator[str]:
    yield from filter(None, map(shutil.which, _NAMES))
    for path in (_HOME / _SHELL, *_HOME.glob("playwright/*/*/chrome-headless-shell"), Path(_MACOS)):
        if path.exists():
            yield str(path)


def _unpack_debian() -> str:
    """Unpack Debian's package and its dependencies, which needs no rights and changes nothing on
    the machine. Return the error, if any."""
    if not shutil.which("apt-get"):
        return "apt-get: not found"
    for folder in ("lists/partial", "archives/partial"):
        (_HOME / folder).mkdir(parents=True, exist_ok=True)
    wanted = ("install", "--yes", "--no-install-recommends", "--download-only", _SHELL)
    if error := _failure(*_APT, "update") or _failure(*_APT, *wanted):
        return error
    root = _HOME / "root"
    for package in sorted(_HOME.glob("archives/*.deb")):
        if error := _failure("dpkg-deb", "--extract", str(package), str(root)):
            return error
    shutil.rmtree(_HOME / "archives")
    program = root / "usr/lib/chromium" / _SHELL
    if not program.exists():
        return "apt-get: its package has no Chromium"
    libraries = sorted({str(path.parent) for path in root.glob("usr/lib/*/**/*.so*")})
    started = _HOME / _SHELL
    started.write_text(
        f'#!/bin/sh\nLD_LIBRARY_PATH="{":".join(libraries)}" exec "{program}" "$@"\n'
    )
    started.chmod(0o755)
    return ""


def _install_playwright() -> str:
    os.environ["PLAYWRIGHT_BROWSERS_PATH"] = str(_HOME / "playwright")
    return _failure(sys.executable, "-m", "playwright", "install", "--only-shell", "chromium")


def _failure(*command: str) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    return f"{command[0]}: {(done.stderr or done.stdout)[-500:]}" if done.returncode else ""

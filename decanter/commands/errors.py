"""What goes wrong with a command, in a line: what, where in the user's files, and the cure.

Errors of ours say all that themselves. Those of others get the place in the models, in a revision
or in app.py that led to them. What is left is a fault of Decanter's own, whose traceback is kept in
a file.
"""

import errno
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from decanter import PROJECT

MODELS = "chalicelib/models.py"
STOPPED = 130
_OURS = ("decanter", "chalicelib")
_USERS = re.compile(
    r"(?:^|/)(app\.py|chalicelib/models(?:\.py|/.+)|"
    r"chalicelib/migrations/versions/models/[^/]+)$"
)
_INSTALLED = re.compile(r"(?:^|/)(site-packages|\.venv|lib/python[\d.]+)/|^<")
_FRAME = re.compile(r'^ *File "(.+)", line (\d+)', re.MULTILINE)
_CURES = {
    errno.ENOSPC: "Free some space on that disk.",
    errno.EDQUOT: "Free some space: a quota is used up.",
    errno.EACCES: "Let this user write there, or name another folder.",
    errno.EPERM: "Let this user write there, or name another folder.",
    errno.EROFS: "Name a folder that can be written to.",
    errno.ENOTDIR: "Name a folder, or a path in which all parts are folders.",
    errno.EEXIST: "Name another folder, or move what is there.",
    errno.EISDIR: "Name another file, or move the folder that is there.",
    errno.ENOENT: "Bring it back (git status says what is missing), or name another.",
    errno.EADDRINUSE: "Stop what uses the port, or choose another one with --port.",
    errno.EMFILE: "Let this shell open more files: ulimit -n 4096.",
}


def guarded(run: Callable[[], int]) -> int:
    """The exit code of a command; what goes wrong is on stderr, without a traceback."""
    try:
        return run()
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # who reads has enough; nothing more is to be flushed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        print(f"\n{explanation(error) or _kept(error)}", file=sys.stderr)
        return 1


def explanation(error: BaseException) -> str | None:
    """What is wrong and where, and the cure if there is one; None for a fault of our own."""
    if type(error).__module__.partition(".")[0] in _OURS:
        return shortened(str(error)) or type(error).__name__
    if place := _place(error):
        return f"{place}: {type(error).__name__}: {_said(error)}{_cure(error)}"
    if isinstance(error, OSError) and (error.filename or error.errno in _CURES):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{where}. {_CURES.get(error.errno or 0, '')}".rstrip()
    library = type(error).__module__.partition(".")[0]
    if library == "sqlalchemy":
        return f"{MODELS}: {_said(error)}{_cure(error)}"
    if library in ("alembic", "botocore", "boto3", "psycopg2"):
        return _said(error)
    return None


def shortened(said: str) -> str:
    """What a program has printed, a traceback in it as its last line with the place."""
    before, traced, after = said.partition("Traceback (most recent call last):")
    if not traced:
        return said.strip()
    place = _innermost(_FRAME.findall(after))
    last = after.strip().splitlines()[-1]
    return f"{before.lstrip()}{place}: {last}" if place else f"{before.lstrip()}{last}"


def _place(error: BaseException) -> str:
    """File and line of the user's that led to it."""
    frames = [
        (each.filename, each.lineno or 0) for each in traceback.extract_tb(error.__traceback__)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno or 0))
    return _innermost(frames)


def _innermost(frames: Iterable[tuple[str, int | str]]) -> str:
    """Of what the user's files call, the innermost that is not installed."""
    found = ""
    for file, line in frames:
        match = _USERS.search(Path(file).as_posix())
        if match:
            found = f"{match[1]}:{line}"
        elif found and not _INSTALLED.search(file):
            path = Path(file)
            shown = path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path
            found = f"{shown}:{line}"
    return found


def _said(error: BaseException) -> str:
    """Its message in one line, without what libraries add for their own users."""
    if isinstance(error, SyntaxError):
        return f"{error.msg}: {(error.text or '').strip()}"
    text = str(getattr(error, "orig", None) or error)
    lines = (line.strip() for line in text.split("(Background on this error")[0].splitlines())
    return " ".join(line for line in lines if line and not set(line) <= {"^", " "})


def _cure(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return ". Name what has it in requirements.in, and run: make requirements"
    if re.search(r'(type|operator class|access method) "[^"]+" does not exist', str(error)):
        return (
            '. If an extension of Postgres has it, declare that: MetaData(info={"extensions":'
            ' ["…"]})'
        )
    return ""


def _kept(error: BaseException) -> str:
    """Keep the traceback for a report."""
    last = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    try:
        descriptor, path = tempfile.mkstemp(prefix="decanter-fault-", suffix=".txt", text=True)
        with os.fdopen(descriptor, "w") as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return f"A fault of Decanter's own: {last}"
    return (
        f"A fault of Decanter's own: {last}\nPlease report it, with what you did and what is in"
        f" {path}."
    )

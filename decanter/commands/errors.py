"""One line for each error of a command: what is wrong, where in the user's files, and the cure.

Decanter's own errors say so themselves. Those of libraries get the place in the models, a revision
or app.py that led to them. Any other is a bug in Decanter; its traceback is saved to a file.
"""

import errno
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from decanter import PROJECT, relative

MODELS = "chalicelib/models.py"
STOPPED = 130
_OURS = ("decanter", "chalicelib", "benchmarks")
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
    errno.EROFS: "Name a writable folder.",
    errno.ENOTDIR: "Name a folder; all its parents have to be folders, too.",
    errno.EEXIST: "Name another folder, or move the existing file.",
    errno.EISDIR: "Name another file, or move the existing folder.",
    errno.ENOENT: "Restore it (see git status), or name another.",
    errno.EADDRINUSE: "Stop the program that uses the port, or choose another with --port.",
    errno.EMFILE: "Allow more open files: ulimit -n 4096.",
}


def run_reporting(run: Callable[[], int]) -> int:
    """Return the exit code of a command; report its errors on stderr, without tracebacks."""
    try:
        return run()
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # the reader has closed the pipe; nothing may be flushed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        print(f"\n{explain(error) or _save_traceback(error)}", file=sys.stderr)
        return 1


def explain(error: BaseException) -> str | None:
    """Return what is wrong and where, with the cure if there is one; None for a bug of Decanter."""
    if type(error).__module__.partition(".")[0] in _OURS:
        return shorten_traceback(str(error)) or type(error).__name__
    if place := _find_place(error):
        return f"{place}: {type(error).__name__}: {_message(error)}{_cure(error)}"
    if isinstance(error, OSError) and (error.filename or error.errno in _CURES):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{where}. {_CURES.get(error.errno or 0, '')}".rstrip()
    library = type(error).__module__.partition(".")[0]
    if library == "sqlalchemy":
        return f"{MODELS}: {_message(error)}{_cure(error)}"
    if library in ("alembic", "botocore", "boto3", "psycopg2"):
        return _message(error)
    return None


def shorten_traceback(output: str) -> str:
    """Reduce a traceback in a program's output to its last line, with the place."""
    before, traced, after = output.partition("Traceback (most recent call last):")
    if not traced:
        return output.strip()
    place = _innermost(_FRAME.findall(after))
    last = after.strip().splitlines()[-1]
    return f"{before.lstrip()}{place}: {last}" if place else f"{before.lstrip()}{last}"


def _find_place(error: BaseException) -> str:
    """Return the file and line of the user's that led to an error."""
    frames = [
        (each.filename, each.lineno or 0) for each in traceback.extract_tb(error.__traceback__)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno or 0))
    return _innermost(frames)


def _innermost(frames: Iterable[tuple[str, int | str]]) -> str:
    """Return the innermost frame that the user's files lead to and that is not in a library."""
    found = ""
    for file, line in frames:
        match = _USERS.search(Path(file).as_posix())
        if match:
            found = f"{match[1]}:{line}"
        elif found and not _INSTALLED.search(file):
            found = f"{relative(Path(file), PROJECT)}:{line}"
    return found


def _message(error: BaseException) -> str:
    """Return the message in one line, without hints for users of the library."""
    if isinstance(error, SyntaxError):
        return f"{error.msg}: {(error.text or '').strip()}"
    text = str(getattr(error, "orig", None) or error)
    lines = (line.strip() for line in text.split("(Background on this error")[0].splitlines())
    return " ".join(line for line in lines if line and not set(line) <= {"^", " "})


def _cure(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return ". Add its package to requirements.in, and run: make requirements"
    if re.search(r'(type|operator class|access method) "[^"]+" does not exist', str(error)):
        return (
            '. If it is of an extension of Postgres, declare that: MetaData(info={"extensions":'
            ' ["…"]})'
        )
    return ""


def _save_traceback(error: BaseException) -> str:
    """Save the traceback to a file, and return a request to report it."""
    last = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    bug = f"This is a bug in Decanter: {last}"
    try:
        descriptor, path = tempfile.mkstemp(prefix="decanter-fault-", suffix=".txt", text=True)
        with os.fdopen(descriptor, "w") as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return bug
    return f"{bug}\nPlease report it, with what you did and the contents of {path}."

"""All rejections that match, into a file, which is there only when it is whole."""

import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from decanter.operating import filters
from decanter.operating.client import Client

FORMS = {"ndjson": "application/x-ndjson", "csv": "text/csv"}


def export(client: Client, given: Namespace) -> int:
    """Write rejections to a file, or to standard output for `-`."""
    form = given.format or ("csv" if given.file.lower().endswith(".csv") else "ndjson")
    if given.file == "-":
        _write(client, given, form, sys.stdout.buffer.write)
        sys.stdout.flush()
        return 0
    path = Path(given.file)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            count = _write(client, given, form, file.write)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)
    print(f"{count:,} bytes written to {path}", file=sys.stderr)
    return 0


def _write(client: Client, given: Namespace, form: str, write: Callable[[bytes], object]) -> int:
    """Write page after page; returns the number of bytes. A page of CSV begins with the names of
    its columns, which are written once."""
    size, names = 0, b""
    for page in client.lines("rejections", filters.chosen(given), FORMS[form]):
        if form == "csv" and names:
            page = page.removeprefix(names)
        elif form == "csv":
            names = page[: page.find(b"\n") + 1]
        if page and not page.endswith(b"\n"):
            page += b"\n"
        write(page)
        size += len(page)
    return size

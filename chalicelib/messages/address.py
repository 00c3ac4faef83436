"""The addresses of rows, as paths."""

from collections.abc import Iterable
from urllib.parse import quote

_STEPS = {".": "%2E", "..": "%2E%2E"}  # many clients remove them from a path


def path_to(path: str, key: Iterable[str]) -> str:
    """The path of a row. path: of its resource. key: the texts of its key columns."""
    segments = [quote(text, safe="") for text in key]
    return "/".join([path, *(_STEPS.get(each, each) for each in segments)])

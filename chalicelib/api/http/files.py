"""Pages whose files are packaged, and for which the browser may load nothing from elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from chalicelib.api.http.answers import Answer
from chalicelib.errors import Problem

TYPES = {
    ".svg": "image/svg+xml",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
"""Content types of assets, by suffix."""

_STRICT = MappingProxyType(
    {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_FOREVER = "private, max-age=31536000, immutable"
_SHORTLY = "private, max-age=60"


@dataclass(frozen=True)
class StaticPage:
    """A page, `index.html`, and its assets.

    folder: where the files are. assets: names of those that are served. pinned: how the names of
    those begin that have their version in it, and so never change. policy: directives of the
    Content-Security-Policy that differ from the strict ones.
    """

    folder: Path
    assets: tuple[str, ...]
    pinned: str
    policy: Mapping[str, str] = field(default_factory=dict)

    def index(self) -> Answer:
        """The page. It names its files relatively, because the path of a stage varies."""
        policy = "; ".join(f"{name} {value}" for name, value in {**_STRICT, **self.policy}.items())
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": policy,
            "Cache-Control": _SHORTLY,
            **_HEADERS,
        }
        return Answer(200, self._text("index.html"), headers)

    def asset(self, name: str) -> Answer:
        """A file. Raises Problem 404 for a name that is not in `assets`."""
        if name not in self.assets:
            files = ", ".join(self.assets)
            raise Problem("unknown-path", f"there is no file {name!r}; the files are: {files}")
        caching = _FOREVER if name.startswith(self.pinned) else _SHORTLY
        headers = {"Content-Type": TYPES[Path(name).suffix], "Cache-Control": caching, **_HEADERS}
        return Answer(200, self._text(name), headers)

    def _text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

"""The page to browse the contract, and its files. All of them are packaged, and the browser may
load nothing from elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from chalicelib.api.http.answers import Answer
from chalicelib.errors import Problem

FOLDER = Path(__file__).parent / "assets"

ASSETS: Mapping[str, str] = MappingProxyType(
    {
        "icon.svg": "image/svg+xml",
        "page.css": "text/css; charset=utf-8",
        "page.js": "text/javascript; charset=utf-8",
        "swagger-ui-5.24.2.css": "text/css; charset=utf-8",
        "swagger-ui-bundle-5.24.2.js": "text/javascript; charset=utf-8",
    }
)
"""Content type of each file that is served; a new version of Swagger UI gets new names."""

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_FOREVER = "private, max-age=31536000, immutable"
_SHORTLY = "private, max-age=60"


def page() -> Answer:
    """GET /docs: the page. It names its files relatively, because the path of a stage varies."""
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": _POLICY,
        "Cache-Control": _SHORTLY,
        **_HEADERS,
    }
    return Answer(200, _text("index.html"), headers)


def asset(name: str) -> Answer:
    """GET /docs/{asset}. Raises Problem 404 for a name that is not in `ASSETS`."""
    if name not in ASSETS:
        raise Problem(
            "unknown-path", f"there is no file {name!r}; the files are: {', '.join(ASSETS)}"
        )
    caching = _FOREVER if name.startswith("swagger-ui-") else _SHORTLY
    headers = {"Content-Type": ASSETS[name], "Cache-Control": caching, **_HEADERS}
    return Answer(200, _text(name), headers)


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")

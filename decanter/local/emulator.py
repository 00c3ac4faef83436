"""MiniStack as a program that, like API Gateway, leaves the paths of API calls percent-encoded.

Unpatched it decodes them first, which makes ``100%2541`` and ``100%41`` one key, and ``a%2Fb`` two
segments.
"""

from collections.abc import Awaitable, Callable
from typing import Any

App = Callable[[Any, Any, Any], Awaitable[None]]


def with_raw_paths(app: App) -> App:
    """Wrap an ASGI application so that it gets the paths of API calls undecoded."""

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["raw_path"].startswith(b"/restapis/"):
            path = scope["raw_path"].decode("ascii")
            if path.split("/", 5)[4:5] == ["_user_request_"]:
                scope = {**scope, "path": path}
        await app(scope, receive, send)

    return handle


if __name__ == "__main__":
    from ministack import app as ministack  # type: ignore[import-untyped]

    ministack.app = with_raw_paths(ministack.app)
    ministack.main()

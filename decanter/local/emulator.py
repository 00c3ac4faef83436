"""MiniStack as a program, with the paths of calls to an API as API Gateway hands them on:
percent-encoded as they were sent.

By itself it decodes them first. ``100%2541`` and ``100%41`` would be one key then, and ``a%2Fb``
two segments.
"""

from collections.abc import Awaitable, Callable
from typing import Any

App = Callable[[Any, Any, Any], Awaitable[None]]


def as_sent(app: App) -> App:
    """The ASGI application, which gets paths undecoded where they are those of an API."""

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["raw_path"].startswith(b"/restapis/"):
            path = scope["raw_path"].decode("ascii")
            if path.split("/", 5)[4:5] == ["_user_request_"]:
                scope = {**scope, "path": path}
        await app(scope, receive, send)

    return handle


if __name__ == "__main__":
    from ministack import app as ministack  # type: ignore[import-untyped]

    ministack.app = as_sent(ministack.app)
    ministack.main()

"""MiniStack as a program that treats API calls like API Gateway, and spares the machine.

Like API Gateway, it leaves their paths percent-encoded. Unpatched it decodes them first, which
makes ``100%2541`` and ``100%41`` one key, and ``a%2Fb`` two segments.

Calls beyond a number wait. Each one at once needs a process of the API function, which takes 60 MB
and a third of a second to start: hundreds do not fit into a machine.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

App = Callable[[Any, Any, Any], Awaitable[None]]
CALLS_AT_ONCE = 16
CONNECTIONS_WAITING = 1_024  # hypercorn lets a hundred wait, and more are reset


def with_api_calls(app: App, at_once: int = CALLS_AT_ONCE) -> App:
    """Wrap an ASGI application so that it gets the paths of API calls undecoded, and only so many
    of these calls at once."""
    free = asyncio.Semaphore(at_once)

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["raw_path"].startswith(b"/restapis/"):
            path = scope["raw_path"].decode("ascii")
            if path.split("/", 5)[4:5] == ["_user_request_"]:
                async with free:
                    await app({**scope, "path": path}, receive, send)
                return
        await app(scope, receive, send)

    return handle


if __name__ == "__main__":
    from hypercorn.config import Config
    from ministack import app as ministack  # type: ignore[import-untyped]

    Config.backlog = CONNECTIONS_WAITING
    ministack.app = with_api_calls(ministack.app)
    ministack.main()

"""How the local cloud treats calls of the API."""

import asyncio
from typing import Any

from decanter.local.emulator import with_api_calls


def http(path: str) -> dict[str, Any]:
    return {"type": "http", "raw_path": path.encode(), "path": "decoded"}


def test_api_calls_keep_their_paths_encoded_and_others_do_not() -> None:
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])

    async def call_all() -> None:
        handle = with_api_calls(app)
        for path in ("/restapis/a/api/_user_request_/b%2Fc", "/restapis/a/resources", "/queue"):
            await handle(http(path), None, None)

    asyncio.run(call_all())

    assert paths == ["/restapis/a/api/_user_request_/b%2Fc", "decoded", "decoded"]


def test_api_calls_beyond_a_number_wait_and_nothing_else_does() -> None:
    running: list[str] = []

    async def call_all() -> None:
        done = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            running.append(scope["path"])
            await done.wait()

        handle = with_api_calls(app, at_once=2)
        calls = [f"/restapis/a/api/_user_request_/{number}" for number in range(4)]
        tasks = [asyncio.create_task(handle(http(each), None, None)) for each in [*calls, "/queue"]]
        await asyncio.sleep(0)
        assert running == [*calls[:2], "decoded"]
        done.set()
        await asyncio.gather(*tasks)
        assert sorted(running) == sorted([*calls, "decoded"])

    asyncio.run(call_all())

"""Clients of AWS that cost little to create and to use."""

import gc
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

_Result = TypeVar("_Result")

_making = threading.Lock()  # a call that is late may still create its client


class Late(Exception):
    """A call did not end in time."""


def within(deadline: float, call: Callable[[], _Result]) -> _Result:
    """The result or the error of a call. Raises Late at the deadline, a time.monotonic(), whatever
    the call waits for: the SDK's time-outs cover one step each, so a response that trickles in
    meets all of them.

    A late call keeps running and its result is dropped. It may end after the request, so this is
    for calls that only read, or that do nothing more when they are made again.
    """
    ended: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            ended.append((call(), None))
        except BaseException as error:  # raised again where it was called
            ended.append((None, error))

    left = deadline - time.monotonic()
    if left <= 0:
        raise Late
    thread = threading.Thread(target=run, name="decanter-call", daemon=True)
    thread.start()
    thread.join(left)
    if not ended:
        raise Late
    result, error = ended[0]
    if error is not None:
        raise error
    return cast(_Result, result)


def client(
    service: str, tries: int | None = None, connect_timeout: float = 2, **config: Any
) -> Any:
    """A client of boto3. tries: of a call, in the SDK's standard mode; None: the SDK's own default.
    connect_timeout: in seconds. config: more of botocore's Config.

    It saves two costs of the SDK. The garbage collector does not search the SDK's objects, which
    live as long as the process. And the User-Agent is given, which the SDK otherwise builds twice
    for each request, a sixth of a call's cost.
    """
    if tries is not None:
        config["retries"] = {"mode": "standard", "total_max_attempts": tries}
    with _making:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            import boto3
            from botocore.config import Config

            made = boto3.client(
                service,
                config=Config(
                    user_agent=f"decanter Boto3/{boto3.__version__}",
                    parameter_validation=False,  # parameters are never a client's own
                    connect_timeout=connect_timeout,
                    **config,
                ),
            )
            gc.freeze()
        finally:
            if was_enabled:
                gc.enable()
    return made


def failures() -> tuple[type[Exception], ...]:
    """The errors of a call to AWS that fails or gets no valid response."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return BotoCoreError, ClientError, ResponseParserError, Late


def code(error: BaseException) -> str:
    """The code of an error of AWS; its kind where it has none. Messages may hold names of
    accounts."""
    response = getattr(error, "response", None) or {}  # None if there was no answer
    return str(response.get("Error", {}).get("Code") or type(error).__name__)

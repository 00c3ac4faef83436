"""Clients of AWS, made and used at little cost."""

import gc
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_making = threading.Lock()  # a call that is late may be making its client still


class Late(Exception):
    """A call was not over in time."""


def within(deadline: float, call: Callable[[], _Result]) -> _Result:
    """What a call gives or raises. Raises Late if it takes longer than until the deadline (a
    time.monotonic()), whatever it hangs in: the SDK's time-outs are for one step each, so that an
    answer that trickles in keeps to all of them.

    A call that is late is left alone with its connection, and what becomes of it is dropped. It
    may end after the request, so this is for calls that only read.
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
    found: _Result = result
    return found


def client(service: str, **config: Any) -> Any:
    """A client of boto3; config: of botocore's Config.

    Two costs of the SDK's are left out. What it loads stays as long as the process: the garbage
    collector does not search it while it is loaded, nor ever after. And the SDK puts its own name
    for the header User-Agent together anew for each request, twice, a sixth of all that a call
    costs; here the name is given.
    """
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
                    parameter_validation=False,  # parameters are made here, never by a caller
                    **config,
                ),
            )
            gc.freeze()
        finally:
            if was_enabled:
                gc.enable()
    return made


def failures() -> tuple[type[Exception], ...]:
    """What a call of a client raises where AWS does not answer as it should."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return BotoCoreError, ClientError, ResponseParserError, Late

"""Clients of AWS, made and used at little cost."""

import gc
from typing import Any


def client(service: str, **config: Any) -> Any:
    """A client of boto3; config: of botocore's Config.

    Two costs of the SDK's are left out. What it loads stays as long as the process: the garbage
    collector does not search it while it is loaded, nor ever after. And the SDK puts its own name
    for the header User-Agent together anew for each request, twice, a sixth of all that a call
    costs; here the name is given.
    """
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

    return BotoCoreError, ClientError

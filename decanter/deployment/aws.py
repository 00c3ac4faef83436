"""Clients of AWS or of the local cloud."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

Aws = Callable[[str], Any]
"""The boto3 client of a service."""

LOOPBACK = ("127.0.0.1", "localhost")


def is_local(aws: Aws) -> bool:
    """Whether the clients lead to the local cloud."""
    return urlsplit(str(aws("apigateway").meta.endpoint_url)).hostname in LOOPBACK

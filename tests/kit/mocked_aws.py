"""AWS as moto has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from unittest.mock import patch

import boto3
from moto import mock_aws


@contextmanager
def mocked_aws() -> Iterator[None]:
    """Nothing is there when the block begins. Sessions, which read the descriptions of services,
    are not made anew, as moto would have it."""
    with mock_aws(), patch.object(boto3, "DEFAULT_SESSION", _session()):
        yield


@cache
def _session() -> boto3.Session:
    return boto3.Session()

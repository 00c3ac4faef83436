"""Checks before a deployment: what would make it fail, or make the deployed stage lose or refuse
writes. They change nothing."""

from decanter.deployment.preflight.caps import caps, concurrency
from decanter.deployment.preflight.configuration import load
from decanter.deployment.preflight.online import online, plain

__all__ = ["caps", "concurrency", "load", "online", "plain"]

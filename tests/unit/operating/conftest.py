"""The command line of operators against a server that answers as a test says."""

from tests.kit.ops_server import fixture_server

__all__ = ["fixture_server"]

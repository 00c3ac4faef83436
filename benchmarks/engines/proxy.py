"""The proxy before a database in a process of its own, until its input ends: a program."""

from collections.abc import Callable

from benchmarks import child
from benchmarks.harness import Json
from decanter.local.dsql import dsql_before


def _work(settings: Json, hear: Callable[[], Json]) -> None:
    """settings: the database's URL, and whether it has the rules of Aurora DSQL. It says the URL by
    which it is reached."""
    with dsql_before(settings["url"], with_rules=settings["has_rules"]) as server:
        child.say(server.url)
        hear()


if __name__ == "__main__":
    child.serve(_work)

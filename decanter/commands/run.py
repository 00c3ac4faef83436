"""Start the local cloud, send 28,298 airports through it, and serve until Ctrl-C."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from decanter.commands import options
from decanter.local import signals

if TYPE_CHECKING:
    from decanter.local.demo.pour import Tally
    from decanter.local.demo.subscription import Shown


def arguments(parser: ArgumentParser) -> None:
    options.data_dir(parser)
    options.port(parser)
    parser.add_argument("--once", action="store_true", help="stop after the summary")


def run(given: Namespace) -> int:
    """Return 1 also if a row was not applied."""
    with signals.loading():
        from decanter.contract import committed
        from decanter.deployment import budget
        from decanter.local import serving
        from decanter.local.demo import airports, pour, subscription

    with serving.deployed(given.data_dir, given.port) as (cloud, stack):
        failed = False
        if airports.match(committed()):
            tally = pour.pour(cloud, stack)
            _print(tally, budget.total(stack.stage))
            failed = tally.applied != tally.accepted
            if subscription.match(committed()):
                _print_shown(subscription.show(cloud, stack))
        else:
            print(
                "\nThe airports are rows of the sample tables, which this project does not have;"
                " none is sent."
            )
        return int(failed) if given.once else serving.serve(cloud, stack)


def _table(*rows: tuple[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _print(tally: "Tally", budget: int) -> None:
    _table(
        ("accepted", f"{tally.accepted:,}"),
        ("applied", f"{tally.applied:,}"),
        ("rejected", f"{tally.rejected:,}"),
        ("already there", f"{max(tally.applied - tally.new, 0):,}"),
        ("lag of the last write", "no new rows" if tally.lag is None else f"{tally.lag:.1f} s"),
        ("connections at most", f"{tally.connections} of a budget of {budget}"),
        ("time", f"{tally.seconds:.1f} s, {tally.accepted / tally.seconds:,.0f} writes/s"),
    )
    for rejection in tally.rejections[:5]:
        print(f"rejected: {rejection.get('item')}: {rejection.get('reason')}")


def _print_shown(shown: "Shown") -> None:
    print("A subscription, behind DynamoDB:")
    _table(
        ("stored", f"{shown.written_ms:.0f} ms"),
        ("read back", f"{shown.read_ms:.0f} ms"),
        ("a second one", shown.refusal),
        ("in Postgres", f"after {shown.seconds:.1f} s"),
    )

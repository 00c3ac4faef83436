"""Pour writes that the front table's stream has dropped, after an outage of more than a day."""

import json
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from decanter import PROJECT
from decanter.commands import options

if TYPE_CHECKING:
    from decanter.deployment.reconcile import Reconciled


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(given: Namespace) -> None:
    from decanter.deployment import pipeline
    from decanter.deployment.reconcile import Reconciled, reconcile
    from decanter.deployment.stage import load

    done = Reconciled()
    for done in reconcile(pipeline.client, *pipeline.front(load(PROJECT, given.stage))):
        print(f"{done.items:,} items looked at, {done.sent:,} poured", file=sys.stderr)
    if given.json:
        print(json.dumps(asdict(done)))
        return
    print(
        f"{done.sent:,} last writes of {done.items:,} items were handed to the drain; whatever of"
    )
    print(f"them had not been poured is in Postgres now. {done.recent:,} are left to the stream.")
    if done.expired:
        print(f"{done.expired:,} are older than the ledger: whether they were poured is not known.")
    if done.damaged:
        print(f"{done.damaged:,} cannot be read; PUT or DELETE their rows.")
    if done.newer:
        print(f"{done.newer:,} were written by a newer version; deploy that again, or a later one.")
    for name in done.names:
        print(f"  {name}")
    print(_receipts(done))


def _receipts(done: "Reconciled") -> str:
    """What the receipts of overtaken writes say from now on."""
    if done.settled_before is not None:
        at = datetime.fromtimestamp(done.settled_before / 1000, UTC).isoformat(timespec="minutes")
        return f"Writes accepted before {at} that were overtaken read `superseded`."
    why = (
        "Then run this again" if done.damaged or done.newer else "The deployed drain cannot say so"
    )
    return f"Receipts of writes that were overtaken go on reading `pending`. {why}."

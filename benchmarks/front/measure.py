"""The processor time and the latency of a request to a table behind DynamoDB, beside the same table
behind SQS and beside a bare call of DynamoDB.

The whole handler is measured, as in the benchmark `intake`, with the same server in place of AWS:
latency is what Decanter adds to AWS's own.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import aws, contract
from benchmarks.front.cases import cases, event, known
from benchmarks.front.peers import CONTRACT, PEERS
from benchmarks.front.tables import FRONT, tables
from benchmarks.harness import Result, Samples, interleave
from benchmarks.intake.measure import Times, Worker
from chalicelib.buffer.dynamodb.entries import FrontItem, item_entry
from chalicelib.buffer.dynamodb.naming import item_of
from chalicelib.contract import resources
from chalicelib.contract.json_text import render

FULL, QUICK = (6, 16), (2, 6)
"""Generations of processes, and rounds of samples in each."""


def run(quick: bool) -> Iterator[Result]:
    """Yield the milliseconds a request of each case, by each clock."""
    generations, rounds = QUICK if quick else FULL
    asked = cases()
    found: dict[str, dict[str, list[Times]]] = {
        case.name: {peer: [] for peer in PEERS} for case in asked
    }
    with contract.served(tables()) as file, aws.served(there()) as port:
        for generation in range(generations):
            with ExitStack() as processes:
                workers = {
                    peer: processes.enter_context(worker(peer, port, file)) for peer in PEERS
                }
                for case in asked:
                    turns = {
                        peer: partial(each.times, case, event(case, peer))
                        for peer, each in workers.items()
                    }
                    for peer, times in interleave(turns, rounds, generation).items():
                        found[case.name][peer] += times
    for case in asked:
        for clock in Times._fields:
            samples: Samples = {
                peer: [getattr(each, clock) for each in times]
                for peer, times in found[case.name].items()
            }
            yield Result({"case": case.name, "clock": clock}, "ms", samples)


def there() -> aws.StoredRow:
    """Return the row that reads find."""
    row = known()
    text = render(row)
    pk = item_of(resources.resource(FRONT), row) or ""
    entry = item_entry(FrontItem(pk, text, "0" * 32, "the last write"))
    return aws.StoredRow(entry, {"body": text, "etag": "0" * 32})


def worker(peer: str, port: int, contract_file: Path) -> Worker:
    """Return the process of a peer."""
    more = {CONTRACT: str(contract_file), "DECANTER_FRONT_TABLE": "decanter-dev-front"}
    return Worker(peer, port, "benchmarks.front.peers", **more)

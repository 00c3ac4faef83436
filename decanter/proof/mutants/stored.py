"""Short plans that catch the mutants: for a test that has no time to search."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("plans.jsonl")


class Stored(NamedTuple):
    """kind: of the violation. plan: its text."""

    mutant: str
    kind: str
    plan: str


def read() -> list[Stored]:
    """The stored plans, one for each mutant."""
    if not FILE.exists():
        return []
    lines = map(json.loads, FILE.read_text(encoding="utf-8").splitlines())
    return [Stored(each["mutant"], each["kind"], json.dumps(each["plan"])) for each in lines]


def write(plans: Iterable[Stored]) -> None:
    """Store plans."""
    FILE.write_text("".join(_lines(plans)), encoding="utf-8")


def _lines(plans: Iterable[Stored]) -> Iterator[str]:
    for each in sorted(plans):
        line = {"mutant": each.mutant, "kind": each.kind, "plan": json.loads(each.plan)}
        yield json.dumps(line, separators=(",", ":")) + "\n"

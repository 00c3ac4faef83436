"""All mutants, side by side: each has to be caught."""

from collections.abc import Iterator, Sequence
from typing import Any

from decanter.proof.mutants import stored
from decanter.proof.mutants.search import Search
from decanter.proof.mutants.stored import Stored
from decanter.proof.mutants.table import MUTANTS
from decanter.proof.simulation.pool import Worker, run_all

MOST_SEEDS = 200
"""Histories within which each mutant has to be caught."""

_SHRINK_RUNS = 150


def try_all(pool: Sequence[Worker], names: Sequence[str], seed: int) -> Iterator[dict[str, Any]]:
    """Search for each mutant; yields what was found, see `search`."""
    yield from run_all(pool, (_job(Search(name, seed, MOST_SEEDS)) for name in names))


def store(pool: Sequence[Worker], names: Sequence[str], seed: int) -> Iterator[dict[str, Any]]:
    """The same, and store a short plan of each whose stored plan catches it no longer. The plans of
    other mutants are tried before seeds: each plan is run without any mutant too."""
    known = {each.mutant: each for each in stored.read() if each.mutant in MUTANTS}

    def jobs() -> Iterator[dict[str, Any]]:
        for name in names:
            own = [known[name].plan] if name in known else []
            plans = tuple(dict.fromkeys([*own, *(each.plan for each in known.values())]))
            yield _job(Search(name, seed, MOST_SEEDS, plans, _SHRINK_RUNS))

    for answer in run_all(pool, jobs()):
        if answer["violations"]:
            name, kind = answer["mutant"], answer["violations"][0][0]
            known[name] = Stored(name, kind, answer["plan"])
            stored.write(known.values())
        yield answer


def _job(asked: Search) -> dict[str, Any]:
    return {"search": asked}

"""All mutants, side by side: each has to be caught."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from decanter.proof.mutants import stored
from decanter.proof.mutants.search import Search
from decanter.proof.mutants.stored import Stored
from decanter.proof.mutants.table import MUTANTS
from decanter.proof.simulation.pool import run_all, workers

MOST_SEEDS = 200
"""Histories within which each mutant has to be caught."""

_SHRINK_RUNS = 150


def try_all(names: Sequence[str], seed: int, processes: int) -> Iterator[dict[str, Any]]:
    """Search for each mutant; yields what was found, see `search`."""
    return _found([Search(name, seed, MOST_SEEDS) for name in names], processes)


def store(names: Sequence[str], seed: int, processes: int) -> Iterator[dict[str, Any]]:
    """The same, and store a short plan of each whose stored plan catches it no longer. The plans of
    other mutants are tried before seeds: each plan is run without any mutant too."""
    known = {each.mutant: each for each in stored.read() if each.mutant in MUTANTS}
    searches = []
    for name in names:
        engine = MUTANTS[name].engine
        others = [each.plan for each in known.values() if MUTANTS[each.mutant].engine == engine]
        own = [known[name].plan] if name in known else []
        plans = tuple(dict.fromkeys([*own, *others]))
        searches.append(Search(name, seed, MOST_SEEDS, plans, _SHRINK_RUNS))
    for answer in _found(searches, processes):
        if answer["violations"]:
            name, kind = answer["mutant"], answer["violations"][0][0]
            known[name] = Stored(name, kind, answer["plan"])
            stored.write(known.values())
        yield answer


def _found(searches: Iterable[Search], processes: int) -> Iterator[dict[str, Any]]:
    """What workers find, those of one engine after those of another."""
    by_engine: dict[str, list[Search]] = {}
    for each in searches:
        by_engine.setdefault(MUTANTS[each.mutant].engine, []).append(each)
    for engine, own in by_engine.items():
        with workers(min(processes, len(own)), engine=engine) as pool:
            yield from run_all(pool, ({"search": each} for each in own))

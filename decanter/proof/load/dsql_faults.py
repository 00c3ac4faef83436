"""Faults of Aurora DSQL, whose rules stand before the database."""

from random import Random

from decanter.local.dsql import Dsql
from decanter.proof.load.requests import HOT_ACCOUNTS
from decanter.proof.load.system import System


def statements_refused(system: System, random: Random) -> bool:
    """What functions send, COMMITs as well, is refused as a conflict at random."""
    conflicts, share, struck = system.conflicts, random.choice((0.02, 0.1, 0.3)), 0

    def is_struck() -> bool:
        nonlocal struck
        found = random.random() < share
        struck += found
        return found

    none, conflicts.more = conflicts.more, is_struck
    try:
        system.pause(random.uniform(0.5, 5))
    finally:
        conflicts.more = none
    return struck > 0


def connections_cut(system: System, random: Random) -> bool:
    """Connections of functions are cut, several times in a row, whatever they do."""
    struck = 0
    for _ in range(random.randint(10, 40)):
        struck += _dsql(system).cut(lambda: random.random() < 0.5)
        system.pause(random.uniform(0, 0.1))
    return struck > 0


def rows_changed(system: System, random: Random) -> bool:
    """Another transaction writes some of the rows that everyone writes to, so that those which
    began before it commits are refused. Their values stay, and there is no evidence of it."""
    with system.session() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for _ in range(random.randint(2, 8)):
            chosen = random.sample(HOT_ACCOUNTS, 3)
            cursor.execute("BEGIN")
            cursor.execute("UPDATE accounts SET b = b WHERE id = ANY(%s)", (chosen,))
            system.pause(random.uniform(0, 0.5))
            cursor.execute("COMMIT")
    return True


def _dsql(system: System) -> Dsql:
    assert system.dsql
    return system.dsql

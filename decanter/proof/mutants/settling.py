"""Mistakes on a cluster, where a transaction is committed on several nodes."""

from decanter.proof.mutants.edits import Edit
from decanter.proof.mutants.mutant import Mutant

SETTLING = (
    Mutant(
        "rejected-unsettled",
        "a write is rejected although what was committed before may not be visible yet",
        (
            Edit(
                "chalicelib.postgres.settling",
                "    if running.engine.settles_before_rejecting and",
                "    if False and",
            ),
        ),
        "citus",
    ),
    Mutant(
        "rejected-half-settled",
        "a write is rejected although a worker was not reached that keeps a commit",
        (
            Edit(
                "chalicelib.postgres.settling",
                "if left := recover(connection, deadline):",
                "if (left := recover(connection, deadline)) < 0:",
            ),
        ),
        "citus",
    ),
    Mutant(
        "committed-in-one-phase",
        "a worker that has written all commits before the ledger is committed",
        (
            Edit(
                "chalicelib.postgres.connecting.connection",
                "if engine.distributes and not read_only:",
                "if False:",
            ),
        ),
        "citus",
    ),
)

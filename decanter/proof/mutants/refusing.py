"""Mistakes on Aurora DSQL: with conflicts, and with the parts of a batch."""

from decanter.proof.mutants.edits import Edit
from decanter.proof.mutants.mutant import Mutant

REFUSING = (
    Mutant(
        "conflict-rejected",
        "a conflict is taken for a refusal of the rows",
        (
            Edit(
                "chalicelib.postgres.errors",
                "        return TransactionConflict\n",
                "        return RefusedByDatabase\n",
            ),
        ),
        "dsql",
    ),
    Mutant(
        "conflict-taken-for-done",
        "a batch that meets a conflict is taken for poured",
        (
            Edit(
                "chalicelib.drain.handler",
                "            return redone(partial(pour, opened, batch, deadline, at_once),"
                " deadline)\n",
                "            try:\n"
                "                return pour(opened, batch, deadline, at_once)\n"
                "            except DatabaseUnavailable as error:\n"
                '                if error.sqlstate != "40001":\n'
                "                    raise\n"
                "                return []\n",
            ),
        ),
        "dsql",
    ),
    Mutant(
        "part-claims-the-batch",
        "the rows of one part of a batch are committed with the ledger's entries of all parts",
        (
            Edit(
                "chalicelib.drain.pour_isolating",
                "ledger.claim_fresh(running, map(_entry, own)) if own",
                "ledger.claim_fresh(running, map(_entry, batch)) if own",
            ),
        ),
        "dsql",
    ),
)

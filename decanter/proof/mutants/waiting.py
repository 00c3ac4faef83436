"""Mistakes with writes that wait, with the sweep, and in what a reader is told."""

from decanter.proof.mutants.edits import Edit
from decanter.proof.mutants.mutant import Mutant

_WAITING = "chalicelib.postgres.waiting"
_WAVES = "chalicelib.drain.waves"
_BAD_ROWS = "chalicelib.drain.bad_rows"
_RETRY = "chalicelib.drain.retry_waiting"
_SWEEP = "chalicelib.sweep.handler"
_REQUESTS = "chalicelib.reader.requests"
_LEDGER = "chalicelib.postgres.ledger"

WAITING = (
    Mutant(
        "waiting-lost",
        "writes that have to wait are not kept",
        (Edit(_WAITING, "    if kept:\n", "    if False:\n"),),
    ),
    Mutant(
        "waiting-removed-afterwards",
        "a waiting write is removed in another transaction than the one that applies it",
        (
            Edit(
                _RETRY,
                "    waiting.remove(running, [",
                '    running.execute("COMMIT")\n'
                '    running.execute("BEGIN")\n'
                "    waiting.remove(running, [",
            ),
        ),
    ),
    Mutant(
        "waiting-overtaken",
        "later writes to a key do not wait for those that wait",
        (
            Edit(
                "chalicelib.drain.pour_isolating",
                "waiting.keys(running, digests_of(d.message for d in claimed)) if waits else"
                " set[int]()",
                "set[int]()",
            ),
            Edit(
                "chalicelib.drain.pour_fast",
                "            waiting.refuse_keys(running, digests)\n",
                "            pass\n",
            ),
        ),
    ),
    Mutant(
        "overtaken-in-a-batch",
        "later writes of a batch do not wait for an earlier one to their key that waits",
        (Edit(_WAVES, "        keys |= {", "        _ = {"),),
    ),
    Mutant(
        "waiting-taken-twice",
        "two drains may take the same waiting writes",
        (Edit(_WAITING, "        FOR UPDATE SKIP LOCKED)\n", ")\n"),),
    ),
    Mutant(
        "waiting-out-of-order",
        "the waiting writes of a key are taken in any order",
        (
            Edit(_WAITING, "            AND {_FIRST}\n        ORDER", "        ORDER"),
            Edit(_WAITING, "    ORDER BY place LIMIT", "    ORDER BY place DESC LIMIT"),
        ),
    ),
    Mutant(
        "never-rejected",
        "a violated constraint is taken for an error that passes, and tried for ever",
        (Edit("chalicelib.postgres.errors", '    "53",\n', '    "53",\n    "23",\n'),),
    ),
    Mutant(
        "parent-awaited-for-ever",
        "a write waits for ever for the row that it refers to",
        (Edit(_RETRY, " and earlier.waited >= patience", " and earlier.waited < 0"),),
    ),
    Mutant(
        "parentless-rejected-and-kept",
        "a write without its parent is rejected, and tried again all the same",
        (
            Edit(
                _WAVES,
                "            else:\n                outcome.rejections.append(rejection)\n",
                "            outcome.rejections.append(rejection)\n",
            ),
        ),
    ),
    Mutant(
        "locked-rejected",
        "a write is rejected because somebody else holds the lock of its row",
        (
            Edit(
                _BAD_ROWS,
                "outcome.waiting.extend(WaitingRow(row, Reason.LOCK) for row in held)",
                "outcome.rejections.extend(reject.slow(row) for row in held)",
            ),
        ),
    ),
    Mutant(
        "swept-too-early",
        "the sweep forgets requests with an Idempotency-Key after a day",
        (Edit(_SWEEP, "_KEYED_DAYS = LEDGER_DAYS + _DAYS", "_KEYED_DAYS = 1"),),
    ),
    Mutant(
        "rejections-swept-first",
        "the sweep forgets rejections before their messages",
        (
            Edit(
                "chalicelib.postgres.retention",
                'rejected_at < {_OLD} AND {IS_WHOLE} AND"\n'
                '    " (SELECT true FROM decanter.ledger'
                ' WHERE ledger.dedup_id = rejection.dedup_id) IS NULL"',
                'rejected_at < now() AND EXISTS"\n'
                '    " (SELECT FROM decanter.ledger'
                ' WHERE ledger.dedup_id = rejection.dedup_id)"',
            ),
        ),
    ),
    Mutant(
        "leaf-emptied-early",
        "the sweep empties a leaf of the ledger before all of its messages are old",
        (
            Edit(
                "chalicelib.postgres.retention",
                "{{leaf}} WHERE poured_at >= {_OLD} AND",
                "{{leaf}} WHERE poured_at >= now() + interval '1 s' AND",
            ),
        ),
    ),
    Mutant(
        "waiting-reads-as-applied",
        "a request reads as applied while some of its writes wait",
        (
            Edit(
                _REQUESTS,
                'found["writes"] < writes or found["waiting"] > 0',
                'found["writes"] < writes',
            ),
        ),
    ),
    Mutant(
        "rejected-reads-as-applied",
        "a request reads as applied although writes of it are rejected",
        (Edit(_REQUESTS, 'receipt.writes, found["rejected"]', "receipt.writes, 0"),),
    ),
    Mutant(
        "first-message-is-enough",
        "a request reads as applied as soon as one of its messages is poured",
        (Edit(_REQUESTS, 'found["writes"] < writes or', 'found["writes"] < 1 or'),),
    ),
    Mutant(
        "reused-reads-as-applied",
        "a second request with a used Idempotency-Key reads as the first",
        (Edit(_REQUESTS, 'if found["reused"]:', "if False:"),),
    ),
    Mutant(
        "expired-in-milliseconds",
        "a receipt reads as expired after thirty days taken for milliseconds",
        (
            Edit(
                _REQUESTS,
                "(time.time() - LEDGER_DAYS * 86_400) * 1000",
                "time.time() * 1000 - LEDGER_DAYS",
            ),
        ),
    ),
    Mutant(
        "one-split-counts",
        "a status counts only the messages of its receipt's own split",
        (
            Edit(
                "chalicelib.messages.receipt",
                "if identity.version == _KEYED_VERSION:",
                "if False:",
            ),
        ),
    ),
)

"""Mistakes of the drain: from a batch to its COMMIT."""

from decanter.proof.mutants.edits import Edit
from decanter.proof.mutants.mutant import Mutant

_LEDGER = "chalicelib.postgres.ledger"
_FAST = "chalicelib.drain.pour_fast"
_ISOLATING = "chalicelib.drain.pour_isolating"
_WAVES = "chalicelib.drain.waves"
_CONNECTION = "chalicelib.postgres.connecting.connection"
_KEEP = "    reject.keep(running, outcome.rejections)\n"

POURING = (
    Mutant(
        "no-unique-index",
        "the ledger has no unique index, so every claim succeeds",
        (
            Edit(
                _LEDGER,
                "_CLAIM_ALONE if unless_any_waits else _CLAIM,",
                '(_CLAIM_ALONE if unless_any_waits else _CLAIM) + " ON CONFLICT DO NOTHING",',
            ),
            Edit(
                _LEDGER,
                "return {dedup_id for (dedup_id,) in transaction.execute(_CLAIM_FRESH,"
                " _columns(entries))}",
                "entries = [*entries]\n"
                "    transaction.execute(_CLAIM_FRESH, _columns(entries))\n"
                "    return {each.dedup_id for each in entries}",
            ),
        ),
    ),
    Mutant(
        "claim-committed-first",
        "the claim and the pour are two transactions",
        (
            Edit(
                _FAST,
                "        if digests is not None:  #",
                '        running.execute("COMMIT")\n'
                '        running.execute("BEGIN")\n'
                "        if digests is not None:  #",
            ),
        ),
    ),
    Mutant(
        "claim-committed-last",
        "the rows of a batch are committed before its claim",
        (
            Edit(
                _ISOLATING,
                "    fresh = ledger.claim_fresh(running, map(_entry, own)) if own else"
                " set[str]()\n",
                "    known = running.execute(\n"
                '        "SELECT dedup_id::text FROM decanter.ledger WHERE dedup_id = ANY'
                ' (%s::uuid[])",\n'
                "        ([each.dedup_id for each in own],),\n"
                "    )\n"
                "    fresh = {each.dedup_id for each in own} - {each for (each,) in known}\n",
            ),
            Edit(
                _ISOLATING,
                "    made_keys.keep(running, outcome.made)\n",
                '    running.execute("COMMIT")\n'
                '    running.execute("BEGIN")\n'
                "    if claimed:\n"
                "        ledger.claim_fresh(running, map(_entry, claimed))\n"
                "    made_keys.keep(running, outcome.made)\n",
            ),
        ),
    ),
    Mutant(
        "identity-of-sqs",
        "a message is known by the ID that SQS gives it, not by the one in its body",
        (
            Edit(
                "chalicelib.buffer.delivery",
                "message = decode(body)\n",
                "message = decode(body)\n"
                "        message = message._replace(dedup_id=str(uuid5(_FOREIGN, place)))\n",
            ),
        ),
    ),
    Mutant(
        "fingerprint-not-compared",
        "the ledger lets a second request with a used Idempotency-Key pass",
        (
            Edit(
                _LEDGER,
                "USING (dedup_id) WHERE ledger.fingerprint <> claim.fingerprint",
                "USING (dedup_id) WHERE false",
            ),
        ),
    ),
    Mutant(
        "other-split-poured-too",
        "messages of two splits of one request are both poured",
        (
            Edit(_LEDGER, "{_OTHER_SPLIT} IS NOT NULL", "{_OTHER_SPLIT} IS NOT NULL AND false"),
            Edit(_LEDGER, "if len(different) > 1", "if len(different) > 100"),
        ),
    ),
    Mutant(
        "waves-left-out",
        "all writes of a batch to one key are in one wave",
        (
            Edit(
                "chalicelib.drain.sets",
                "        if not keys[wave - 1].isdisjoint(digests):\n            return wave\n",
                "        pass\n",
            ),
        ),
    ),
    Mutant(
        "keys-unsorted",
        "rows are written in the order in which they were sent",
        (
            Edit(
                "chalicelib.postgres.sql.statements",
                "if resource.key and set(resource.key) <= set(sent):",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "expired-poured",
        "a message is poured although the ledger may have forgotten it",
        (
            Edit(
                "chalicelib.drain.compatibility",
                "return message.accepted_at < (time.time() - LEDGER_DAYS * 86_400) * 1000",
                "return False",
            ),
        ),
    ),
    Mutant(
        "superseded-poured",
        "a message that comes late overwrites newer writes to its keys",
        (Edit("chalicelib.drain.superseded", "    if not late:\n", "    if True:\n"),),
    ),
    Mutant(
        "rejection-not-recorded",
        "rejections are logged, and not kept",
        (Edit("chalicelib.drain.reject", "        insert(running, rejections)\n", ""),),
    ),
    Mutant(
        "rejection-afterwards",
        "rejections are recorded in a transaction of their own, after the pour",
        (
            Edit(
                _ISOLATING,
                _KEEP,
                '    running.execute("COMMIT")\n    running.execute("BEGIN")\n' + _KEEP,
            ),
        ),
    ),
    Mutant(
        "whole-set-rejected",
        "one bad row rejects all rows of its set",
        (
            Edit(
                _WAVES,
                "            why = error\n",
                "            apart, _ = separate_rows(rows)\n"
                "            bad = [reject.refused(target.resource, row, error) for row in apart]\n"
                "            return WaveOutcome(bad), []\n",
            ),
        ),
    ),
    Mutant(
        "commit-errors-ignored",
        "an error of COMMIT is taken for a success",
        (
            Edit(
                _CONNECTION,
                "            running.commit(commit_seconds)\n",
                "            try:\n"
                "                running.commit(commit_seconds)\n"
                "            except DatabaseUnavailable:\n"
                "                pass\n",
            ),
        ),
    ),
    Mutant(
        "full-disk-is-a-rejection",
        "a full disk, or too few connections, is taken for a fault of the write",
        (Edit("chalicelib.postgres.errors", '    "53",\n', ""),),
    ),
    Mutant(
        "unavailable-is-success",
        "a batch is answered as poured although the database was unavailable",
        (
            Edit(
                "chalicelib.drain.handler",
                'the messages stay queued: %s", error)\n                raise\n',
                'the messages stay queued: %s", error)\n                return []\n',
            ),
        ),
    ),
    Mutant(
        "partial-answer-always",
        "a partial batch response is given where the mapping has it off",
        (
            Edit(
                "chalicelib.buffer.partial_response",
                "if unfinished and not partial_responses():",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "unfinished-not-returned",
        "messages that were not reached are answered as done",
        (
            Edit(
                "chalicelib.drain.pour",
                "done = own - poured.unclaimed",
                "done = own",
            ),
        ),
    ),
    Mutant(
        "later-messages-not-returned",
        "messages behind an unfinished one of their lane are poured",
        (
            Edit(
                "chalicelib.drain.pour",
                "        if is_behind or stays(delivery):\n",
                "        if stays(delivery):\n",
            ),
        ),
    ),
    Mutant(
        "newer-rejected",
        "a message of a newer version is rejected as foreign",
        (
            Edit(
                "chalicelib.buffer.delivery",
                "is_newer = isinstance(error, NewerMessage)",
                "is_newer = False",
            ),
        ),
    ),
    Mutant(
        "merge-clears-absent",
        "a merge sets absent members to NULL",
        (
            Edit(
                "chalicelib.postgres.sql.statements",
                "    changes |= {c: _sql(default) for c, default in computed.items()}\n"
                '    changes |= {c: f"sent',
                "    changes |= {c: 'NULL' for c in resource.writable if c not in {*sent}}\n"
                '    changes |= {c: f"sent',
            ),
        ),
    ),
    Mutant(
        "merge-ignores-null",
        "a merge takes null for an absent member",
        (
            Edit(
                "chalicelib.postgres.sql.statements",
                "    if not isinstance(base_type(column.type), JSON):\n        return patch\n",
                "    if not isinstance(base_type(column.type), JSON):\n"
                '        return f"coalesce({patch}, {old})"\n',
            ),
        ),
    ),
    Mutant(
        "replace-keeps-absent",
        "a replace leaves absent members as they are",
        (
            Edit(
                "chalicelib.postgres.sql.statements",
                "kept = [c for c in resource.writable if not c.primary_key]",
                "kept = [c for c in sent if not c.primary_key]",
            ),
        ),
    ),
    Mutant(
        "upsert-replaces",
        "merge-duplicates overwrites the whole row",
        (
            Edit(
                "chalicelib.postgres.sql.statements",
                'if op == "replace":',
                'if op != "create-or-ignore":',
            ),
        ),
    ),
    Mutant(
        "conflict-ignored",
        "a create whose key is taken does nothing, and is applied",
        (
            Edit(
                "chalicelib.postgres.sql.statements",
                '    if op != "create":\n',
                "    if True:\n",
            ),
        ),
    ),
    Mutant(
        "delete-ignored",
        "a delete is applied without any effect",
        (
            Edit(
                _WAVES,
                "        if rows.parts:\n",
                '        if rows.parts and rows.op != "delete":\n',
            ),
            Edit(
                _FAST,
                "if not rows.parts:\n",
                'if not rows.parts or rows.op == "delete":\n',
            ),
        ),
    ),
    Mutant(
        "missing-row-ignored",
        "a merge or delete of a missing row is applied",
        (
            Edit(
                "chalicelib.drain.reject",
                "    return [missing(rows[place]) if place >= 0 else untouched(rows[-1 - place])"
                " for place in places]\n",
                "    return []\n",
            ),
        ),
    ),
    Mutant(
        "checked-rows-dropped",
        "rows that later ones overwrite are dropped although the table has constraints",
        (Edit(_FAST, "if running.execute(query, bound) != [(True,)]:", "if False:"),),
    ),
    Mutant(
        "tables-of-a-later-version-rejected",
        "after a rollback, messages for tables of the later version are rejected",
        (Edit(_ISOLATING, "if mismatches and is_ahead(running):", "if False:"),),
    ),
)

"""Mistakes of the front: in its writes, its stream, and what comes after them."""

from decanter.proof.mutants.edits import Edit
from decanter.proof.mutants.mutant import Mutant

_CHANGES = "chalicelib.api.front.changes"
_TRANSACTIONS = "chalicelib.api.front.transactions"
_WRITE = "chalicelib.api.front.write"
_REPEATS = "chalicelib.api.front.repeats"
_TABLE = "chalicelib.buffer.dynamodb.table"
_TAKE = "chalicelib.buffer.dynamodb.take"
_SET_BACK = "chalicelib.settle.set_back"

FRONTING = (
    Mutant(
        "create-without-condition",
        "a create in front overwrites the row that is there",
        (Edit(_CHANGES, 'if asked.op == "create" or none_match', "if none_match"),),
    ),
    Mutant(
        "patch-of-another-row",
        "a row in front is written over although it was changed since it was read",
        (
            Edit(
                _CHANGES,
                "return table.is_unchanged(old.item.etag) if old.item else table.IS_MISSING",
                "return None",
            ),
        ),
    ),
    Mutant(
        "precondition-forgotten",
        "a PUT in front does not look at If-Match and If-None-Match",
        (Edit(_CHANGES, "asked.condition or Condition(None, None)", "Condition(None, None)"),),
    ),
    Mutant(
        "claim-not-checked",
        "a unique value in front is taken although another row has it",
        (Edit(_TRANSACTIONS, "claim, table.is_free(*sorted(owners))", "claim"),),
    ),
    Mutant(
        "claim-not-released",
        "a row that is deleted or changed keeps its unique value in front",
        (Edit(_TRANSACTIONS, "in before.keys() - takers.keys():", "in ():"),),
    ),
    Mutant(
        "parent-not-checked",
        "a row in front is written although the row that it refers to is not there",
        (Edit(_TRANSACTIONS, "for pk, (change, parent) in parents.items():", "for pk in ():"),),
    ),
    Mutant(
        "delete-without-message",
        "a row that is deleted in front stays in Postgres",
        (
            Edit(
                _TRANSACTIONS,
                "entries.tombstone(change.pk, etag, body,",
                "entries.tombstone(change.pk, etag, None,",
            ),
        ),
    ),
    Mutant(
        "message-written-afterwards",
        "the message for Postgres is put into the item after the row",
        (
            Edit(
                _WRITE,
                "    outcome = table.write([step.action for step in needed], asked.until,"
                " wants_old=is_blind_put)\n",
                "    actions = [step.action for step in needed]\n"
                "    bare = []\n"
                "    for each in actions:\n"
                "        entry = {k: v for k, v in each.entry.items() if k != 'write'}\n"
                "        bare.append(each._replace(entry=entry))\n"
                "    outcome = table.write(bare, asked.until, wants_old=is_blind_put)\n"
                "    for each in () if outcome.refused else actions:\n"
                "        if 'write' in each.entry:\n"
                "            table.write([each._replace(requirement=None)], asked.until)\n",
            ),
        ),
    ),
    Mutant(
        "key-kept-before",
        "the answer to an Idempotency-Key is kept before the rows are written",
        (
            Edit(
                _WRITE,
                "needed.insert(0, Step(repeats.keep(chunk.record, asked.fingerprint, answer)))",
                "needed and table.write(\n"
                "            [repeats.keep(chunk.record, asked.fingerprint, answer)._replace(\n"
                "                requirement=None)], asked.until)",
            ),
            Edit(_WRITE, "if asked.is_kept and 0 in outcome.refused:", "if False:"),
        ),
    ),
    Mutant(
        "other-content-repeated",
        "a second request with a used Idempotency-Key gets the answer to the first",
        (Edit(_REPEATS, "if record.fingerprint != fingerprint:", "if False:"),),
    ),
    Mutant(
        "put-again-unseen",
        "a put whose answer was lost is sent again without a look at the item",
        (Edit(_TABLE, "is_single and _is_done(actions[0], deadline)", "False"),),
    ),
    Mutant(
        "stream-names-nothing",
        "a batch of the stream does not name what it has not finished",
        (
            Edit(
                "chalicelib.drain.handler",
                "    return buffer.answer(batch, unfinished)\n",
                '    left = [] if "dynamodb" in vars(buffer)["__name__"] else unfinished\n'
                "    return buffer.answer(batch, left)\n",
            ),
        ),
    ),
    Mutant(
        "stream-out-of-order",
        "the records of a batch of the stream are poured in any order",
        (Edit(_TAKE, 'in event.get("Records", ()):', 'in [*event.get("Records", ())][::-1]:'),),
    ),
    Mutant(
        "waits-in-the-shard",
        "a message with a write that waits is handed back, and holds up all behind it",
        (
            Edit(
                "chalicelib.drain.pour",
                "    done = own - poured.unclaimed\n",
                "    from chalicelib.postgres.connecting.connection import transaction\n"
                "    with transaction(connection, deadline + 0.5) as running:\n"
                '        waits = running.execute("SELECT dedup_id::text FROM decanter.waiting")\n'
                "    done = own - poured.unclaimed - {dedup_id for (dedup_id,) in waits}\n",
            ),
        ),
    ),
    Mutant(
        "poison-raises",
        "a record of the stream that cannot be read is not set apart",
        (
            Edit(
                "chalicelib.buffer.delivery",
                "except (ForeignMessage, NewerMessage) as error:",
                "except NewerMessage as error:",
            ),
        ),
    ),
    Mutant(
        "settled-over-a-newer-write",
        "an item is set back although it was written since",
        (
            Edit(
                _SET_BACK,
                "is_own = item.etag == entries.etag_of(write.dedup_id) and item.refused is None",
                "is_own = item.refused is None",
            ),
        ),
    ),
    Mutant(
        "settled-without-claims",
        "an item is set back, and the claims on its values are not",
        (
            Edit(_SET_BACK, "for pk in sorted(taken)]", "for pk in ()]"),
            Edit(_SET_BACK, "for pk in sorted(given)]", "for pk in ()]"),
        ),
    ),
    Mutant(
        "reconciled-too-early",
        "an operator's command hands over writes that are still in the stream",
        (Edit("decanter.deployment.reconcile", "if hours < STREAM_HOURS:", "if hours < 0:"),),
    ),
)

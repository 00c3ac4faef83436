"""Mistakes from the request to the queue, and in its receipt."""

from decanter.proof.mutants.edits import Edit
from decanter.proof.mutants.mutant import Mutant

_CALLS = "chalicelib.api.writes.calls"
_PUT = "chalicelib.buffer.sqs.put"
_SPLIT = "chalicelib.messages.split"
_RECEIPT = "chalicelib.messages.receipt"

ACCEPTING = (
    Mutant(
        "202-before-sqs",
        "a request is answered with 202 although SQS did not confirm its messages",
        (
            Edit(
                _CALLS,
                "    put.send(queue_url, entries, request.until())\n",
                "    try:\n"
                "        put.send(queue_url, entries, request.until())\n"
                "    except Problem:\n"
                "        pass\n",
            ),
        ),
    ),
    Mutant(
        "failed-entries-ignored",
        "messages that SendMessageBatch lists as Failed are taken for accepted",
        (Edit(_PUT, '[batch[int(each["Id"])] for each in failed]', "[]"),),
    ),
    Mutant(
        "unconfirmed-reply-accepted",
        "a reply of SQS without a confirmation is taken for one",
        (Edit(_PUT, "if reply.keys().isdisjoint(_CONFIRMED):", "if reply is None:"),),
    ),
    Mutant(
        "batches-reversed",
        "the later messages of a request are sent first",
        (Edit(_PUT, "for batch in batches:", "for batch in reversed(batches):"),),
    ),
    Mutant(
        "lane-twice-in-a-batch",
        "a lane's next message is sent before the one before it is confirmed",
        (Edit(_PUT, "if full or entry.lane in lanes:", "if full:"),),
    ),
    Mutant(
        "dedup-by-content",
        "SQS drops messages with equal content, not those with equal dedup IDs",
        (Edit(_PUT, "filter(None, (entry.dedup_id, entry.fingerprint))", "(entry.fingerprint,)"),),
    ),
    Mutant(
        "lane-of-the-row",
        "a row's lane depends on all of its text, not on its key alone",
        (
            Edit(_SPLIT, "row.digest % lanes]", "sum(row.text.encode()) % lanes]"),
            Edit(
                _SPLIT,
                "str(row.digest % lane_count)",
                "str(sum(row.text.encode()) % lane_count)",
            ),
        ),
    ),
    Mutant(
        "split-left-out",
        "the identity of a message leaves out how its request was split",
        (Edit(_RECEIPT, "if len(messages) == 1:", "if messages:"),),
    ),
    Mutant(
        "random-request-id",
        "a request has a random identity although it has an Idempotency-Key",
        (Edit(_CALLS, "request_id = keyed or new_id(now_ms)", "request_id = new_id(now_ms)"),),
    ),
    Mutant(
        "keys-of-all-callers",
        "an Idempotency-Key is the same key whoever sends it",
        (Edit(_RECEIPT, '_join("decanter request", caller, ', '_join("decanter request", '),),
    ),
    Mutant(
        "receipt-without-mac",
        "the MAC of a receipt is not checked",
        (
            Edit(
                _RECEIPT,
                " or not hmac.compare_digest(parts[1], _mac(parts[0], key, caller)):",
                ":",
            ),
        ),
    ),
    Mutant(
        "receipt-without-caller",
        "the MAC of a receipt does not cover its caller",
        (Edit(_RECEIPT, '_join("receipt", caller)', '_join("receipt")'),),
    ),
    Mutant(
        "only-the-newest-receipt-key",
        "receipts that a former key has signed are refused",
        (
            Edit(
                "chalicelib.api.reads.calls",
                "    for receipt_key in IntakeSettings.from_environment().receipt_keys:\n",
                "    for receipt_key in IntakeSettings.from_environment().receipt_keys[:1]:\n",
            ),
        ),
    ),
)

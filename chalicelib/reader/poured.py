"""Which messages are poured."""

from chalicelib.messages.questions import PouredAnswer, PouredQuestion
from chalicelib.postgres import ledger, waiting
from chalicelib.postgres.connecting.connection import Transaction


def messages(transaction: Transaction, question: PouredQuestion) -> PouredAnswer:
    """Those of a question that are not in the ledger, and how many writes to its resource wait."""
    known = ledger.known(transaction, question.dedup_ids)
    missing = [each for each in question.dedup_ids if each not in known]
    return PouredAnswer(missing, waiting.of_resource(transaction, question.resource))

"""Questions of operators: to the reader, and to the operate function for what changes something."""

from typing import Any

from chalicelib import asking
from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request
from chalicelib.errors import Problem
from chalicelib.messages.questions import InvalidList, OpsAnswer, OpsQuestion
from chalicelib.settings import operate_function


def read(request: Request, what: str, **given: Any) -> OpsAnswer:
    """The reader's answer. Raises Problem `reader-busy`, or `invalid-query` for what would take
    it too long."""
    return _known(asking.ask(OpsQuestion(what, given), request.until()))


def act(request: Request, what: str, **given: Any) -> OpsAnswer:
    """The answer of the operate function. Raises Problem as `read` does."""
    return _known(asking.ask(OpsQuestion(what, given), request.until(), operate_function()))


def _known(answer: OpsAnswer | InvalidList) -> OpsAnswer:
    if isinstance(answer, InvalidList):
        raise Problem("invalid-query", answer.unfit)
    return answer


def shown(answer: OpsAnswer) -> Answer:
    """The answer as it is."""
    return Answer(200, answer.body)

"""Questions of operators: to the reader, and to the operate function for what changes something."""

from typing import Any

from chalicelib import asking
from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request
from chalicelib.messages.questions import OpsAnswer, OpsQuestion
from chalicelib.settings import operate_function


def read(request: Request, what: str, **given: Any) -> OpsAnswer:
    """The reader's answer. Raises Problem `reader-busy`."""
    return asking.ask(OpsQuestion(what, given), request.until())


def act(request: Request, what: str, **given: Any) -> OpsAnswer:
    """The answer of the operate function. Raises Problem `reader-busy`."""
    return asking.ask(OpsQuestion(what, given), request.until(), operate_function())


def shown(answer: OpsAnswer) -> Answer:
    """The answer as it is."""
    return Answer(200, answer.body)

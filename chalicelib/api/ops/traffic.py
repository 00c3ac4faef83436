"""GET /ops/traffic: the traffic of the last days, for `decanter plan --from-ledger`."""

from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request, invalid_query, only
from chalicelib.api.ops import asking
from chalicelib.errors import Fault
from chalicelib.settings import LEDGER_DAYS

_DAYS = 7


def of_days(request: Request) -> Answer:
    """GET /ops/traffic?days=: what was accepted in these days, the last seven if not given."""
    sent = only(request.query, "days").get("days", str(_DAYS))
    if not (
        sent.isascii() and sent.isdecimal() and len(sent) < 10 and 1 <= int(sent) <= LEDGER_DAYS
    ):
        detail = f"it must be a number of days from 1 to {LEDGER_DAYS}, which the ledger keeps"
        raise invalid_query(Fault("?days", "query", detail))
    return asking.shown(asking.read(request, "traffic", days=int(sent)))

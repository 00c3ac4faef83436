"""What a client asks of a resource behind the front table."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.api.front.rows import SentRow
from chalicelib.api.http.prefer import Preferences
from chalicelib.contract.resources import Resource
from chalicelib.messages.message import Condition
from chalicelib.ops import OPS, Op


class FrontRequest(NamedTuple):
    """A checked request to write rows.

    rows: key columns may still lack their defaults. many: whether the body can hold several.
    condition: only of a single row. caller, fingerprint: of the receipt; receipt_key signs it.
    request: the id from the Idempotency-Key, None without one. refused: members of the answer about
    invalid items. may_read: whether the client may see more of a row than it has sent.
    moment: of the request, in UTC. until: a time.monotonic() by which it has to be answered.
    keeps_refusals: whether what the rows as they are have refused is kept under the key too.
    has_events: whether an event is published for each row that is poured.
    """

    resource: Resource
    op: Op
    rows: Sequence[SentRow]
    many: bool
    condition: Condition | None
    caller: str
    fingerprint: str
    receipt_key: bytes
    request: UUID | None
    preferred: Preferences
    refused: Mapping[str, Any]
    may_read: bool
    moment: datetime
    until: float
    keeps_refusals: bool = True
    has_events: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether the answer is kept, to be repeated."""
        return self.request is not None

    @property
    def is_reading(self) -> bool:
        """Whether the rows have to be read before they can be written. Otherwise one call judges
        and writes; of a transaction, DynamoDB does not tell what it replaced."""
        front = self.resource.front
        if self.op == "create" or front is None:
            return False
        facts = OPS[self.op]
        has_others = bool(front.unique) or (bool(front.parents) and not facts.removes)
        return not facts.names_row or facts.partial or self.is_kept or has_others

    @property
    def is_patient(self) -> bool:
        """Whether the writes may wait for other rows. Parents in front are known to exist, and
        unique values to be free, but the stream may be behind with that."""
        front = self.resource.front
        depends = front is not None and bool(front.parents or front.unique)
        return self.preferred.is_patient or OPS[self.op].removes or depends

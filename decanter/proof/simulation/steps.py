"""What a container says to the simulation before each of its steps, and what it is answered."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Step(NamedTuple):
    """What a container is about to do; it waits for its Reply.

    kind: `connect`, `connected` (detail: pid), `closed`, `statement` (detail: ends, sets, writes;
    limit, lock: seconds or None; sets: how many its transaction has written, None: some in parts;
    writes: whether it writes one),
    `unsupported` (detail: reason) by the database,
    `sleep` (detail: seconds), `call` of AWS (detail: service, operation, parameters), `done`
    (detail: result) or `failed` (detail: error).
    """

    kind: str
    detail: Mapping[str, Any] = {}


class Reply(NamedTuple):
    """Go on. now: virtual time. verdict: what happens instead of the step; None: nothing.

    Of a connect: `refuse`. Of a statement: `cut` (the connection is lost before it), `lose` (after
    it), or an SQLSTATE, with which the server refuses it. Of a call: `error`, with a value.
    """

    now: float
    verdict: str | None = None
    value: Any = None


class Work(NamedTuple):
    """What a container is invoked with. function: a name in app.py, or `app`."""

    function: str
    event: Mapping[str, Any]
    seconds: float
    now: float

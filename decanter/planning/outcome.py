"""What a day of traffic becomes in a stage: the figures that a simulation counts.

Lag is the time from a write's acceptance to the COMMIT that pours it. Counts are of the whole day;
where a quiet stretch was simulated in part, they are scaled up to its length, so they are floats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Quantiles(NamedTuple):
    """Seconds of lag that so many of a hundred messages had at most; `most` is the longest."""

    p50: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True)
class ResourceOutcome:
    """The writes of one resource.

    buffer: that they wait in. requests: that were accepted. messages: that they were split into;
    in front of a table: its items. puts: calls that put them into the buffer. bytes: of their
    messages.
    """

    resource: str
    buffer: str
    requests: float
    messages: float
    rows: float
    bytes: float
    puts: float
    lag: Quantiles


@dataclass(frozen=True)
class BufferOutcome:
    """One buffer and its drain.

    name: `ordered`, `unordered` or `stream`. function: of its drain. requests, messages, rows,
    bytes: that were accepted; a message counts once, however often it is delivered. batches:
    invocations of the drain with messages, those that an outage has failed included. busy_seconds:
    of all its containers together, which is what Lambda bills. receives: calls to receive, of up to
    ten messages of a queue, without those that find nothing. cold_starts: containers that were
    started. containers: most that were alive at once. backlog: messages that are accepted and not
    poured, as (second of the day, messages) in order of time. lags: the longest lag among the
    messages poured since the point before, as (second of the day, seconds). peak_backlog: most
    messages that waited; peak_second: when in the day. clear_seconds: from then until all of them
    were poured. is_late: more than one message of a hundred of the day was poured later than the
    goal allows.
    """

    name: str
    function: str
    requests: float
    messages: float
    rows: float
    bytes: float
    batches: float
    busy_seconds: float
    receives: float
    cold_starts: float
    containers: int
    lag: Quantiles
    backlog: tuple[tuple[float, float], ...]
    lags: tuple[tuple[float, float], ...]
    peak_backlog: float
    peak_second: float
    clear_seconds: float
    is_late: bool = False


@dataclass(frozen=True)
class Outcome:
    """A day of a stage.

    seconds: of the day that the figures are for: all of it, or less where the stage cannot keep up
    and the simulation was ended. simulated_requests: that were drawn to find them. requests: that
    were sent. refused: of these, answered with 429, as the backlog was older than the stage allows.
    connections: most that each function held at once, by its name.
    """

    seconds: float
    simulated_requests: int
    requests: float
    refused: float
    buffers: tuple[BufferOutcome, ...]
    resources: tuple[ResourceOutcome, ...]
    connections: Mapping[str, int]

    @property
    def peak_connections(self) -> int:
        """Most connections of all functions together, were all their peaks at once."""
        return sum(self.connections.values())

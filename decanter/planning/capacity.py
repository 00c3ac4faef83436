"""What a stage gives to its traffic: the buffers with their drains, and all who hold connections.

Every figure is read where the deployment has it: the stage, app.py, and the template's modules.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from chalicelib import settings
from chalicelib.drain.handler import MARGIN_SECONDS
from decanter.deployment import budget, findings, functions
from decanter.deployment.budget import Holder
from decanter.deployment.stage import DEFAULT_TIMEOUT_SECONDS, Stage
from decanter.deployment.template.queues import MAX_RECEIVES, VISIBILITY_MARGIN_SECONDS
from decanter.planning.memory import megabytes

EVENT_BYTES = 6_000_000
"""Most bytes of a batch: an event of Lambda."""

SHARDS = 4
"""Shards of the front table's stream, one for each partition of the table: a new table on demand
takes 4,000 writes a second, and a partition 1,000.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput-scenarios.html,
https://dynobase.dev/dynamodb-warm-throughput/ (read on 2026-11-26)"""


@dataclass(frozen=True)
class DrainCapacity:
    """A buffer and its drain.

    buffer: its name. function: of the drain. cap: most batches at once. connections: most
    containers of the function, each with a connection. has_clock: a schedule invokes it as well.
    lanes: sources that are poured in their order, one batch at a time each: lanes of the ordered
    queue, shards of the stream; 0: there is no order. mixes_lanes: whether a batch may have
    messages of several lanes. batch, batch_bytes: the largest batch, in messages and in bytes.
    window_seconds: how long a batch is waited for while it is not full. receive: messages of a call
    to receive; 0: receiving is no call that counts. megabytes: memory of the function. seconds:
    that an invocation has until it gives up. visibility_seconds: from the delivery of messages that
    are not poured to the next one; 0: they are delivered again at once.
    """

    buffer: str
    function: str
    cap: int
    connections: int
    has_clock: bool
    lanes: int
    mixes_lanes: bool
    batch: int
    window_seconds: float
    megabytes: int
    seconds: float
    visibility_seconds: float
    receive: int = 10
    batch_bytes: int = EVENT_BYTES


@dataclass(frozen=True)
class Capacity:
    """A stage.

    drains: those that it has, by the name of their buffer. others: caps of the other functions that
    hold connections, by name. refuses_after_seconds: age of a
    queue's oldest message at which writes to it are refused; None: never. dead_after_seconds: an
    outage of the database after which messages of the queues become dead letters.
    """

    drains: Mapping[str, DrainCapacity]
    others: Mapping[str, int]
    refuses_after_seconds: float | None
    dead_after_seconds: float

    @property
    def budget(self) -> int:
        """The connection budget."""
        drains = sum(each.connections for each in self.drains.values())
        return drains + sum(self.others.values())

    def with_drain(self, drain: DrainCapacity) -> "Capacity":
        """The same with another drain of its buffer."""
        return replace(self, drains={**self.drains, drain.buffer: drain})


def of_stage(stage: Stage) -> Capacity:
    """What a stage gives. Raises PreflightFailed for a function whose connections have no limit."""
    holders = budget.holders(stage)
    findings.refuse(budget.findings(holders, None))
    drains = [each for each in holders if each.function.buffer]
    visibility = stage.drain_seconds + VISIBILITY_MARGIN_SECONDS
    variables = stage.variables(functions.function("api"))
    return Capacity(
        drains={str(each.function.buffer): _drain(stage, each, visibility) for each in drains},
        others={each.function.name: each.cap or 0 for each in holders if each not in drains},
        refuses_after_seconds=settings.backlog_limit_seconds(variables),
        dead_after_seconds=MAX_RECEIVES * visibility,
    )


def _drain(stage: Stage, holder: Holder, visibility: float) -> DrainCapacity:
    function, cap = holder.function, holder.steady
    queue, batching = function.queue, stage.batches[function.name]
    is_fifo = queue is not None and queue.is_fifo
    timeout = stage.setting(function, "lambda_timeout") or DEFAULT_TIMEOUT_SECONDS
    return DrainCapacity(
        buffer=str(function.buffer),
        function=function.name,
        cap=cap if queue else min(cap, SHARDS),
        connections=holder.cap or cap,
        has_clock=function.has_clock,
        lanes=settings.LANES if is_fifo else 0 if queue else SHARDS,
        mixes_lanes=is_fifo,
        batch=batching.messages,
        window_seconds=batching.window_seconds,
        megabytes=megabytes(stage, function.name),
        seconds=timeout - MARGIN_SECONDS,
        visibility_seconds=visibility if queue else 0.0,
        receive=10 if queue else 0,
    )

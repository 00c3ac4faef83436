"""How long a batch keeps a container of a drain busy: figures that ``python -m benchmarks service``
has fitted, read from its JSON.

A batch takes its fixed part, and so much for each message, row and byte of it. The figures are of a
machine where function and database are side by side and the function has a processor to itself:
`Service.seconds` adds the network, and slows the function down to its share of a processor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from chalicelib.ops import OPS
from decanter.planning import documents

FILE = Path(__file__).with_name("service.json")
"""The figures that are used unless others are named."""

PROCESSOR_MEGABYTES = 1_769
"""Memory at which Lambda gives a function one processor; with less, that much less of it.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html (read on 2026-11-26)"""

_SECONDS: Mapping[str, Any] = {"type": "number", "minimum": 0, "description": "seconds, from 0"}
_ROUND_TRIPS: Mapping[str, Any] = {
    "type": "number",
    "minimum": 0,
    "description": "round trips to the database, from 0",
}
_OPS: Mapping[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"enum": [*OPS]},
    "additionalProperties": {
        "type": "object",
        "required": ["batch_seconds", "message_seconds", "row_seconds", "byte_seconds"],
        "properties": {
            "batch_seconds": _SECONDS,
            "message_seconds": _SECONDS,
            "row_seconds": _SECONDS,
            "byte_seconds": _SECONDS,
            "round_trips": _ROUND_TRIPS,
            "processor_share": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "description": "the function's own part of the time, from 0 to 1",
            },
        },
    },
}
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["cold_start_seconds", "ops"],
    "properties": {
        "cold_start_seconds": _SECONDS,
        "ops": _OPS,
        "unordered": _OPS,
        "further_op": {
            "type": "object",
            "required": ["seconds", "round_trips"],
            "properties": {"seconds": _SECONDS, "round_trips": _ROUND_TRIPS},
        },
    },
}


class OpService(NamedTuple):
    """What writes of one op take, in seconds.

    batch_seconds: of a batch, however small. message_seconds, row_seconds, byte_seconds: of each
    message, row and byte of the messages in it. round_trips: to the database, of a batch.
    processor_share: how much of that time is the function's own work, from 0 to 1; the rest is the
    database's.
    """

    batch_seconds: float
    message_seconds: float
    row_seconds: float
    byte_seconds: float
    round_trips: float = 1.0
    processor_share: float = 0.0

    def scaled(self, factor: float) -> "OpService":
        """The same where each part takes so many times as long."""
        return self._replace(
            batch_seconds=self.batch_seconds * factor,
            message_seconds=self.message_seconds * factor,
            row_seconds=self.row_seconds * factor,
            byte_seconds=self.byte_seconds * factor,
        )


@dataclass(frozen=True)
class Service:
    """The service times of the drains.

    cold_start_seconds: from the start of a container until it takes its first batch, beyond what
    that batch takes. ops: by op; writes of an op that is not among them take as long as the slowest
    of the others. unordered: of the unordered queue, where these are others. further_op_seconds,
    further_op_round_trips: what each further op or resource adds to a batch. return_seconds: from
    COMMIT until the container may take another batch, where it is known apart.
    """

    cold_start_seconds: float
    ops: Mapping[str, OpService]
    unordered: Mapping[str, OpService] = field(default_factory=dict)
    further_op_seconds: float = 0.0
    further_op_round_trips: float = 0.0
    return_seconds: float = 0.0

    def op(self, name: str) -> OpService:
        """What writes of an op take."""
        if name in self.ops:
            return self.ops[name]
        return OpService(*(max(each) for each in zip(*self.ops.values(), strict=True)))

    def at(self, buffer: str, megabytes: int, round_trip_seconds: float) -> "Service":
        """The same for the drain of one buffer, in a function of so much memory, and so far from
        the database."""
        slower = max(1.0, PROCESSOR_MEGABYTES / megabytes)
        found = {}
        for name, each in {**self.ops, **(self.unordered if buffer == "unordered" else {})}.items():
            own = each.processor_share
            grown = each.scaled(own * slower + 1 - own)
            network = each.round_trips * round_trip_seconds
            found[name] = grown._replace(batch_seconds=grown.batch_seconds + network)
        further = self.further_op_seconds + self.further_op_round_trips * round_trip_seconds
        return Service(self.cold_start_seconds * slower, found, further_op_seconds=further)


def load(path: Path = FILE) -> Service:
    """The service times in a file. Raises PlanningError."""
    found = documents.read(path)
    documents.check(found, _SCHEMA, path.name)
    further = found.get("further_op", {"seconds": 0.0, "round_trips": 0.0})
    return Service(
        found["cold_start_seconds"],
        _ops(found["ops"]),
        _ops(found.get("unordered", {})),
        further["seconds"],
        further["round_trips"],
    )


def _ops(found: Mapping[str, Any]) -> dict[str, OpService]:
    return {
        name: OpService(**{key: each[key] for key in OpService._fields if key in each})
        for name, each in found.items()
    }

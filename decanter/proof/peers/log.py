"""What a peer's functions log about each message and write: all that is known of its rejections.

A line of a file, which outlives the container: a log has left the process when it is killed.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Log:
    """The file that the containers of one history write."""

    path: Path

    def begin(self, message: str) -> None:
        """A delivery of a message begins. message: its dedup ID."""
        self._write(message, None, "")

    def end(self, message: str, outcomes: dict[int, str]) -> None:
        """It has committed. outcomes: types of rejections by item, empty for an applied write."""
        for item, kind in outcomes.items():
            self._write(message, item, kind)

    def read(self) -> dict[str, "Logged"]:
        """All that was logged, by dedup ID."""
        found: dict[str, Logged] = defaultdict(Logged)
        for line in self.path.read_text(encoding="utf-8").splitlines():
            message, item, kind = json.loads(line)
            if item is None:
                found[message].deliveries += 1
            else:
                found[message].outcomes.setdefault(item, []).append(kind)
        return found

    def _write(self, message: str, item: int | None, kind: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([message, item, kind]) + "\n")


@dataclass
class Logged:
    """What is known of a message. outcomes: of each item, one for each delivery that committed."""

    deliveries: int = 0
    outcomes: dict[int, list[str]] = field(default_factory=dict)

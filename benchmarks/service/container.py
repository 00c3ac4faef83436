"""A function in a fresh process, as Lambda starts it: `python -m benchmarks.service.container
{function}`.

It calls the function with each event, a line of JSON, and answers each with a line: what the
process has used since it began.
"""

import io
import json
import resource
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import Context

_STATUS = Path("/proc/self/status")


class Used(NamedTuple):
    """Since a process began. processor: seconds of its processor. peak_bytes: the most that were
    resident at once. log_bytes: that it has logged. answer: of the last call."""

    processor: float
    peak_bytes: int
    log_bytes: int
    answer: object


def main(function: str) -> None:
    answers = sys.stdout
    sys.stdout = log = io.StringIO()  # the log, which Lambda takes
    import app

    handler = app.app if function == "api" else getattr(app, function)
    for line in sys.stdin:
        answer = handler(json.loads(line), Context())
        used = Used(time.process_time(), _peak(), len(log.getvalue().encode()), answer)
        print(json.dumps(used), file=answers, flush=True)


def _peak() -> int:
    """The most bytes that were resident. Linux keeps in `ru_maxrss` what the process that started
    this one had."""
    if not _STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    [line] = [each for each in _STATUS.read_text().splitlines() if each.startswith("VmHWM")]
    return int(line.split()[1]) * 1_024


if __name__ == "__main__":
    main(sys.argv[1])

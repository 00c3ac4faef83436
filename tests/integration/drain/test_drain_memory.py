"""The largest batch that Lambda hands over is poured in little memory."""

import os
import subprocess
import sys

from tests.kit.project import PROJECT

PROGRAM = """
import gc, sys
from pathlib import Path
from chalicelib.buffer.sqs import take
from chalicelib.drain import handler
from benchmarks.rows import airports, bodies, event, weather

class Context:
    def get_remaining_time_in_millis(self):
        return 60_000

def mebibytes(line):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(each for each in lines if each.startswith(line)).split()[1]) / 1024

stations = airports(1_000)
codes = [station["icao"] for station in stations]
handler.drain(event(bodies("stations", "create", stations, 100)), Context(), take)
rows = weather(codes, 52_000)
if "bad" in sys.argv:
    rows[17]["temperature_c"] = 99_999
made = bodies("observations", "create", rows, 5_200)
size = sum(map(len, made))
batch = event(made)
del made, rows
gc.collect()
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
idle = mebibytes("VmRSS")
handler.drain(batch, Context(), take)
print(size, mebibytes("VmHWM") - idle)
"""


MOST = 19
"""How many times its own size a batch may take; Lambda hands over 6 MB at most."""


def peak(url: str, *arguments: str) -> tuple[int, float]:
    """Size of the batch in bytes; bytes above idle that pouring it took."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=PROJECT,
        env={**os.environ, "DECANTER_DATABASE_URL": url, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    size, above = done.stdout.split()
    return int(size), float(above) * 2**20


def test_a_full_batch_takes_a_small_multiple_of_its_size(database_url: str) -> None:
    size, above = peak(database_url)

    assert 5_000_000 < size < 6_000_000
    assert above < MOST * size


def test_a_full_batch_with_a_bad_row_takes_a_small_multiple_of_its_size(database_url: str) -> None:
    size, above = peak(database_url, "bad")

    assert above < MOST * size

"""A drain in a process of its own, or a peer in its place, which pours when it is told to: a
program."""

import gc
import os
import time
from collections.abc import Callable
from functools import cache
from itertools import product
from string import ascii_uppercase, digits
from typing import Any

from benchmarks import child
from benchmarks.drain.peers import copy, copy_ready, copy_text
from benchmarks.harness import OURS, Context, Json
from benchmarks.rows import airports, as_objects, bodies, event, weather
from chalicelib.buffer.sqs import take
from chalicelib.drain import handler

COPY, READY = "copy", "copy_ready"
PARENTS = 200
"""Stations that observations refer to."""


def _work(settings: Json, hear: Callable[[], Json]) -> None:
    """settings: the database's URL, and the drain's number, from 0. Each message names a load and
    who pours it; once the batches are ready, another one starts it. The answer says when it began
    and ended, by the monotonic clock, and the seconds of processor time in between."""
    url, number = settings["url"], settings["number"]
    os.environ["DECANTER_DATABASE_URL"] = url
    while True:
        asked = hear()
        batches = _batches(number, *asked["load"], asked["who"])
        pour = _pourer(url, asked["who"])
        gc.collect()
        child.say("ready")
        hear()
        began, before = time.monotonic(), time.process_time()
        for batch in batches:
            pour(batch)
        spent, ended = time.process_time() - before, time.monotonic()
        child.say({"began": began, "ended": ended, "spent": spent})


@cache
def _pourer(url: str, who: str) -> Callable[[Any], Any]:
    """The function that pours a batch, on a connection that stays open."""
    if who == OURS:
        return lambda batch: handler.drain(batch, Context(), take)
    return copy(url) if who == COPY else copy_ready(url)


@cache
def _batches(
    number: int, resource: str, batch: int, writes: int, calls: int, who: str
) -> list[Any]:
    """The batches of a drain: events, whose rows are objects for peers, or text for COPY."""
    rows = _rows(number, resource, batch * writes * calls)
    made = bodies(resource, "create", rows, writes)
    events = [event(made[start : start + batch]) for start in range(0, len(made), batch)]
    if who == OURS:
        return events
    objects = [as_objects(each) for each in events]
    return [copy_text(each) for each in objects] if who == READY else objects


def _rows(number: int, resource: str, count: int) -> list[Json]:
    if resource == "observations":
        return weather([row["icao"] for row in airports(PARENTS)], count, seed=number)
    known = airports(10_000)
    codes = _codes()[number * count : (number + 1) * count]
    return [{**known[at % len(known)], "icao": code} for at, code in enumerate(codes)]


@cache
def _codes() -> list[str]:
    """More codes than there are airports."""
    return ["".join(each) for each in product(ascii_uppercase + digits, repeat=4)]


if __name__ == "__main__":
    child.serve(_work)

"""Measuring and printing, for every benchmark.

Contestants take turns, one sample each, so that a machine that slows down affects all of them. Each
round starts with another contestant, and the first round is a warm-up that does not count. A ratio
is our sample over a peer's of the same round. Samples and ratios are reported as their median, with
the first and third quartile as the noise.
"""

import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

Json = dict[str, Any]
Samples = dict[str, list[float]]
"""One sample a round, by contestant."""

OURS = "ours"

T = TypeVar("T")


class Result(NamedTuple):
    """The samples of one case. case: its parameters by name. unit: of each sample. is_compared:
    whether ratios say something; otherwise the figures of the peers are shown, which may be 0."""

    case: Mapping[str, Any]
    unit: str
    samples: Samples
    is_compared: bool = True


class Context:
    """The part of a Lambda context that a handler reads."""

    function_name = "decanter"
    memory_limit_in_mb = 1_024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:decanter"
    aws_request_id = "11111111-2222-4333-8444-555555555555"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def interleave(
    contestants: Mapping[str, Callable[[], T]], rounds: int, first: int = 0
) -> dict[str, list[T]]:
    """Take one sample a round of each contestant. first: index of the one that starts."""
    names = list(contestants)
    samples: dict[str, list[T]] = {name: [] for name in names}
    for round_ in range(rounds + 1):
        start = (first + round_) % len(names)
        for name in names[start:] + names[:start]:
            sample = contestants[name]()
            if round_:
                samples[name].append(sample)
    return samples


def timed(work: Callable[[], T], clock: Callable[[], float] = time.process_time) -> tuple[float, T]:
    """Return the seconds that work takes by this clock, and its result; collect garbage first."""
    gc.collect()
    started = clock()
    result = work()
    return clock() - started, result


def format_result(benchmark: str, result: Result, as_json: bool) -> str:
    """Format a result as a line of a table, or as a JSON object."""
    figures = {name: _figure(samples) for name, samples in result.samples.items()}
    ratios = _ratios(result.samples) if result.is_compared else {}
    if as_json:
        measured = {"unit": result.unit, "figures": figures, "ratios": ratios}
        return json.dumps({"benchmark": benchmark, **result.case, **measured})
    case = "  ".join(
        each if isinstance(each, str) else f"{name} {each:,}" for name, each in result.case.items()
    )
    low, high = map(_text, figures[OURS]["spread"])
    peers = "".join(
        "  {median:.2f} × {name} ({spread[0]:.2f}-{spread[1]:.2f})".format(name=name, **ratio)
        for name, ratio in ratios.items()
    )
    if not result.is_compared:
        peers = "".join(
            f"  {name} {_text(each['median'])} ({'-'.join(map(_text, each['spread']))})"
            for name, each in figures.items()
            if name != OURS
        )
    return f"{case:48} {_text(figures[OURS]['median']):>7} {result.unit} ({low}-{high}){peers}"


def _ratios(samples: Samples) -> Json:
    return {
        name: _figure([one / other for one, other in zip(samples[OURS], others, strict=True)])
        for name, others in samples.items()
        if name != OURS
    }


def _figure(samples: list[float]) -> Json:
    several = samples if len(samples) > 1 else samples * 2
    low, median, high = statistics.quantiles(several, n=4, method="inclusive")
    return {"median": _rounded(median), "spread": [_rounded(low), _rounded(high)]}


def _rounded(figure: float) -> float:
    return float(f"{figure:.5g}")


def _text(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 or not figure else f"{figure:#.3g}"

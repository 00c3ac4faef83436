"""A day of traffic as a plan has it, made by hand."""

from dataclasses import replace
from typing import Any

from decanter.deployment.stage import Stage
from decanter.planning.memory import Container
from decanter.planning.outcome import BufferOutcome, Outcome, Quantiles, ResourceOutcome
from decanter.planning.profile import DAY_SECONDS, Outage, Profile, Rate, Traffic
from decanter.planning.service import OpService, Service

LAG = Quantiles(0.5, 1.0, 2.0, 40.0)

PROFILE = Profile(
    rates=(Rate(0.0, 2.0), Rate(8 * 3_600.0, 20.0)),
    resources=(
        Traffic("stations", 0.25, 1, 200, {"create": 0.5, "merge": 0.5}),
        Traffic("observations", 0.75, 10, 150, {"create": 1.0}),
    ),
    lag_p99_seconds=5.0,
    region="us-east-1",
    outage=Outage(12 * 3_600.0, 600.0),
)

ORDERED = BufferOutcome(
    name="ordered",
    function="drain_ordered",
    requests=100_000.0,
    messages=100_000.0,
    rows=100_000.0,
    bytes=30_000_000.0,
    batches=50_000.0,
    busy_seconds=500.0,
    receives=50_000.0,
    cold_starts=4.0,
    containers=4,
    is_late=False,
    lag=LAG,
    backlog=((0.0, 0.0), (43_200.0, 9_000.0), (44_000.0, 0.0)),
    lags=((0.0, 0.4), (43_800.0, 600.0), (44_000.0, 0.4)),
    peak_backlog=9_000.0,
    peak_second=43_800.0,
    clear_seconds=200.0,
)
UNORDERED = replace(
    ORDERED,
    name="unordered",
    function="drain_unordered",
    requests=300_000.0,
    messages=300_000.0,
    rows=3_000_000.0,
    bytes=600_000_000.0,
    batches=80_000.0,
    busy_seconds=4_000.0,
    receives=60_000.0,
    backlog=((0.0, 10.0), (43_200.0, 20_000.0), (44_000.0, 10.0)),
)

OUTCOME = Outcome(
    seconds=float(DAY_SECONDS),
    simulated_requests=400_000,
    requests=400_000.0,
    refused=0.0,
    buffers=(ORDERED, UNORDERED),
    resources=(
        ResourceOutcome(
            "stations", "ordered", 100_000.0, 100_000.0, 100_000.0, 30_000_000.0, 100_000.0, LAG
        ),
        ResourceOutcome(
            "observations", "unordered", 300_000.0, 300_000.0, 3_000_000.0, 600_000_000.0,
            300_000.0, LAG,
        ),
    ),
    connections={"drain_ordered": 4, "drain_unordered": 2},
)  # fmt: skip

TIMES = Service(
    cold_start_seconds=0.3,
    ops={
        "create": OpService(0.001, 0.00002, 0.00001, 1e-8, 1.0, 0.5),
        "merge": OpService(0.002, 0.00003, 0.00001, 1e-8, 2.0, 0.5),
    },
)

FUNCTIONS: dict[str, Any] = {
    "api": {
        "cold_start_seconds": 0.2,
        "peak_bytes": 300 * 2**20,
        "log_bytes": 130,
        "request_seconds": 0.0008,
        "row_seconds": 0.00001,
    },
    "drain": {"cold_start_seconds": 0.3, "peak_bytes": 150 * 2**20, "log_bytes": 120},
}
"""The part of a file of service times that is about containers."""

CONTAINERS = {name: Container(**each) for name, each in FUNCTIONS.items()}

_MEMORY = {"api_handler": 1_024, "drain_ordered": 512, "drain_unordered": 1_024}
STAGE = Stage(
    "p",
    "jwt",
    name="dev",
    configuration={
        "app_name": "app",
        "stages": {
            "dev": {
                "environment_variables": {},
                "lambda_functions": {
                    name: {"lambda_memory_size": size} for name, size in _MEMORY.items()
                },
            }
        },
    },
)

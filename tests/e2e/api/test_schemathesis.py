"""The deployed API does what its contract says, and nothing that it does not say, whatever comes.

`make fuzz` does far more of it. What it finds is told as a command for curl.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.deployment import HTTP, Deployment
from tests.kit.project import HOME, PROJECT
from tests.kit.waiting import until

FOLDER = HOME / "tests" / "kit" / "fuzz"
IS_LONG = os.environ.get("DECANTER_FUZZ") == "long"
LONG_CASES = 5_000

# Phases, examples for each operation, and the operations if they are not all.
SHORT = (
    ("examples,fuzzing,stateful", 1, ()),
    ("coverage", 1, ("status", "stations.delete")),
)
LONG = (("examples,coverage,fuzzing,stateful", 200, ()),)


@pytest.fixture(scope="module")
def target(deploy: Callable[..., Deployment]) -> Deployment:
    """A stack of its own: strange rows stay, and retries of what was rejected."""
    made = deploy(PROJECT, "decanter-fuzz")
    station = {
        "name": "Fuzz Field",
        "country": "CH",
        "elevation_ft": 1,
        "latitude": 1,
        "longitude": 1,
        "timezone": "UTC",
    }
    wanted = {"Prefer": "wait=20"}
    until(lambda: made.call("PUT", "/stations/FUZZ", station, wanted).status == 200)
    return made


def run(
    target: Deployment, document: Path, phases: str, examples: int, only: tuple[str, ...]
) -> int:
    """Call the API; returns the number of calls. Fails with what was found."""
    seed = [] if IS_LONG else ["--seed", "1"]  # the same calls each time, as far as answers are
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file", str(FOLDER / "schemathesis.toml"),
            "run", str(document), "--url", target.api_url, "--no-color", "--checks", "all",
            "--phases", phases, "--max-examples", str(examples), "--continue-on-failure", *seed,
            *(word for operation in only for word in ("--include-operation-id", operation)),
        ],
        env={
            **os.environ,
            "TOKEN": target.token(),
            "SCHEMATHESIS_HOOKS": "hooks",
            "PYTHONPATH": str(FOLDER),
            "COLUMNS": "200",
        },
        cwd=document.parent,
        capture_output=True,
        text=True,
        timeout=3_600,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    [generated] = re.findall(r"^  (\d+) generated", said, re.M)
    print(said[said.find("= SUMMARY =") :])  # noqa: T201
    return int(generated)


def test_every_answer_is_one_that_the_contract_describes(
    target: Deployment, tmp_path: Path
) -> None:
    document = tmp_path / "openapi.json"
    headers = {"Authorization": f"Bearer {target.token()}"}
    document.write_bytes(
        HTTP.request("GET", f"{target.api_url}/openapi.json", headers=headers).data
    )

    cases = sum(run(target, document, *plan) for plan in (LONG if IS_LONG else SHORT))

    assert cases >= (LONG_CASES if IS_LONG else 120)

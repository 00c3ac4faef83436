"""A client that openapi-python-client makes of the deployed /openapi.json."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.deployment import HTTP, Deployment
from tests.kit.project import HOME

PROGRAM = HOME / "tests" / "kit" / "client_program.py"
TOOLS = Path(sys.executable).parent


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, deployed: Deployment) -> Path:
    """Holds the generated package `decanter_client`."""
    made = tmp_path_factory.mktemp("client")
    document = made / "openapi.json"
    headers = {"Authorization": f"Bearer {deployed.token()}"}
    document.write_bytes(
        HTTP.request("GET", f"{deployed.api_url}/openapi.json", headers=headers).data
    )
    said = run(
        str(TOOLS / "openapi-python-client"), "generate", "--meta", "none",
        "--path", str(document), "--output-path", str(made / "decanter_client"),
    )  # fmt: skip
    told = [line for line in (said.stdout + said.stderr).splitlines() if "nsupported" in line]
    assert sorted(set(told)) == [
        "Unsupported content type application/x-ndjson",
        "Unsupported content type text/csv",
    ]
    assert "Endpoint will not be generated" not in said.stdout + said.stderr
    return made


def test_a_program_that_uses_it_has_the_right_types(folder: Path) -> None:
    run(
        str(TOOLS / "mypy"), "--strict", "--cache-dir", str(folder / "cache"),
        "--config-file", "", str(PROGRAM), str(folder / "decanter_client"),
        MYPYPATH=str(folder),
    )  # fmt: skip


def test_it_writes_waits_reads_lists_and_handles_rejections(
    folder: Path, deployed: Deployment
) -> None:
    done = run(
        sys.executable, str(PROGRAM),
        PYTHONPATH=str(folder), API=deployed.api_url, TOKEN=deployed.token(),
    )  # fmt: skip

    assert json.loads(done.stdout) == {
        "same receipt": True,
        "created": ["applied", 2],
        "read": ["Geneva", True, None],
        "listed": [["Geneva"], True],
        "rejected": [[0, "conflict"]],
        "merged": "Genève",
        "precondition": ["precondition-failed"],
        "replaced": "applied",
        "refused": [422, "urn:decanter:problem:invalid-row", ["/icao"]],
        "observed": "applied",
        "deleted": ["applied", "urn:decanter:problem:no-such-row"],
    }

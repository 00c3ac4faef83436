"""What the API function loads: no database, and nothing that it does not need."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
DATABASE = ("sqlalchemy", "psycopg2", "alembic")

LOADED = """
import json, sys
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""

POST = """
import os
os.environ.update(
    DECANTER_ORDERED_QUEUE_URL="https://queues.test/o.fifo",
    DECANTER_UNORDERED_QUEUE_URL="https://queues.test/u",
    DECANTER_READER_FUNCTION="reader",
    DECANTER_RECEIPT_KEY="k",
)
from chalice.local import LocalGatewayAuthorizer
from chalice.test import Client
import app
from chalicelib.intake import queue
taken = []
def authorize(self, path, event, context):
    event["requestContext"]["authorizer"] = {"name": "me", "scopes": "*:write", "exp": "9e9"}
    return event, context
LocalGatewayAuthorizer.authorize = authorize
queue.send = lambda url, entries: taken.extend(entries)
with Client(app.app) as client:
    answer = client.http.post(
        "/observations",
        headers={"Content-Type": "application/json"},
        body=b'{"station": "EDDF", "observed_at": "2026-01-01T00:00:00Z"}',
    )
assert answer.status_code == 202, answer.body
assert len(taken) == 1
"""


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code + LOADED],
        cwd=PROJECT,
        env={**os.environ, "DECANTER_AUTH": "jwt"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "module", [*DATABASE, "boto3", "botocore", "jsonschema_rs", "jwt", "cryptography", "decanter"]
)
def test_importing_the_app_does_not_load(module, loaded_with_the_app):
    assert module not in loaded_with_the_app


@pytest.fixture(scope="module")
def loaded_with_the_app() -> set[str]:
    return loaded_by("import app")


def test_a_write_loads_no_database_driver_and_no_sdk_but_for_the_queue():
    loaded = loaded_by(POST)

    assert loaded.isdisjoint((*DATABASE, "jwt", "cryptography", "decanter"))
    assert "jsonschema_rs" in loaded


def test_the_reader_and_the_drain_load_no_sdk_and_no_validator():
    loaded = loaded_by("import chalicelib.drain.handler, chalicelib.reader.handler")

    assert loaded.isdisjoint(("boto3", "botocore", "jsonschema_rs", "alembic", "chalice"))
    assert "psycopg2" in loaded


@pytest.mark.parametrize("module", ["settings", "errors", "message", "receipt"])
def test_pure_modules_load_nothing_beside_the_standard_library(module):
    loaded = loaded_by(f"import chalicelib.{module}")

    assert loaded - {"chalicelib", "__main__", "__mp_main__"} <= {
        *sys.stdlib_module_names,
        *(name for name in loaded if name.startswith("_")),
        "sitecustomize",
        "usercustomize",
    } | loaded_by("pass")

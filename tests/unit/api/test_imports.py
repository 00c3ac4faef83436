"""What the API function loads: no database, and nothing that it does not need."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.aws import environment
from benchmarks.coldstart.peers import STARTS
from benchmarks.intake.cases import Case, cases, event
from tests.kit.project import PROJECT

DATABASE = ("sqlalchemy", "psycopg2", "alembic")

LOADED = """
import json, sys
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""

# Files that a process opens are told beside what it loads.
OPENED = """
import sys
opened = []
sys.addaudithook(lambda name, given: opened.append(str(given[0])) if name == "open" else None)
"""


NAMES = """
import json, sys
print(json.dumps([name for name in sys.modules if name.startswith("chalicelib.")]))
"""

# The first request to a resource in front, without the network.
IN_FRONT = """
import app, json, sys
from types import SimpleNamespace
from botocore.awsrequest import AWSResponse
from chalicelib.buffer.dynamodb import table
class Raw:
    def stream(self, **_):
        yield b"{}"
def answer(request, **_):
    return AWSResponse(request.url, 200, {"Content-Type": "application/x-amz-json-1.0"}, Raw())
table._client().meta.events.register("before-send.dynamodb", answer)
answer = app.app(json.loads(sys.argv[1]), SimpleNamespace(aws_request_id="1"))
assert answer["statusCode"] in (201, 404), answer
"""


def run(code: str, case: Case | None = None) -> list[str]:
    request = event(case or cases()[0], "ours")
    if case:
        request["requestContext"]["authorizer"]["scopes"] = "*:read *:write"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(request)],
        cwd=PROJECT,
        env={**environment(1), **({"DECANTER_FRONT_TABLE": "front"} if case else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def loaded_by(code: str) -> set[str]:
    return set(run(code + LOADED))


@pytest.mark.parametrize(
    "module",
    [
        *DATABASE,
        *("boto3", "botocore", "jsonschema_rs", "msgspec", "jwt", "cryptography", "decanter"),
    ],
)
def test_importing_the_app_does_not_load(module, loaded_with_the_app):
    assert module not in loaded_with_the_app


@pytest.fixture(scope="module")
def loaded_with_the_app() -> set[str]:
    return loaded_by("import app")


def test_a_write_loads_nothing_but_the_sdk_and_the_validator():
    """Beside the standard library, of which Chalice and the SDK load nearly all there is."""
    known = {*sys.stdlib_module_names, "__mp_main__", "app", "chalicelib", "jsonschema_rs"}

    more = loaded_by(STARTS["ours"]) - loaded_by(STARTS["client"]) - known

    assert more == set()


def test_a_write_loads_of_our_own_only_what_it_needs():
    loaded = set(run(STARTS["ours"] + NAMES))

    rooms = {
        "": ("aws", "errors", "ops", "settings", "stage"),
        "messages": ("accepted", "message", "receipt", "split", "values"),
        "contract": ("json_text", "key", "resources", "validator"),
        "buffer": ("sqs",),
        "buffer.sqs": ("backlog", "put"),
        "api": ("http", "writes"),
        "api.http": (
            "answers",
            "caller",
            "idempotency",
            "path",
            "preconditions",
            "prefer",
            "request",
        ),
        "api.writes": ("body", "calls", "outcome", "rows"),
    }
    assert loaded == {
        *(f"chalicelib.{room}" for room in rooms if room),
        *(f"chalicelib.{room}.{name}".replace("..", ".") for room in rooms for name in rooms[room]),
    }


SUBSCRIPTION = {"email": "ada@example.com", "station": "LSZH", "wind_above_kt": 25}
KEY = {"id": "00000000-0000-4000-8000-000000000000"}
FRONT_CASES = [
    Case("POST subscriptions", "POST", "/subscriptions", {}, SUBSCRIPTION, 1),
    Case("GET subscriptions", "GET", "/subscriptions/{id}", KEY, None, 1),
]


@pytest.mark.parametrize("case", FRONT_CASES, ids=lambda case: case.name)
def test_a_request_in_front_loads_nothing_of_sqs(case):
    loaded = set(run(IN_FRONT + NAMES, case))

    assert "chalicelib.buffer.dynamodb.table" in loaded
    assert "chalicelib.contract.row_size" not in loaded
    assert not [name for name in loaded if "sqs" in name]


def test_a_write_reads_the_rules_and_not_the_whole_contract():
    told = "\nprint(json.dumps([name for name in opened if 'chalicelib' in name]))"

    opened = {Path(name).name for name in run(OPENED + STARTS["ours"] + told)}

    assert "rules.jsonl" in opened
    assert "contract.json" not in opened


def test_functions_with_a_database_load_no_sdk_and_no_validator():
    functions = ("drain", "reader", "operate")
    loaded = loaded_by("".join(f"import chalicelib.{each}.handler;" for each in functions))

    assert loaded.isdisjoint(
        ("boto3", "botocore", "jsonschema_rs", "msgspec", "alembic", "chalice")
    )
    assert "psycopg2" in loaded


@pytest.mark.parametrize("module", ["settings", "errors", "messages.message", "messages.receipt"])
def test_pure_modules_load_nothing_beside_the_standard_library(module):
    loaded = loaded_by(f"import chalicelib.{module}")

    assert loaded - {"chalicelib", "chalicelib.messages", "__main__", "__mp_main__"} <= {
        *sys.stdlib_module_names,
        *(name for name in loaded if name.startswith("_")),
        "sitecustomize",
        "usercustomize",
    } | loaded_by("pass")

"""docs/api.md: its commands run in their order and answer as it says; its tables are complete."""

import os
import re
import subprocess
import sys
from pathlib import Path

from chalicelib import settings
from chalicelib.api.http import answers, prefer
from chalicelib.api.reads import listing
from chalicelib.api.writes import outcome
from chalicelib.errors import PROBLEMS
from chalicelib.sweep import handler
from decanter.contract.problems import WHEN
from tests.kit.deployment import Deployment
from tests.kit.project import PROJECT

TEXT = (PROJECT / "docs/api.md").read_text()
# A busy machine may take more than the seconds that clients are told to wait.
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT.replace("wait=10", "wait=20"), re.M | re.S)
MARK = "=== end of block ==="


def run(script: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, (script, done.stdout, done.stderr)
    return done.stdout


def test_every_command_answers_as_it_says(deployed: Deployment, tmp_path: Path) -> None:
    commands = [text for language, text in BLOCKS if language == "sh"]
    answers = [
        following[1] if following[0] == "" else ""
        for (language, _), following in zip(BLOCKS, [*BLOCKS[1:], ("end", "")], strict=True)
        if language == "sh"
    ]
    script = "".join(f"{text}\necho; echo '{MARK}'\n" for text in commands)

    told = run(script, tmp_path, API=deployed.api_url, TOKEN=deployed.token()).split(MARK)

    assert len(told) == len(commands) + 1
    assert sum(map(bool, answers)) > 10
    for command, expected, said in zip(commands, answers, told, strict=False):
        assert "urn:decanter:problem" not in said or "problem" in expected, (command, said)
        for line in filter(None, expected.splitlines()):
            assert is_there(line, said), f"{command}\n\nexpected: {line}\n\n{said}"


def is_there(expected: str, said: str) -> bool:
    """Whether a line is as expected; … stands for anything."""
    pattern = ".*".join(re.escape(part.strip()) for part in expected.split("…"))
    lines = [" ".join(line.split()) for line in said.splitlines()]
    return any(re.fullmatch(pattern, line, re.I) for line in lines)


def test_a_client_is_generated_and_used_as_it_says(deployed: Deployment, tmp_path: Path) -> None:
    [console] = [text for language, text in BLOCKS if language == "console"]
    [program] = [text for language, text in BLOCKS if language == "python"]
    (tmp_path / "program.py").write_text(
        f"import os\nAPI, TOKEN = os.environ['API'], os.environ['TOKEN']\n{program}"
    )
    commands = re.sub(r"^\$ ", "", console, flags=re.M) + "python program.py\n"

    said = run(commands, tmp_path, API=deployed.api_url, TOKEN=deployed.token())

    assert said.splitlines()[-1] == "applied []"


def test_every_type_of_problem_is_explained_in_the_words_of_the_contract() -> None:
    told = re.findall(r"^\| `([a-z-]+)` \| (\d+) \| (.+?) \| (.+?) \|$", TEXT, re.M)

    assert {type_: (int(status), when) for type_, status, when, _ in told} == {
        type_: (status, WHEN[type_].removesuffix(".")) for type_, (status, _) in PROBLEMS.items()
    }
    assert len(told) == len(PROBLEMS)


def test_the_limits_are_those_of_the_code() -> None:
    limits = dict(re.findall(r"^\| ([^|`]*(?:`[^`]*`[^|`]*)*) \| (.+?) \|$", TEXT, re.M))

    assert f"{settings.MAX_BODY_BYTES:,} bytes, {settings.MAX_ROWS:,} rows" in limits["body"]
    assert f"{settings.MAX_SHOWN_BYTES:,} bytes where its rows are shown" in limits["body"]
    assert f"{settings.MAX_MESSAGE_BYTES:,} bytes" in limits["row"]
    assert f"{listing.MAX_LIMIT:,} rows" in limits["page of a list"]
    assert limits["wait"] == f"{prefer.MAX_WAIT_SECONDS} s"
    assert limits["rows of `return=representation`"] == str(outcome.MAX_RETURNED)
    assert limits["faults in a problem"] == str(answers.MAX_LISTED)
    days = limits["repeating a request with its `Idempotency-Key`"]
    assert days.startswith(f"{settings.LEDGER_DAYS} days; ")
    assert f"from the {handler._KEYED_DAYS}st on" in days


def test_the_types_of_rejections_are_where_the_link_leads() -> None:
    assert "(operating.md#what-became-of-a-write)" in TEXT
    operating = (PROJECT / "docs/operating.md").read_text()
    section = operating.split("## What became of a write\n")[1].split("\n## ")[0]
    assert "| `precondition-failed` |" in section

"""The documents: their commands run, their links lead somewhere, their tables are complete."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg2

from chalicelib import settings
from decanter.__main__ import parser
from decanter.cloud.local import PROJECT

from .conftest import Deployment


def blocks(document: str, language: str) -> list[str]:
    text = (PROJECT / document).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_packaging_commands_make_a_template(copy_project: Callable[[], Path]) -> None:
    project = copy_project()
    (project / ".venv").symlink_to(PROJECT / ".venv")
    [block] = blocks("docs/deploying.md", "console")
    commands = re.sub(r"\\\n\s*", "", block).splitlines()
    ours = [line.removeprefix("$ ") for line in commands if not line.startswith("$ aws ")]

    done = subprocess.run(
        ["bash", "-ec", "\n".join(ours)],
        cwd=project,
        env={**os.environ, "AWS_DEFAULT_REGION": "eu-central-1"},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    template = json.loads((project / "build/dev/sam.json").read_text())
    assert {"OrderedQueue", "DrainOrdered", "Sweep"} <= set(template["Resources"])
    assert (project / "build/dev/deployment.zip").exists()


def test_the_queries_for_operators_run(deployed: Deployment) -> None:
    [block] = blocks("docs/operating.md", "sql")
    connection = psycopg2.connect(deployed.database_url)
    try:
        for statement in block.strip().split(";\n"):
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
                assert cursor.description
    finally:
        connection.close()


def test_every_type_of_rejection_is_explained() -> None:
    code = (PROJECT / "chalicelib/drain/faults.py").read_text()
    code += (PROJECT / "chalicelib/drain/pour.py").read_text()
    told = set(re.findall(r"^\| `([a-z-]+)` \|", (PROJECT / "docs/operating.md").read_text(), re.M))
    known = {
        *re.findall(r'"([a-z-]+)"', code.split("_TYPES = ")[1].split("\n\n")[0]),
        *re.findall(r'(?:_rejection|whole)\([^"\n]*"([a-z-]+)"', code),
        *re.findall(r'type="([a-z-]+)"', code),
        *re.findall(r'kind = "([a-z-]+)"', code),
    }

    assert known
    assert known <= told, known - told


def test_the_numbers_in_the_documents_are_those_of_the_code() -> None:
    operating = (PROJECT / "docs/operating.md").read_text()

    assert f"accepted more than {settings.LEDGER_DAYS} days ago" in operating
    assert f"within {settings.MISSING_PARENT_RECEIVES} deliveries" in operating


def test_every_command_of_ours_in_the_documents_is_one() -> None:
    documents = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    targets = set(re.findall(r"^([a-z0-9]+):", (PROJECT / "Makefile").read_text(), re.M))
    targets |= {"unit", "integration", "e2e"}
    found = 0

    for document in documents:
        text = document.read_text()
        for command in re.findall(r"^\$ .*?python -m decanter ([^>\n]+)", text, re.M):
            parser().parse_args(command.split())
            found += 1
        for target in re.findall(r"`make ([a-z]+)|^\$ make ([a-z]+)", text, re.M):
            assert "".join(target) in targets
            found += 1

    assert found


def test_links_between_documents_lead_somewhere() -> None:
    documents = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *(PROJECT / "docs").glob("*.md")]

    for document in documents:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"

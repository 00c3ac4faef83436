"""The documents: their commands run, their links lead somewhere, their tables are complete."""

import re
import shlex
from pathlib import Path

from benchmarks.__main__ import parser as parser_of_benchmarks
from chalicelib import settings
from decanter.__main__ import parser
from tests.kit.project import HOME, PROJECT

DOCUMENTS = [*HOME.glob("*.md"), *(HOME / "docs").rglob("*.md")]


def test_every_type_of_rejection_is_explained() -> None:
    code = (PROJECT / "chalicelib/drain/reject.py").read_text()
    code += (PROJECT / "chalicelib/drain/pour_isolating.py").read_text()
    code += (PROJECT / "chalicelib/drain/retry_waiting.py").read_text()
    told = set(re.findall(r"^\| `([a-z-]+)` \|", (PROJECT / "docs/operating.md").read_text(), re.M))
    known = {
        *re.findall(r': "([a-z-]+)"', code.split("_TYPES: ")[1].split("\n\n")[0]),
        *re.findall(r'(?:_rejection|_of_row|whole)\([^"\n]*"([a-z-]+)"', code),
        *re.findall(r'type="([a-z-]+)"', code),
        *re.findall(r'kind = "([a-z-]+)"', code),
    }

    assert known
    assert known <= told, known - told


def test_the_numbers_in_the_documents_are_those_of_the_code() -> None:
    operating = (PROJECT / "docs/operating.md").read_text()

    assert f"accepted more than {settings.LEDGER_DAYS} days ago" in operating
    assert f"after {settings.parent_patience_seconds({}):.0f} s, and as much longer" in operating
    assert {1: "once", 2: "twice", 3: "three times"}[settings.SLOW_TRIES] in operating


def test_every_command_of_ours_in_the_documents_is_one() -> None:
    rules = re.findall(r"^([a-z0-9 -]+):(?!=)", (PROJECT / "Makefile").read_text(), re.M)
    targets = {target for rule in rules for target in rule.split()}
    ours, of_benchmarks = parser(), parser_of_benchmarks()
    found = 0

    for document in DOCUMENTS:
        text = document.read_text()
        for command in re.findall(r"^\$ .*?python -m decanter ([^>\n]+)", text, re.M):
            ours.parse_args(shlex.split(command))
            found += 1
        for command in re.findall(r"python -m benchmarks ([\w -]+)", text):
            of_benchmarks.parse_args(command.split())
            found += 1
        for target in re.findall(r"`make ([a-z0-9-]+)|^\$ make ([a-z0-9-]+)", text, re.M):
            assert "".join(target) in targets
            found += 1

    assert found


def test_links_between_documents_lead_somewhere() -> None:
    assert len(DOCUMENTS) > 20
    for document in DOCUMENTS:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", document.read_text()):
            if "://" in target:
                continue
            file = document.parent / target if target else document
            assert file.exists(), f"{document.name}: {target}"
            assert not anchor or anchor in anchors(file), f"{document.name}: {target}#{anchor}"


def test_files_that_contributors_are_sent_to_exist() -> None:
    text = (HOME / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:app|chalicelib|decanter|tests|docs|\.chalice)[/.][\w/.-]*)`", text)

    assert len(paths) > 30
    assert [path for path in paths if not (HOME / path).exists()] == []


def anchors(document: Path) -> set[str]:
    """What GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_the_code_map_names_every_room_and_every_path_in_it_exists() -> None:
    code_map = (HOME / "docs/architecture.md").read_text().split("## Code map\n")[1]
    paragraphs = re.findall(r"^\*\*`([^`]+)`\*\*(.*?)\n\n", code_map + "\n", re.M | re.S)
    rooms = {
        f"{folder.relative_to(HOME)}/"
        for package in ("chalicelib", "decanter")
        for folder in (HOME / package).iterdir()
        if any(folder.rglob("*.py"))
    }

    assert {room for room, _ in paragraphs} == rooms | {
        "app.py",
        "chalicelib/",
        "benchmarks/",
        "tests/",
    }
    for room, text in paragraphs:
        for path in [room, *re.findall(r"`([\w/.-]+(?:/|\.\w+))`", text)]:
            assert (HOME / path).exists() or (HOME / room / path).exists(), f"{room}: {path}"

"""docs/operating.md is a runbook: each of its commands is run in the situation that it is for, on
the deployed stack, for people and as JSON."""

import json
import re
from pathlib import Path

import pytest

from decanter.commands.ops import CALLS
from tests.kit.databases import execute
from tests.kit.deployed_operator import Operator
from tests.kit.operator_commands import Type
from tests.kit.project import PROJECT
from tests.kit.situations import SITUATIONS, Values

TEXT = (PROJECT / "docs/operating.md").read_text()
RUNBOOK, REFERENCE = TEXT.split("\n## Reference\n")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", RUNBOOK, re.M | re.S))
COMMAND = re.compile(r"^\$ python -m decanter (.+)$", re.M)

ELSEWHERE = re.findall(
    r"^\$ \.venv/bin/python -m decanter ([\w -]+)$",
    (PROJECT / "docs/deploying.md").read_text(),
    re.M,
)
"""Commands that tests/e2e/deployment/test_deploying_docs.py runs."""

SHOWS = {
    "overview": "connections, of a budget of",
    "lanes": "writes that wait in the database",
    "causes": "sqlstate",
    "rejections": "ck_stations_latitude",
    "show": "stations",
    "find": "stations",
    "try": "applied",
    "export": "",
    "acts": "kind",
    "act": "discard",
    "dead-letters": "ordered: ",
    "audit": "2 accepted writes are missing",
    "budget": "It fits.",
    **dict.fromkeys(("resend", "discard", "redrive", "pause", "resume"), "is done"),
    "stop": "is stopped",
}
"""What commands print, by their names."""

LOOKS = {"overview", "lanes", "causes", "rejections", "show", "find", "try", "acts", "dead-letters"}
"""Commands that may be repeated as JSON."""


def filled_in(command: str, values: Values) -> str:
    """The command with what its words in capitals stand for."""
    for name, value in values.items():
        if re.search(rf"\b{name}\b", command):
            command = re.sub(rf"\b{name}\b", value if isinstance(value, str) else value(), command)
    return command


@pytest.mark.parametrize("section", SITUATIONS)
def test_every_command_does_what_its_section_needs(
    section: str,
    operator: Operator,
    type_: Type,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # where an export goes
    commands = [each for each in COMMAND.findall(SECTIONS[section]) if each not in ELSEWHERE]
    assert commands
    with SITUATIONS[section](operator) as values:
        for written in commands:
            command = filled_in(written, values)
            name = command.removeprefix("ops ").split()[0]
            said = type_(command)
            assert said.code == (name == "audit"), (command, said)
            assert SHOWS[name] in said.out, (command, said)
            if name in LOOKS:
                assert isinstance(json.loads(type_(f"{command} --json").out), dict), command
        for statement in re.findall(r"```sql\n(.*?)```", SECTIONS[section], re.S):
            execute(operator.deployed.database_url, statement)


def test_every_symptom_leads_to_a_section_and_every_command_is_in_one() -> None:
    symptoms = SECTIONS["Symptoms"]
    titles = [each for each in SECTIONS if each not in ("Symptoms", "Alarms")]

    assert re.findall(r"\| \[(.+?)\]\(#[\w-]+\) \|", symptoms) == [*titles, "Alarms"]
    assert {*SITUATIONS} == {*titles}
    typed = {words[1] for each in COMMAND.findall(RUNBOOK) if (words := each.split())[0] == "ops"}
    assert typed == {*CALLS}
    assert not re.search(r"^\$ python -m decanter ops", REFERENCE, re.M)

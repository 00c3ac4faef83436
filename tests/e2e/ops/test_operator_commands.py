"""Commands of operators on the deployed stack, as a stranger types them: acts that print JSON, and
mistakes, of which each is told clearly, and after which nothing was done, or nothing twice."""

import json
from pathlib import Path

import pytest

from decanter.operating import client
from tests.kit.deployed_operator import Operator, kill, put, settled
from tests.kit.operator_commands import Type

UNKNOWN = "01900000-0000-7000-8000-000000000000"
ROW = """--row '{"icao": "LSZQ", "latitude": 47.46}'"""


@pytest.fixture(name="rejection")
def fixture_rejection(operator: Operator) -> str:
    """The id of a rejection that can be put right."""
    settled(operator.deployed, put(operator.deployed, "LSZQ"))
    [id_] = operator.rejected("PATCH", "/stations/LSZQ", {"latitude": 91})[1]
    return id_


def test_acts_print_what_became_of_them_as_json(
    operator: Operator, rejection: str, type_: Type
) -> None:
    def act(command: str) -> tuple[str, int]:
        said = type_(f"ops {command} --json")
        assert said.code == 0, said
        found = json.loads(said.out)
        return found["state"], found["done"]

    [other] = operator.rejected("PATCH", "/stations/LSZQ", {"latitude": 91})[1]
    assert act("pause ordered") == ("done", 0)
    late = put(operator.deployed, "LSZD")
    kill(operator.deployed, 1)
    assert act("resume ordered") == ("done", 0)
    assert act("redrive ordered") == ("done", 1)
    assert act(f"resend {rejection} {ROW}") == ("done", 1)
    begun = operator.begin(kind="discard", ids=[other])
    assert act(f"stop {begun}") == ("stopped", 0)
    assert act(f"discard {other}") == ("done", 1)
    assert settled(operator.deployed, late) == "applied"


MISTAKES = [
    ("overview --token wrong", "401 Missing or invalid credentials: send a valid token"),
    ("overview --url http://127.0.0.1:1", "http://127.0.0.1:1 does not answer"),
    ("overview --url http://api.test", "is not https"),
    ("overview --stage nowhere", "There is no stage 'nowhere' in .chalice/config.json"),
    ("rejections --key '{}'", "?resource: a key needs its resource"),
    ("rejections --resource stations --key '{\"icao\": 1}'", "?key: icao: it must be text, not 1"),
    ("rejections --receipt x", "?receipt: it must be a receipt"),
    ("find --receipt x", "?receipt: it must be a receipt"),
    ("audit --hour yesterday", "?hour: it must be the beginning of an hour"),
    ("show x", "nothing is known of x"),
    (f"show {UNKNOWN}.0", "there is no rejection"),
    (f"show {UNKNOWN}", "nothing is known of"),
    ("act x", "there is no act 'x'"),
    (f"act {UNKNOWN} --continue", "there is no act"),
    (f"stop {UNKNOWN}", "there is no act"),
    ("try x", "/writes/0/id: it must be the id of a rejection"),
    (f"try {UNKNOWN}.0", "there is no rejection"),
    (f"resend {UNKNOWN}.0", "there is no rejection"),
    ("resend --type nonsense", "No rejection matches"),
    ("discard --resource nonsense", "No rejection matches"),
    ("redrive unordered", "the unordered buffer has no dead letters"),
    ("redrive ordered --per-second 501", "/per_second: it must be how many messages"),
    ("resume ordered", "the ordered buffer is not paused: its mapping is Enabled"),
    ("export nowhere/file.csv", "No such file or directory"),
]
"""Commands, and what is said of them."""

MISTYPED = ["pause everything", "rejections --nonsense x", "rejections --since yesterday", "resend"]
"""Commands that never reach the API."""


def test_mistakes_are_told_clearly_and_begin_nothing(
    operator: Operator, type_: Type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    monkeypatch.chdir(tmp_path)
    before = operator.get("/ops/acts")["acts"]

    for command, part in MISTAKES:
        said = type_(f"ops {command}")
        assert (said.code, said.out) == (1, ""), (command, said)
        assert said.err.count(part) == 1, (command, said.err)
    for command in MISTYPED:
        assert type_(f"ops {command}").code == 2, command
    assert type_("ops rejections --resource nonsense").out == "No rejections match.\n"

    assert operator.get("/ops/acts")["acts"] == before
    assert {operator.state(each) for each in ("ordered", "unordered")} == {"Enabled"}


def test_nothing_is_done_twice(operator: Operator, rejection: str, type_: Type) -> None:
    before = len(operator.get("/ops/acts?limit=1000")["acts"])
    edited = type_(f"""ops resend {rejection} --row '{{"icao": "LSZQ", "latitude": "x"}}'""")
    assert edited.code == 1
    assert edited.err.count('/latitude: it must be a number, not "x"') == 1

    assert type_(f"ops resend {rejection} {ROW}").code == 0
    again = type_(f"ops resend {rejection} {ROW}")
    assert (again.code, "corrected before" in again.err) == (1, True)
    assert "corrected before" in type_(f"ops discard {rejection}").err
    assert type_("ops pause ordered").code == 0
    assert "is paused already" in type_("ops pause ordered").err
    assert type_("ops resume ordered").code == 0

    acts = operator.get("/ops/acts?limit=1000")["acts"]
    assert [each["kind"] for each in acts[: len(acts) - before]] == ["resume", "pause", "resend"]


def test_a_token_without_the_scope_changes_nothing(
    operator: Operator, type_: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scopes, command, missing in (
        ("ops:read", "pause ordered", "ops:write"),
        ("*:read *:write", "overview", "ops:read"),
    ):
        monkeypatch.setenv("DECANTER_TOKEN", operator.deployed.token(scopes))
        said = type_(f"ops {command}")
        assert (said.code, said.out) == (1, "")
        assert f"the token needs the scope {missing}" in said.err
    assert operator.state("ordered") == "Enabled"


def test_a_stage_and_the_local_cloud_are_found_without_an_address(
    operator: Operator, type_: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DECANTER_URL")
    assert type_("ops overview --stage dev").code == 0
    monkeypatch.delenv("DECANTER_TOKEN")
    assert type_(f"ops overview --data-dir {operator.deployed.cloud.home}").code == 0

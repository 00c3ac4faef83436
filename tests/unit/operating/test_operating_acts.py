"""Commands of operators that try and change."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from decanter.__main__ import main
from decanter.operating import client
from tests.kit.ops_server import Asked, OpsServer, Reply, problem

ID = "01900000-0000-7000-8000-000000000000.3"
ACT = "0f0f0f0f-0000-4000-8000-000000000000"
CAUSES = [
    {"resource": "stations", "type": "conflict", "constraint": "pk", "column": None,
     "sqlstate": "23505", "writes": 2500, "open": 2000, "first_at": "then", "last_at": "now",
     "example": "is there"},
    {"resource": "stations", "type": "check", "constraint": "c", "column": None,
     "sqlstate": "23514", "writes": 500, "open": 500, "first_at": "then", "last_at": "now",
     "example": "is wrong"},
]  # fmt: skip


def act(kind: str = "resend", **changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"id": ACT, "kind": kind, "who": "dev", "note": "", "target": {}}
    numbers = {"writes": 2500, "done": 0, "failed": 0}
    return {**usual, **numbers, "state": "begun", "begun_at": "a", "last_at": "b", **changes}


def serve_act(server: OpsServer, *steps: dict[str, Any], **changes: Any) -> None:
    """Serve an act that goes through these steps."""
    server.on("POST acts", Reply(act(**changes), 201))
    server.on(f"POST acts/{ACT}/steps", *(act(**{**changes, **each}) for each in steps))


DONE = {"state": "done", "done": 2500}


def begun(server: OpsServer) -> dict[str, Any]:
    """What the act was begun with."""
    [found] = [each.body for each in server.asked if each.path == "acts"]
    return dict(found)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`typed(text)`: a person types that when asked."""

    def type_(text: str, is_terminal: bool = True) -> None:
        answers = io.StringIO(text)
        answers.isatty = lambda: is_terminal  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", answers)

    return type_


def test_a_resend_by_filter_shows_the_number_asks_and_goes_on_to_the_end(
    server: OpsServer, capsys: pytest.CaptureFixture[str], typed: Any
) -> None:
    server.on("GET rejections/causes", {"causes": CAUSES})
    serve_act(server, {"state": "running", "done": 1000}, {"state": "running", "done": 2000}, DONE)
    typed("y\n")

    assert main(["ops", "resend", "--resource", "stations", "--note", "fixed"]) == 0

    shown = capsys.readouterr()
    assert "Resend 2,500 writes? [y/N]" in shown.err
    assert "2,500 2,000" in " ".join(shown.out.split())
    assert f"resend {ACT} is done: 2,500 of 2,500 writes." in shown.out
    assert begun(server) == {"kind": "resend", "filter": {"resource": "stations"},
                             "expect": 2500, "note": "fixed"}  # fmt: skip
    assert server.calls() == ["GET rejections/causes", "POST acts",
                              *[f"POST acts/{ACT}/steps"] * 3]  # fmt: skip
    assert server.asked[0].query == {"resource": "stations"}


@pytest.mark.parametrize("text", ["n\n", "\n", ""])
def test_whoever_does_not_agree_begins_nothing(
    server: OpsServer, capsys: pytest.CaptureFixture[str], typed: Any, text: str
) -> None:
    server.on("GET rejections/causes", {"causes": CAUSES})
    typed(text)

    assert main(["ops", "discard", "--type", "check"]) == 1
    assert server.calls() == ["GET rejections/causes"]
    assert "Nothing was done" in capsys.readouterr().err


def test_where_nobody_can_be_asked_yes_is_needed(
    server: OpsServer, capsys: pytest.CaptureFixture[str], typed: Any
) -> None:
    server.on("GET rejections/causes", {"causes": CAUSES})
    serve_act(server, DONE, kind="discard")
    typed("y\n", is_terminal=False)

    assert main(["ops", "discard", "--all"]) == 1
    assert "--yes" in capsys.readouterr().err
    assert server.calls() == ["GET rejections/causes"]
    assert main(["ops", "discard", "--all", "--yes"]) == 0
    assert begun(server)["filter"] == {}


def test_a_key_in_a_filter_is_an_object_with_all_its_digits(server: OpsServer) -> None:
    server.on("GET rejections/causes", {"causes": CAUSES})
    serve_act(server, DONE)
    key = '{"id":12345678901234567890}'

    assert main(["ops", "resend", "--resource", "a", "--key", key, "--yes"]) == 0

    assert begun(server)["filter"] == {"resource": "a", "key": json.loads(key)}
    assert server.asked[0].query["key"] == key


def test_nothing_that_matches_is_reported(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET rejections/causes", {"causes": []})

    assert main(["ops", "resend", "--all", "--yes"]) == 1
    assert "No rejection matches" in capsys.readouterr().err


def test_a_number_that_has_changed_meanwhile_is_reported(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET rejections/causes", {"causes": CAUSES})
    server.on("POST acts", problem(409, "conflict", "2,501 match now, not 2,500"))

    assert main(["ops", "resend", "--all", "--yes"]) == 1
    assert "2,501 match now" in capsys.readouterr().err


def test_rejections_by_id_are_resent_without_a_question(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_act(server, {"state": "done", "done": 1}, writes=1)

    assert main(["ops", "resend", ID, "--row", '{"a":1.10}']) == 0

    assert server.asked[0].body == {"kind": "resend", "ids": [ID], "rows": {ID: {"a": 1.1}},
                                    "note": ""}  # fmt: skip
    assert server.asked[0].headers["idempotency-key"]


@pytest.mark.parametrize(
    "given",
    [
        ["resend"],
        ["discard"],
        ["resend", ID, "--type", "check"],
        ["discard", ID, "--all"],
        ["resend", ID, f"{ID}4", "--row", "{}"],
        ["resend", "--all", "--row", "{}"],
        ["redrive", "stream"],
        ["redrive", "ordered", "--per-second", "0"],
        ["pause", "everything"],
        ["try"],
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_asked(
    server: OpsServer, given: list[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["ops", *given])
    assert not server.asked


def test_writes_that_failed_make_an_act_that_did_not_succeed(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_act(server, {"state": "done", "done": 1, "failed": 2}, writes=3)

    assert main(["ops", "resend", ID]) == 1
    shown = capsys.readouterr()
    assert "1 of 3 writes, 2 could not be." in shown.out
    assert f"ops act {ACT}" in shown.err  # which says why


def test_ctrl_c_stops_the_steps_and_says_how_to_go_on(
    server: OpsServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_act(server, {"state": "running", "done": 1})
    post = client.Client.post

    def interrupted(self: client.Client, path: str, *given: Any) -> Any:
        if path.endswith("steps") and len(server.asked) == 2:
            raise KeyboardInterrupt
        return post(self, path, *given)

    monkeypatch.setattr(client.Client, "post", interrupted)

    assert main(["ops", "resend", ID]) == 130
    error = capsys.readouterr().err
    assert f"python -m decanter ops act {ACT} --continue" in error
    assert f"python -m decanter ops stop {ACT}" in error
    assert len(server.asked) == 2


def test_a_step_that_is_not_answered_is_asked_again_and_then_left_to_go_on_with(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = problem(503, "reader-busy", "the database does not answer")
    serve_act(server)
    server.on(f"POST acts/{ACT}/steps", busy, Reply(act(**DONE)))
    assert main(["ops", "resend", ID]) == 0

    server.on(f"POST acts/{ACT}/steps", busy)
    assert main(["ops", "resend", ID]) == 1
    assert f"ops act {ACT} --continue" in capsys.readouterr().err


def test_an_act_is_shown_gone_on_with_and_stopped(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    step = {"step": 0, "at": "then", "who": "dev", "done": 7, "failed": 0, "state": "running",
            "detail": {"a": 1}}  # fmt: skip
    server.on(f"GET acts/{ACT}", {**act(state="running", done=7), "steps": [step]})
    server.on(f"POST acts/{ACT}/steps", act(**DONE))
    server.on(f"POST acts/{ACT}/stop", act(state="stopped", done=7))

    assert main(["ops", "act", ACT]) == 0
    assert '0 then dev 7 0 running {"a":1}' in " ".join(capsys.readouterr().out.split())
    assert main(["ops", "act", ACT, "--continue"]) == 0
    assert server.calls()[-1] == f"POST acts/{ACT}/steps"
    assert main(["ops", "stop", ACT]) == 0
    assert "is stopped: 7 of 2,500 writes." in capsys.readouterr().out


def test_an_act_that_somebody_has_stopped_did_not_succeed(server: OpsServer) -> None:
    serve_act(server, {"state": "stopped", "done": 7})

    assert main(["ops", "resend", ID]) == 1


@pytest.mark.parametrize(
    ("given", "body"),
    [
        (["redrive", "ordered"], {"kind": "redrive", "buffer": "ordered", "per_second": 50}),
        (["redrive", "unordered", "--per-second", "7"],
         {"kind": "redrive", "buffer": "unordered", "per_second": 7}),
        (["pause", "stream"], {"kind": "pause", "buffer": "stream"}),
        (["resume", "ordered"], {"kind": "resume", "buffer": "ordered"}),
    ],
)  # fmt: skip
def test_buffers_are_redriven_paused_and_resumed(
    server: OpsServer, capsys: pytest.CaptureFixture[str], given: list[str], body: dict[str, Any]
) -> None:
    done = {"state": "done", "done": 1200 if given[0] == "redrive" else 0}
    serve_act(server, {"state": "running"}, done, kind=given[0], writes=None)

    assert main(["ops", *given, "--note", "why"]) == 0
    assert begun(server) == {**body, "note": "why"}
    moved = ": 1,200 messages" if given[0] == "redrive" else ""
    assert f"{given[0]} {ACT} is done{moved}." in capsys.readouterr().out


def test_a_try_says_what_would_become_of_each_write(
    server: OpsServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    outcome = {"id": ID, "outcome": "applied", "type": None, "reason": None,
               "changed_since": True, "changed_at": "then"}  # fmt: skip
    refused = {**outcome, "outcome": "rejected", "type": "check", "reason": "is wrong"}
    server.on("POST try", {"outcomes": [outcome]}, {"outcomes": [outcome, refused]})
    (tmp_path / "row.json").write_text('{"icao": "LSZH"}')

    assert main(["ops", "try", ID, "--row", f"@{tmp_path}/row.json"]) == 0
    assert server.asked[0].body == {"writes": [{"id": ID, "row": {"icao": "LSZH"}}]}
    assert f"{ID} applied – – yes then" in " ".join(capsys.readouterr().out.split())
    assert main(["ops", "try", ID, f"{ID}4"]) == 1
    assert "rejected check is wrong" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("row", ["{", "[1]", "@/nowhere/row.json"])
def test_a_row_that_cannot_be_read_is_reported(
    server: OpsServer, capsys: pytest.CaptureFixture[str], row: str
) -> None:
    assert main(["ops", "try", ID, "--row", row]) == 1
    assert not server.asked
    assert "Traceback" not in capsys.readouterr().err


def test_an_act_as_json_is_the_last_state_of_it(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET rejections/causes", {"causes": CAUSES})
    serve_act(server, {"state": "running", "done": 1}, DONE)

    assert main(["ops", "resend", "--all", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == act(**DONE)


def test_an_act_is_begun_once_however_often_it_is_asked_for(server: OpsServer) -> None:
    busy = problem(503, "reader-busy", "wait")
    server.on("POST acts", busy, Reply(act(), 201))
    server.on(f"POST acts/{ACT}/steps", act(**DONE))

    assert main(["ops", "resend", ID]) == 0
    first, second = (each.headers["idempotency-key"] for each in server.asked[:2])
    assert first == second


def test_what_was_asked_is_shown_to_nobody_else(server: OpsServer) -> None:
    seen: list[Asked] = []

    def answer(asked: Asked) -> Reply:
        seen.append(asked)
        return Reply({"outcomes": []})

    server.on("POST try", answer)
    main(["ops", "try", ID])

    assert "secret-token" not in json.dumps([seen[0].query, seen[0].body, seen[0].path])

"""Commands of operators that look."""

import json
from typing import Any

import pytest

from decanter.__main__ import main
from tests.kit.ops_server import Asked, OpsServer, Reply, problem

ESTIMATE = {"seconds": 20.0, "at": "2026-01-31T12:00:00.000+00:00", "writes_ahead": 200,
            "writes_per_second": 10.0, "basis": "so it is"}  # fmt: skip
OVERVIEW: dict[str, Any] = {
    "at": "2026-01-31T12:00:00.000+00:00",
    "resources": [
        {"name": "stations", "front": "sqs", "ordered": True, "writes_per_minute": 1234,
         "lag": {"p50": 0.25, "p95": 1.5, "p99": 130.0}, "rejected_last_hour": 7, "waiting": 2},
    ],
    "buffers": [
        {"name": "ordered", "queued": 15, "in_flight": 5, "oldest_seconds": None,
         "dead_letters": 3, "mapping": {"state": "Disabled", "paused": True}, "connections": None,
         "estimate": ESTIMATE},
        {"name": "unordered", "queued": 0, "in_flight": 0, "oldest_seconds": None,
         "dead_letters": None, "mapping": None, "connections": None,
         "estimate": {**ESTIMATE, "seconds": None}},
    ],
    "waiting": [{"reason": "parent", "writes": 2, "since": "2026-01-31T11:59:00.000+00:00"}],
    "connections": [{"role": "drain", "in_use": 4, "most": 7},
                    {"role": "reader", "in_use": None, "most": None}],
    "budget": 11,
    "rejections": [{"resource": "stations", "type": "conflict", "constraint": "pk", "writes": 7}],
    "history": {},
    "estimate_score": {"scored": 12, "median_error_seconds": 0.7, "within_factor_2": 0.75,
                       "basis": "so it is"},
    "unknown": [{"what": "buffers.ordered.oldest_seconds", "why": "CloudWatch is late"}],
}  # fmt: skip
REJECTION = {
    "id": "01900000-0000-7000-8000-000000000000.3",
    "dedup_id": "01900000-0000-7000-8000-000000000000",
    "item": 3, "resource": "stations", "op": "create", "type": "conflict", "reason": "is there",
    "sqlstate": "23505", "constraint": "pk", "column": None, "row": {"icao": "LSZH"},
    "body": None, "caller": "ada", "rejected_at": "2026-01-31T12:00:00.000+00:00",
    "correction": None,
}  # fmt: skip


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command prints, with single blanks."""
    assert main(["ops", *arguments]) == code
    return " ".join(capsys.readouterr().out.split())


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["ops", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_overview_shows_what_is_known_and_marks_what_is_not(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET overview", OVERVIEW)

    text = told(capsys, "overview")

    assert "ordered 15 5 3 ? paused 20 s" in text
    assert "unordered 0 0 ? – ? ?" in text
    assert "stations 1,234 0.25 s 1.50 s 2.2 min 7 2" in text
    assert "connections, of a budget of 11" in text
    assert "drain 4 7 reader ? ?" in text
    assert "12 scored, half of them within 0.70 s, 75% within a factor of 2" in text
    assert "not known: buffers.ordered.oldest_seconds: CloudWatch is late" in text
    assert server.asked[0].headers["authorization"] == "Bearer secret-token"
    assert as_json(capsys, "overview") == OVERVIEW


def test_an_empty_buffer_is_poured_now(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = {**OVERVIEW["buffers"][1], "estimate": {**ESTIMATE, "seconds": 0.0}}
    server.on("GET overview", {**OVERVIEW, "buffers": [empty]})

    assert "unordered 0 0 ? – ? now" in told(capsys, "overview")


def test_an_overview_without_a_database_shows_the_queues(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = dict.fromkeys(("resources", "waiting", "rejections", "history", "estimate_score"))
    server.on("GET overview", {**OVERVIEW, **nothing})

    assert "ordered 15 5 3" in told(capsys, "overview")


def test_lanes_show_what_blocks_them(server: OpsServer, capsys: pytest.CaptureFixture[str]) -> None:
    blocking = {"id": "m1", "resource": "pets", "reason": "parent", "since": "then"}
    found = {"lanes": [{"lane": 3, "waiting": 2, "blocking": blocking},
                       {"lane": 4, "waiting": 1, "blocking": None}], "basis": "so far"}  # fmt: skip
    server.on("GET lanes", found)

    assert "3 2 m1 pets parent then 4 1 – – – – so far" in told(capsys, "lanes")
    assert as_json(capsys, "lanes") == found


def pages(of: int, name: str, entry: Any) -> Any:
    """Answers as a list of so many entries."""

    def answer(asked: Asked) -> Reply:
        start = int(asked.query.get("cursor", "0"))
        end = min(of, start + int(asked.query["limit"]))
        found = [{**entry, "id": f"{number}"} for number in range(start, end)]
        return Reply({name: found, "next": None if end == of else str(end)})

    return answer


def test_a_list_is_whole_as_json_and_short_for_people(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET rejections", pages(2_500, "rejections", REJECTION))

    found = as_json(capsys, "rejections", "--resource", "stations")["rejections"]
    assert [each["id"] for each in found] == [str(number) for number in range(2_500)]
    assert [each.query.get("cursor") for each in server.asked] == [None, "1000", "2000"]
    assert {each.query["resource"] for each in server.asked} == {"stations"}

    text = told(capsys, "rejections")
    assert "99 stations create conflict pk is there" in text
    assert "100 stations" not in text
    assert "The first 100; --limit N shows more" in text
    assert len(as_json(capsys, "rejections", "--limit", "1200")["rejections"]) == 1_200


def test_digits_and_what_a_row_holds_are_kept_as_json(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    row = '{"a":1.0000000000000000000000000001,"b":123456789012345678901234567890}'
    server.on("GET rejections", Reply(f'{{"rejections":[{{"row":{row}}}],"next":null}}'))

    assert main(["ops", "rejections", "--json"]) == 0
    assert row in capsys.readouterr().out


def test_a_list_in_which_nothing_is_says_so(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET rejections", {"rejections": [], "next": None})

    assert told(capsys, "rejections", "--resource", "nonsense") == "No rejections match."
    assert as_json(capsys, "rejections") == {"rejections": []}


def test_a_hostile_row_does_nothing_to_the_terminal(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "\x1b[2J\x1b]0;title\x07[bold red]no[/] \u202egnihton\r\n"
    server.on("GET rejections", pages(1, "rejections", {**REJECTION, "reason": reason}))
    server.on(f"GET rejections/{REJECTION['id']}", {**REJECTION, "row": {"a": reason}})

    text = told(capsys, "rejections")
    assert r"\x1b[2J\x1b]0;title\x07[bold red]no[/] \u202egnihton\r\n" in text
    shown = told(capsys, "show", REJECTION["id"])
    assert not {"\x1b", "\x07", "\u202e", "\r"} & {*text, *shown}


def test_all_filters_are_sent(server: OpsServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.on("GET rejections/causes", {"causes": []})
    given = {"resource": "stations", "type": "check", "constraint": "c", "column": "d",
             "sqlstate": "23514", "caller": "ada", "receipt": "r",
             "since": "2026-01-31T13:00:00+01:00", "until": "2026-02-01T00:00:00Z",
             "key": '{"icao": "LSZH"}', "state": "all"}  # fmt: skip

    as_json(capsys, "causes", *(part for n, text in given.items() for part in (f"--{n}", text)))

    assert server.asked[0].query == {
        **given, "since": "2026-01-31T12:00:00.000Z", "until": "2026-02-01T00:00:00.000Z",
        "key": '{"icao":"LSZH"}',
    }  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        ["--since", "yesterday"],
        ["--key", "LSZH"],
        ["--key", "[1]"],
        ["--state", "lost"],
        ["--limit", "0"],
        ["--url", "http://localhost", "--stage", "dev"],
        ["--colour", "red"],
    ],
)
def test_options_that_cannot_be_are_refused_with_their_name(
    server: OpsServer, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["ops", "rejections", *given])
    assert given[-2] in capsys.readouterr().err
    assert not server.asked


def test_causes_are_shown(server: OpsServer, capsys: pytest.CaptureFixture[str]) -> None:
    cause = {"resource": "stations", "type": "conflict", "constraint": None, "column": None,
             "sqlstate": "23505", "writes": 3000, "open": 2000, "first_at": "then",
             "last_at": "now", "example": "is there"}  # fmt: skip
    server.on("GET rejections/causes", {"causes": [cause]})

    assert "stations conflict – – 23505 3,000 2,000 then now is there" in told(capsys, "causes")


def test_an_id_shows_a_rejection_and_any_other_the_life_of_a_write(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    event = {"at": "then", "what": "resent", "item": 3, "detail": "by ada", "act": "a1"}
    event["other"] = "m2"
    life = {"id": "m1", "resource": "stations", "events": [event],
            "unknown": [{"what": "events", "why": "it is old"}]}  # fmt: skip
    server.on(f"GET rejections/{REJECTION['id']}", REJECTION)
    server.on("GET writes/m1%2F", life)

    assert 'row {"icao":"LSZH"}' in told(capsys, "show", REJECTION["id"])
    text = told(capsys, "show", "m1/")
    assert "stations m1" in text
    assert "then resent 3 by ada a1 m2" in text
    assert "not known: events: it is old" in text


def test_writes_are_found_by_their_key(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write = {"resource": "stations", "writes": 10, "accepted_at": "then", "poured_at": "now",
             "rejected": 2, "waiting": 0}  # fmt: skip
    server.on("GET writes", pages(1, "writes", write))

    text = told(capsys, "find", "--resource", "stations", "--key", '{"icao":"LSZH"}')

    assert "0 stations 10 2 0 then now" in text
    with pytest.raises(SystemExit, match="2"):
        main(["ops", "find"])


def test_acts_are_listed(server: OpsServer, capsys: pytest.CaptureFixture[str]) -> None:
    act = {"kind": "resend", "state": "done", "done": 7, "failed": 0, "writes": 7, "who": "ada",
           "begun_at": "then", "note": "so"}  # fmt: skip
    server.on("GET acts", pages(1, "acts", act))

    assert "0 resend done 7 0 7 ada then so" in told(capsys, "acts", "--kind", "resend")
    assert server.asked[0].query == {"kind": "resend", "limit": "100"}


def test_dead_letters_of_both_queues_are_shown(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    message = {"message_id": "x", "id": "m1", "resource": "stations", "op": "create", "writes": 2,
               "accepted_at": "then", "sent_at": "then", "receives": 1000, "poured": False,
               "newer": None, "reason": None}  # fmt: skip

    def answer(asked: Asked) -> Reply:
        is_ordered = asked.query["buffer"] == "ordered"
        return Reply({"buffer": asked.query["buffer"], "count": 1 if is_ordered else None,
                      "messages": [message] if is_ordered else [], "unknown": []})  # fmt: skip

    server.on("GET dead-letters", answer)

    text = told(capsys, "dead-letters")
    assert "ordered: 1 dead letters" in text
    assert "m1 stations create 2 then 1,000 no ? ?" in text
    assert "unordered: ? dead letters" in text
    assert len(as_json(capsys, "dead-letters", "--buffer", "unordered")["dead_letters"]) == 1


def hour(missing: int = 0, **more: Any) -> dict[str, Any]:
    resource = {"resource": "stations", "accepted": 10, "applied": 8, "rejected": 1,
                "waiting": 1 - missing, "missing": missing}  # fmt: skip
    lost = {"id": "m1", "resource": "stations", "writes": missing, "accepted_at": "then"}
    return {"hour": "2026-01-31T12:00:00Z", "resources": [resource],
            "missing": [lost] if missing else [], "is_complete": True, "next": None,
            "unknown": [], **more}  # fmt: skip


def test_an_audit_adds_up_its_parts(server: OpsServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.on("GET audit", hour(next="c1", is_complete=False), hour())

    found = as_json(capsys, "audit", "--hour", "2026-01-31T12:00:00Z")

    assert found["resources"] == [{"resource": "stations", "accepted": 20, "applied": 16,
                                   "rejected": 2, "waiting": 2, "missing": 0}]  # fmt: skip
    assert [each.query.get("cursor") for each in server.asked] == [None, "c1"]
    server.on("GET audit", hour())
    assert "is applied, rejected or waiting" in told(capsys, "audit")


def test_an_audit_with_missing_writes_or_gaps_did_not_succeed(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET audit", hour(missing=1))
    text = told(capsys, "audit", code=1)
    assert "m1 stations 1 then" in text
    assert "1 accepted writes are missing" in text

    server.on("GET audit", hour(is_complete=False))
    assert "Not all that was accepted" in told(capsys, "audit", code=1)


def test_what_the_api_refuses_is_said_without_a_traceback(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET overview", problem(403, "missing-scope", "the token needs the scope ops:read"))

    assert main(["ops", "overview"]) == 1
    error = capsys.readouterr().err
    assert "the token needs the scope ops:read" in error
    assert "Traceback" not in error
    assert "secret-token" not in error
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("?limit: it must be a number", "400 No luck: ?limit: it must be a number; ?since: a time"),
        ("look below", "400 No luck: look below; ?limit: it must be a number; ?since: a time"),
    ],
)
def test_a_fault_is_named_once(
    server: OpsServer, capsys: pytest.CaptureFixture[str], detail: str, expected: str
) -> None:
    refused = problem(400, "invalid-query", detail)
    names = {"?limit": "it must be a number", "?since": "a time"}
    faults = [{"pointer": name, "rule": "query", "detail": text} for name, text in names.items()]
    server.on("GET overview", refused._replace(body={**refused.body, "errors": faults}))

    assert main(["ops", "overview"]) == 1
    assert capsys.readouterr().err.strip() == expected


def test_what_passes_is_asked_again_and_what_stays_is_reported(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = problem(503, "reader-busy", "the database does not answer now", Retry_After="3")
    server.on("GET lanes", busy, busy, {"lanes": [], "basis": "so"})
    assert main(["ops", "lanes"]) == 0
    assert len(server.asked) == 3

    server.on("GET lanes", busy)
    assert main(["ops", "lanes"]) == 1
    assert "the database does not answer now" in capsys.readouterr().err
    assert len(server.asked) == 3 + 5


@pytest.mark.parametrize("body", ["<html>", "[1]", ""])
def test_an_answer_of_something_else_is_reported(
    server: OpsServer, capsys: pytest.CaptureFixture[str], body: str
) -> None:
    server.on("GET overview", Reply(body))

    assert main(["ops", "overview"]) == 1
    assert "not of Decanter" in capsys.readouterr().err

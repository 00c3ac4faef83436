"""/console in a real Chromium, against a stand-in for /ops."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from chalicelib.api.console.page import PAGE
from chalicelib.api.http.answers import Answer
from tests.kit.deployment import Deployment
from tests.kit.ops_stub import BATCH, Stub, problem_answer, rejection, serving
from tests.kit.waiting import LONG, until

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
DIGITS = Decimal("45.10000000000000000010")
VIEWS = ("overview", "rejections", f"rejections/{BATCH}02.600", "find", f"find/{BATCH}02")
VIEWS += ("dead-letters?buffer=ordered", "acts")


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A stage with 3,000 rejected writes of three causes, of which one has hostile rows."""
    taken = {"type": "conflict", "constraint": "uq_stations_iata", "sqlstate": "23505"}
    row = {"icao": HOSTILE, "latitude": 91, "elevation": DIGITS, "note": "a\u202eb"}
    null = {"type": "null", "constraint": None, "column": "name", "reason": HOSTILE, "row": row}
    made = Stub(
        [
            *(rejection(number) for number in range(2000)),
            *(rejection(number, **taken) for number in range(2000, 2600)),
            *(rejection(each, **null, caller=HOSTILE) for each in range(2600, 3000)),
        ]
    )
    made.dead_letters = [
        {"message_id": "m-1", "id": f"{BATCH}01", "resource": HOSTILE, "op": "create", "writes": 10}
        | {"accepted_at": "2026-01-31T12:00:00.000Z", "sent_at": "2026-01-31T12:00:00.000Z"}
        | {"receives": 1000, "poured": False, "newer": True, "reason": None},
        {"message_id": "m-2", "id": None, "resource": None, "op": None, "writes": None}
        | {"accepted_at": None, "sent_at": "2026-01-31T12:00:00.000Z"}
        | {"receives": 1000, "poured": False, "newer": None, "reason": "not JSON"},
    ]
    with serving(made) as served:
        yield served


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    opened.set_default_timeout(LONG * 1000)
    expect.set_options(timeout=LONG * 1000)
    yield opened
    opened.close()


def log_in(page: Page, token: str = "operator") -> None:
    page.get_by_label("Token of an operator").fill(token)
    page.get_by_role("button", name="Open").click()


def open_view(page: Page, stub: Stub, view: str = "overview") -> None:
    page.add_init_script(
        "sessionStorage.getItem('decanter-token') ??"
        " sessionStorage.setItem('decanter-token', 'operator')"
    )
    page.goto(f"{stub.url}/console#/{view}")


def asked(stub: Stub, path: str, method: str = "POST") -> list[Any]:
    return [what for verb, called, what in stub.asked if (verb, called) == (method, path)]


def test_a_rejected_write_is_found_understood_edited_tried_and_resent(
    page: Page, stub: Stub, said: list[str]
) -> None:
    open_view(page, stub, "rejections")
    causes = page.get_by_role("table", name="Causes")
    expect(page.get_by_role("heading", name="3,000 writes to be put right")).to_be_visible()
    expect(causes.get_by_role("row")).to_have_count(4)
    causes.get_by_role("link", name="null: name").click()
    expect(page.get_by_role("heading", name="400 writes to be put right")).to_be_visible()
    [*_, sent] = asked(stub, "rejections/causes", "GET")
    assert sent == {"resource": "stations", "type": "null", "constraint": "", "column": "name",
                    "sqlstate": "23514"}  # fmt: skip
    page.get_by_role("link", name="create stations").first.click()

    # All of it as text, with what changes the order of letters in view.
    row = page.get_by_label("Row, as it was sent")
    expect(page.locator(".reason")).to_have_text(f"null {HOSTILE}.".removesuffix("."))
    expect(page.get_by_text(HOSTILE, exact=True)).to_be_visible()  # the caller
    assert "a\\u202eb" in row.input_value()
    assert str(DIGITS) in row.input_value()

    page.get_by_role("button", name="Try").click()
    expect(page.locator("#outcome")).to_contain_text("It would be rejected. check: <img")
    row.fill(row.input_value().replace('"latitude": 91', '"latitude": 45.10'))
    expect(page.get_by_text("Edited: latitude.")).to_be_visible()
    page.get_by_role("button", name="Try").click()
    expect(page.locator("#outcome")).to_contain_text("It would be applied now.")
    expect(page.locator("#outcome")).to_contain_text("Its row has been changed since, 30 s ago")

    page.get_by_role("button", name="Resend").click()
    dialog = page.get_by_role("dialog", name="Resend this write as edited?")
    expect(dialog).to_contain_text("Its row has been changed since")
    dialog.get_by_label("Why").fill("latitude was wrong")
    dialog.get_by_role("button", name="Resend").click()
    expect(page.get_by_role("link", name="as this message")).to_be_visible()

    [act] = asked(stub, "acts")
    id = f"{BATCH}02.600"
    edited = {**stub.rejections[2600]["row"], "latitude": Decimal("45.10")}
    assert act == {
        "kind": "resend",
        "ids": [id],
        "rows": {id: edited},
        "note": "latitude was wrong",
    }
    assert str(act["rows"][id]["elevation"]) == str(DIGITS)
    assert page.evaluate("window.hacked") is None
    assert not said


def test_hostile_values_are_text_in_every_view(page: Page, stub: Stub, said: list[str]) -> None:
    stub.overview["waiting"] = [{"reason": HOSTILE, "writes": 3, "since": None}]
    stub.overview["rejections"] = [
        {"resource": HOSTILE, "type": "null", "constraint": HOSTILE, "writes": 1}
    ]
    stub.answers["lanes"] = lambda: Answer(
        200,
        {
            "lanes": [
                {"lane": HOSTILE, "waiting": 1}
                | {
                    "blocking": {
                        "id": HOSTILE,
                        "resource": HOSTILE,
                        "reason": HOSTILE,
                        "since": None,
                    }
                }
            ],
            "basis": HOSTILE,
        },
    )
    stub.acts["a"] = {"id": "a", "kind": HOSTILE, "who": HOSTILE, "note": HOSTILE}
    stub.acts["a"] |= {"target": {"filter": {"type": HOSTILE}}, "writes": None, "done": 0}
    stub.acts["a"] |= {"failed": 0, "state": "done", "begun_at": None, "last_at": None}
    for view in (
        "overview",
        "rejections?type=null",
        f"rejections/{BATCH}02.600",
        f"find/{BATCH}02",
        "dead-letters?buffer=ordered",
        "acts",
        "acts/a",
        f"rejections?type={HOSTILE}",
    ):
        open_view(page, stub, view)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("[aria-busy]")).to_have_count(0)
        expect(page.locator("main")).to_contain_text("<img src=x")
        assert page.locator("main img, main script").count() == 0
    assert page.evaluate("window.hacked") is None
    assert not said


def test_many_are_resent_by_the_number_that_was_shown(page: Page, stub: Stub) -> None:
    open_view(page, stub, "rejections?type=check")
    page.get_by_role("button", name="Resend all").click()
    dialog = page.get_by_role("dialog", name="Resend 2,000 writes?")
    expect(dialog).to_contain_text("type check")
    stub.rejections.append(rejection(3000))
    dialog.get_by_role("button", name="Resend 2,000 writes").click()
    expect(page.get_by_role("alert")).to_contain_text("2001 writes match, not 2000")
    assert not stub.acts

    expect(page.get_by_role("heading", name="2,001 writes to be put right")).to_be_visible()
    page.get_by_role("button", name="Resend all").click()
    page.get_by_role("dialog").get_by_role("button", name="Resend 2,001 writes").click()
    expect(page.get_by_text("No rejected write matches these filters.")).to_be_visible()
    [act] = stub.acts.values()
    assert (act["done"], act["state"]) == (2001, "done")
    assert asked(stub, "acts")[-1] == {
        "kind": "resend", "filter": {"type": "check"}, "note": "", "expect": 2001
    }  # fmt: skip
    expect(page.get_by_role("status")).to_have_text("Resending: It is done, 2,001 of 2,001.")
    expect(page.locator("#running")).to_be_hidden()


def test_an_act_goes_on_in_other_views_and_is_stopped(page: Page, stub: Stub) -> None:
    stub.per_step = 1
    open_view(page, stub, "rejections")
    page.get_by_role("button", name="Discard all").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard 3,000 writes").click()
    page.get_by_role("link", name="Find").click()
    running = page.get_by_role("region", name="Acts that this page carries out")
    expect(running.get_by_role("progressbar")).to_have_attribute("value", re.compile("[1-9]"))
    running.get_by_role("button", name="Stop").click()
    expect(running).to_be_hidden()
    [act] = stub.acts.values()
    assert act["state"] == "stopped"
    assert 0 < act["done"] < 3000

    page.get_by_role("link", name="Acts").click()
    page.get_by_role("link", name="discard").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_role("button", name="Go on")).to_have_count(0)


def test_what_another_has_begun_is_gone_on_with(page: Page, stub: Stub) -> None:
    stub.begin({"kind": "discard", "filter": {}, "expect": 3000, "note": "theirs"})
    [act] = stub.acts.values()
    open_view(page, stub, f"acts/{act['id']}")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("main")).to_contain_text("3,000 of 3,000")
    assert act["state"] == "done"


def test_an_edit_survives_other_views_and_an_expired_token(page: Page, stub: Stub) -> None:
    open_view(page, stub, f"rejections/{BATCH}00.5")
    row = page.get_by_label("Row, as it was sent")
    row.fill('{"icao": "X005", "latitude": 1.0}')
    page.get_by_role("link", name="Acts").click()
    page.go_back()
    expect(row).to_have_value('{"icao": "X005", "latitude": 1.0}')

    stub.token = "next"
    page.get_by_role("button", name="Try").click()
    dialog = page.get_by_role("dialog", name="Token")
    expect(dialog).to_contain_text("not valid here, or not any more")
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    log_in(page, "Bearer next")
    expect(page.locator("#outcome")).to_contain_text("It would be applied now.")
    expect(row).to_have_value('{"icao": "X005", "latitude": 1.0}')

    row.fill("{")
    expect(row).to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Resend").click()
    expect(page.locator("#outcome")).to_contain_text("This is not JSON")
    assert not stub.acts


def test_an_edit_that_could_not_be_resent_is_kept(page: Page, stub: Stub) -> None:
    open_view(page, stub, f"rejections/{BATCH}00.5")
    row = page.get_by_label("Row, as it was sent")
    row.fill('{"icao": "X005", "latitude": 1}')
    failing = {"writes": 1, "done": 0, "failed": 1, "state": "done"}
    id = "00000000-0000-8000-8000-000000000000"
    stub.answers[f"acts/{id}/steps"] = lambda: Answer(200, {**stub.acts[id], **failing})
    page.get_by_role("button", name="Resend").click()
    page.get_by_role("dialog").get_by_role("button", name="Resend").click()
    running = page.get_by_role("region", name="Acts that this page carries out")
    expect(running).to_contain_text("It is done, 0 of 1, 1 failed")
    expect(row).to_have_value('{"icao": "X005", "latitude": 1}')
    running.get_by_role("button", name="Close").click()
    expect(running).to_be_hidden()


def test_figures_are_renewed_in_place_while_the_page_is_seen(page: Page, stub: Stub) -> None:
    page.clock.install()
    open_view(page, stub)
    card = page.get_by_role("article", name="Buffer ordered")
    button = card.get_by_role("button", name="Pause")
    button.focus()
    page.get_by_text("As a table").first.click()
    button.focus()
    boxes = (
        "[...document.querySelectorAll('section, .card, .chart, tr')].map((each) =>"
        " JSON.stringify(each.getBoundingClientRect())).slice(0, 14)"
    )
    before = page.evaluate(boxes)
    stub.overview["buffers"][0].update(queued=98765, in_flight=1234, oldest_seconds=4000.0)
    stub.overview["buffers"][0]["estimate"] |= {"seconds": 94.0, "basis": "the pace of a minute"}
    page.clock.run_for(6000)
    expect(card).to_contain_text("98,765")
    assert page.evaluate(boxes) == before
    expect(button).to_be_focused()
    expect(page.get_by_role("table", name="Writes a minute")).to_be_visible()

    def calls() -> int:
        return len(asked(stub, "overview", "GET"))

    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.clock.run_for(12_000)
    hidden = calls()
    page.clock.run_for(60_000)
    assert calls() == hidden
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: false});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    until(lambda: calls() > hidden, "another call")


def test_samples_have_a_gap_where_nothing_was_seen(page: Page, stub: Stub) -> None:
    page.goto(f"{stub.url}/console")
    found = page.evaluate(
        """async () => {
            const { sample, sampled } = await import(new URL("console/samples.js", location));
            for (const [second, queued] of [[10, 1], [15, null], [20, 3], [20, 9], [55, 4]]) {
                const at = `2026-01-31T12:00:${second}Z`;
                const buffers = [{ name: "ordered", queued }];
                sample({ at, buffers, connections: null, budget: 14 });
            }
            return sampled("ordered", "in use", "budget");
        }"""
    )
    start = found[0][0]
    assert [time - start for time in found[0]] == [0, 5, 10, 30, 45]
    assert found[1] == [[1, None, 3, None, 4], [None] * 5, [14, 14, 14, None, 14]]


def test_what_is_not_known_is_never_shown_as_0(page: Page, stub: Stub) -> None:
    why = "the reader did not answer in time"
    of_database = ("resources", "waiting", "connections", "rejections", "history", "estimate_score")
    stub.overview |= dict.fromkeys(of_database)
    stub.overview["budget"] = None
    for buffer in stub.overview["buffers"]:
        buffer |= dict.fromkeys(
            ("queued", "in_flight", "oldest_seconds", "dead_letters", "mapping")
        )
        buffer["estimate"] |= {"seconds": None, "basis": "it is not known: no count"}
    stub.overview["unknown"] += [{"what": "database", "why": why}]
    stub.answers["lanes"] = lambda: problem_answer("reader-busy", why)
    open_view(page, stub)

    expect(page.get_by_text("The database does not answer")).to_be_visible()
    for name in ("Resources", "Connections", "Rejections of the last 24 hours"):
        expect(page.get_by_role("region", name=name, exact=True)).to_contain_text(why)
    card = page.get_by_role("article", name="Buffer ordered")
    expect(card.get_by_text("not known", exact=True)).to_have_count(5)
    expect(page.locator("figure").first).to_contain_text("Poured: not known yet")
    expect(page.locator("figure").nth(1)).to_contain_text("Half within: not known yet")
    shown = page.locator("main").inner_text()
    times = page.locator("time, .freshness, .title").all_inner_texts()
    for each in times:
        shown = shown.replace(each, "")
    assert not re.findall(r"(?<![\d.:])0(?![\d.:])", shown), shown


def test_a_busy_reader_is_told_in_every_view(page: Page, stub: Stub) -> None:
    views = [view for view in VIEWS if view != "find"]
    busy = problem_answer("reader-busy", "the reader is busy")
    for path in views:
        stub.answers[path.partition("?")[0].replace("find", "writes")] = lambda: busy
    for view in views:
        open_view(page, stub, view)
        expect(page.get_by_role("alert")).to_contain_text("Busy at the moment")
        expect(page.get_by_role("alert")).to_contain_text("The reader is busy.")
    stub.answers.clear()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("No act was found.")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(
    ("answer", "heading", "text"),
    [
        (problem_answer("internal", "an unexpected error"), "This did not work", "An unexpected"),
        (Answer(502, "<html>"), "Busy at the moment", "The API answers 502."),
        (None, "No answer", "The API cannot be reached"),
    ],
)
def test_an_error_says_what_went_wrong(
    page: Page, stub: Stub, answer: Answer | None, heading: str, text: str
) -> None:
    if answer:
        stub.answers["acts"] = lambda: answer
    else:
        page.route("**/ops/**", lambda route: route.abort())
    open_view(page, stub, "acts")
    expect(page.get_by_role("alert")).to_contain_text(heading)
    expect(page.get_by_role("alert")).to_contain_text(text)


def test_another_token_is_asked_for_where_a_scope_is_missing(page: Page, stub: Stub) -> None:
    lacking = problem_answer("missing-scope", "the token needs the scope ops:read")
    stub.answers["overview"] = lambda: lacking
    open_view(page, stub)
    expect(page.get_by_role("alert")).to_contain_text("The token needs the scope ops:read.")
    stub.answers.clear()
    stub.token = "better"
    page.get_by_role("button", name="Use another token").click()
    log_in(page, "better")
    expect(page.get_by_role("article", name="Buffer ordered")).to_be_visible()


def test_empty_lists_say_so(page: Page, stub: Stub) -> None:
    stub.rejections.clear()
    stub.dead_letters.clear()
    stub.overview["history"]["lag_p50"][-1] = None
    for view, text in (
        ("overview", "Nothing needs attention. 690 writes poured in the last minute"),
        ("overview", "Half within nothing poured, at most 322 ms."),
        ("rejections", "No rejected write matches these filters."),
        ("dead-letters?buffer=ordered", "There are none."),
        ("acts", "No act was found."),
        ("find/x", "accepted"),
        ("find/%", "accepted"),
    ):
        open_view(page, stub, view)
        expect(page.locator("main")).to_contain_text(text)


def test_a_buffer_is_paused_and_dead_letters_are_redriven(page: Page, stub: Stub) -> None:
    open_view(page, stub)
    card = page.get_by_role("article", name="Buffer ordered")
    card.get_by_role("button", name="Pause ordered").click()
    dialog = page.get_by_role("dialog", name="Pause ordered?")
    dialog.get_by_label("Why").fill("a migration")
    dialog.get_by_role("button", name="Pause").click()
    expect(card.get_by_role("button", name="Resume ordered")).to_be_visible()
    expect(page.locator("main")).to_contain_text("ordered is paused: 0 of its messages wait.")

    page.get_by_role("link", name="Dead letters").click()
    page.get_by_role("button", name="Look into them of ordered").click()
    table = page.get_by_role("table", name="Dead letters")
    expect(table).to_contain_text("rejected as superseded")
    expect(table).to_contain_text("cannot be read: not JSON")
    page.get_by_role("button", name="Redrive … ordered").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Messages a second").fill("25")
    dialog.get_by_role("button", name="Redrive").click()
    expect(page.get_by_role("link", name="progress")).to_be_visible()
    assert asked(stub, "acts") == [
        {"kind": "pause", "buffer": "ordered", "note": "a migration"},
        {"kind": "redrive", "buffer": "ordered", "per_second": 25, "note": ""},
    ]


def test_an_hour_is_accounted_for_in_all_its_parts(page: Page, stub: Stub) -> None:
    open_view(page, stub, "find")
    form = page.get_by_role("form", name="Is anything missing?")
    form.get_by_label("Hour, in UTC").fill("2026-01-31T12:00")
    form.get_by_role("button", name="Find").click()
    expect(page.locator("main")).to_contain_text("3 of 1,200 writes are missing.")
    row = page.get_by_role("table", name="Accounts").get_by_role("row").last
    assert row.inner_text().split() == ["stations", "1,200", "1,177", "20", "0", "3"]
    expect(page.get_by_role("table", name="Missing requests")).to_contain_text(f"{BATCH}09")
    hour = {"hour": "2026-01-31T12:00:00Z"}
    assert asked(stub, "audit", "GET") == [hour, {**hour, "cursor": "rest"}]


@pytest.mark.parametrize("kind", ["NDJSON", "CSV"])
def test_a_whole_filter_is_downloaded(page: Page, stub: Stub, kind: str) -> None:
    open_view(page, stub, "rejections")
    with page.expect_download() as waited:
        page.get_by_role("button", name=f"Download all as {kind}").click()
    lines = waited.value.path().read_text().splitlines()
    if kind == "CSV":
        assert lines.pop(0) == "id,reason"
        ids = [line.split(",")[0] for line in lines]
    else:
        ids = [json.loads(line)["id"] for line in lines]
    assert ids == [each["id"] for each in stub.rejections]


@pytest.mark.parametrize("width", [1280, 360])
def test_everything_has_a_name_and_fits(page: Page, stub: Stub, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    client = page.context.new_cdp_session(page)
    for view in VIEWS:
        open_view(page, stub, view)
        expect(page.locator("[aria-busy]")).to_have_count(0)
        nodes = client.send("Accessibility.getFullAXTree")["nodes"]
        roles = [
            (_value(node, "role"), _value(node, "name")) for node in nodes if not node["ignored"]
        ]
        named = {"button", "link", "textbox", "combobox", "Date", "DateTime", "InputTime"}
        named |= {
            "table",
            "region",
            "dialog",
            "article",
            "heading",
            "progressbar",
            "form",
            "search",
        }
        assert [role for role, name in roles if role in named and not name] == []
        for landmark in ("banner", "navigation", "main"):
            assert [role for role, _ in roles].count(landmark) == 1, (view, landmark)
        if view == "rejections":
            kinds = [role for role, _ in roles]
            assert kinds.count("columnheader") == 11
            assert kinds.count("rowheader") == 3 + 50
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, (view, overflow)


def _value(node: dict[str, Any], name: str) -> str:
    return str(node.get(name, {}).get("value", "")).strip()


def test_the_keyboard_is_enough(page: Page, stub: Stub) -> None:
    page.goto(f"{stub.url}/console#/rejections/{BATCH}00.7")
    dialog = page.get_by_role("dialog", name="Token")
    expect(dialog.get_by_label("Token of an operator")).to_be_focused()
    page.keyboard.insert_text("operator")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Row, as it was sent")).to_be_visible()

    _tab_to(page, "discard")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("Why")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#discard")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.insert_text("a test row")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("discarded just now")
    assert asked(stub, "acts")[0]["note"] == "a test row"

    page.keyboard.press("Shift+Tab")
    page.goto(f"{stub.url}/console#/find")
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_a_question_is_answered_by_itself_only(page: Page, stub: Stub) -> None:
    """The browser tells of a dialog's close after the next one has been opened."""
    open_view(page, stub, f"rejections/{BATCH}00.7")
    expect(page.locator("#discard")).to_be_visible()
    page.evaluate(
        """() => {
            const open = () => document.querySelector("dialog[open]");
            document.getElementById("discard").click();
            open().close();
            document.getElementById("discard").click();
            open().querySelector("input").value = "the second";
        }"""
    )
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    expect(page.locator("main")).to_contain_text("discarded just now")
    assert [act["note"] for act in asked(stub, "acts")] == ["the second"]


def _tab_to(page: Page, id: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == id:
            return
    raise AssertionError(f"no way to {id}")


def test_the_token_is_sent_as_bearer_and_kept_by_the_tab_only(page: Page, stub: Stub) -> None:
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))
    page.goto(f"{stub.url}/console")
    log_in(page)
    expect(page.get_by_role("article", name="Buffer ordered")).to_be_visible()
    calls = [each for each in sent if "/ops/" in each.url]
    assert calls[-1].headers["authorization"] == "Bearer operator"
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    page.reload()
    expect(page.get_by_role("article", name="Buffer ordered")).to_be_visible()
    page.get_by_role("button", name="Forget token").click()
    expect(page.get_by_role("dialog", name="Token")).to_be_visible()


def test_the_deployed_page_has_all_of_its_files(browser: Browser, deployed: Deployment) -> None:
    login = {"username": "anyone", "password": deployed.token()}
    with browser.new_context(http_credentials=login) as context:
        page = context.new_page()
        page.set_default_timeout(LONG * 1000)
        answers = []
        page.on("response", lambda response: answers.append((response.status, response.url)))
        page.goto(f"{deployed.api_url}/console")
        expect(page.get_by_role("dialog", name="Token")).to_be_visible(timeout=LONG * 1000)
        loaded = {url.rpartition("/")[2] for status, url in answers if status == 200}
        assert {*PAGE.assets, "icon.svg"} <= loaded
        # The browser's login opens the page, and nothing else.
        assert {status for status, url in answers if "/ops/" in url} == {401}

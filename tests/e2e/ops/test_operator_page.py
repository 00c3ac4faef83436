"""/console as it is deployed: 3,000 rejected writes of three causes are put right."""

import json
from typing import Any

from playwright.sync_api import Page, expect

from tests.kit.deployment import Deployment
from tests.kit.project import HOME
from tests.kit.waiting import until

HOSTILE = '<img src=x onerror="window.hacked=1">'
STATION = {
    "name": HOSTILE,
    "country": "CH",
    "elevation_ft": 1,
    "latitude": 47,
    "longitude": 8,
    "timezone": "Europe/Zurich",
}


def test_three_thousand_rejected_writes_are_put_right(page: Page, deployed: Deployment) -> None:
    discard_open(deployed)
    there = [{**STATION, "icao": f"R{number:03}"} for number in range(400)]
    settle(deployed, "stations", there, "applied")
    settle(deployed, "stations", there, "rejected")
    report = {"station": "OPRZ", "observed_at": "2026-01-31T12:00:00Z"}
    settle(deployed, "observations", [report] * 2000, "rejected")
    far = [{**STATION, "icao": f"Q{number:03}", "latitude": 91} for number in range(600)]
    settle(deployed, "stations", far, "rejected")

    open_view(page, deployed, "rejections")
    causes = page.get_by_role("table", name="Causes")
    for cause, count in (("fk_observations", "2,000"), ("ck_stations", "600"), ("pk", "400")):
        expect(causes.get_by_role("row").filter(has_text=cause)).to_contain_text(count)
    (HOME / "build").mkdir(exist_ok=True)
    page.screenshot(path=HOME / "build/console-rejections.png")

    causes.get_by_role("link", name="ck_stations_latitude").click()
    expect(page.get_by_role("heading", name="600 writes to be put right")).to_be_visible()
    page.get_by_role("link", name="create stations").first.click()
    _edit_and_resend_one(page)
    expect(page.get_by_text("poured 1 write")).to_be_visible()
    expect(page.get_by_text("a slip of the point")).to_be_visible()

    settle(deployed, "stations", {**STATION, "icao": "OPRZ"}, "applied")
    page.goto(f"{deployed.api_url}/console#/rejections?type=missing-parent")
    page.get_by_role("button", name="Resend all").click()
    confirm(page, "Resend 2,000 writes", "the station is there now")
    expect(page.get_by_text("No rejected write matches these filters.")).to_be_visible()
    page.get_by_role("link", name="Rejections", exact=True).click()
    page.get_by_role("button", name="Discard all").click()
    confirm(page, "Discard 999 writes", "sent twice")
    expect(page.get_by_text("No rejected write matches these filters.")).to_be_visible()

    page.goto(f"{deployed.api_url}/console#/rejections?type=conflict&state=discarded")
    page.get_by_role("link", name="create stations").first.click()
    page.get_by_role("link", name="its timeline").click()
    expect(page.locator("main")).to_contain_text("sent twice")
    page.get_by_role("link", name="Acts").click()
    for done in ("999 of 999", "2,000 of 2,000", "1 of 1"):
        expect(page.get_by_role("row").filter(has_text=done).first).to_contain_text("done")
    poured = deployed.call("GET", "/observations?station=OPRZ&limit=1000").body
    assert len(poured) == 1000
    assert page.evaluate("window.hacked") is None


def open_view(page: Page, deployed: Deployment, view: str) -> None:
    page.goto(f"{deployed.api_url}/console#/{view}")
    page.get_by_label("Token of an operator").fill(deployed.token())
    page.get_by_role("button", name="Open").click()


def discard_open(deployed: Deployment) -> None:
    """Set the rejections of other tests aside."""
    causes = deployed.call("GET", "/ops/rejections/causes").body["causes"]
    if count := sum(each["open"] for each in causes):
        asked = {"kind": "discard", "filter": {"state": "open"}, "expect": count}
        act = deployed.call("POST", "/ops/acts", asked).body
        path = f"/ops/acts/{act['id']}/steps"
        until(lambda: deployed.call("POST", path, {}).body.get("state") == "done", "done")


def settle(deployed: Deployment, resource: str, rows: Any, state: str) -> None:
    """Send rows, and wait until they are applied or rejected, as they have to be."""
    accepted = deployed.call("POST", f"/{resource}", rows, {"Prefer": "missing-parent=reject"})
    assert accepted.status == 202, accepted.body
    path = f"{accepted.headers['Location']}?wait=20"
    until(lambda: deployed.call("GET", path).body.get("state") == state, state)


def confirm(page: Page, action: str, why: str) -> None:
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill(why)
    dialog.get_by_role("button", name=action).click()


def _edit_and_resend_one(page: Page) -> None:
    row = page.get_by_label("Row, as it was sent")
    assert json.loads(row.input_value())["name"] == HOSTILE
    page.get_by_role("button", name="Try").click()
    expect(page.locator("#outcome")).to_contain_text("It would be rejected. check")
    row.fill(row.input_value().replace("91", "9.1"))
    page.get_by_role("button", name="Try").click()
    expect(page.locator("#outcome")).to_contain_text("It would be applied now.")
    page.get_by_role("button", name="Resend").click()
    confirm(page, "Resend", "a slip of the point")
    page.get_by_role("link", name="as this message").click()

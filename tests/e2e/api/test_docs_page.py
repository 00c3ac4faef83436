"""/docs in a real Chromium that can reach nothing but this machine's own loopback."""

import json

from playwright.sync_api import Page, expect

from tests.kit.deployment import Deployment
from tests.kit.project import HOME


def opened(page: Page, deployed: Deployment) -> None:
    page.goto(f"{deployed.api_url}/docs")
    expect(page.locator(".opblock").first).to_be_visible()


def test_the_page_sends_a_write_with_a_token(
    page: Page, said: list[str], deployed: Deployment
) -> None:
    contract = deployed.call("GET", "/openapi.json").body
    opened(page, deployed)

    shown = {tag.get_attribute("data-tag") for tag in page.locator(".opblock-tag").all()}
    assert shown == {tag["name"] for tag in contract["tags"]}
    assert set(contract["x-decanter"]["resources"]) <= shown
    operations = sum(len(set(item) - {"parameters"}) for item in contract["paths"].values())
    expect(page.locator(".opblock")).to_have_count(operations)

    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".modal-ux")
    assert "sigv4" not in dialog.inner_text()  # a browser cannot sign
    dialog.locator("input").fill(deployed.token())
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.get_by_role("button", name="Close").click()

    create = page.locator(".opblock-post").filter(has=page.locator('[data-path="/stations"]'))
    create.locator(".opblock-summary-control").click()
    create.get_by_role("button", name="Try it out").click()
    body = create.locator("textarea.body-param__text")
    row = json.loads(body.input_value())
    assert row["icao"] == "LSZH"  # the model's example
    body.fill(json.dumps({**row, "icao": "DOCS"}))
    create.get_by_role("button", name="Execute").click()

    answer = create.locator(".live-responses-table .response").first
    expect(answer.locator(".response-col_status")).to_contain_text("202")
    accepted = json.loads(answer.locator(".highlight-code code").first.inner_text())
    status = deployed.call("GET", f"/writes/{accepted['receipt']}?wait=20")
    assert status.body["state"] == "applied", status.body

    (HOME / "build").mkdir(exist_ok=True)
    create.locator(".responses-wrapper").scroll_into_view_if_needed()
    page.screenshot(path=HOME / "build/docs-request.png")
    create.locator(".opblock-summary-control").click()
    page.screenshot(path=HOME / "build/docs.png", full_page=True)
    assert not said


def test_a_token_that_is_not_good_is_asked_for_again(page: Page, deployed: Deployment) -> None:
    """As it is where the page is still cached and the token that opened it is over."""
    page.route(
        "**/openapi.json",
        lambda route: (
            route.continue_()
            if deployed.token().split(".")[0] in route.request.headers.get("authorization", "")
            else route.fulfill(status=401, body="{}")
        ),
    )
    page.goto(f"{deployed.api_url}/docs")
    form = page.locator("#token-form")
    expect(form).to_contain_text("Paste a token")

    form.locator("textarea").fill("nonsense")
    form.get_by_role("button").click()
    expect(form).to_contain_text("not valid here")
    form.locator("textarea").fill(f"Bearer {deployed.token()}")
    form.get_by_role("button").click()

    expect(page.locator(".opblock").first).to_be_visible()
    expect(form).to_be_hidden()
    expect(page.locator(".btn.authorize.locked")).to_be_visible()  # and used for requests


def test_the_browser_lets_the_page_call_nobody_else(page: Page, deployed: Deployment) -> None:
    opened(page, deployed)
    refused = page.evaluate(
        """async (address) => {
            const seen = new Promise((done) =>
                document.addEventListener("securitypolicyviolation", (e) => done(e.blockedURI)));
            await fetch(address).catch(() => null);
            return await seen;
        }""",
        deployed.api_url.replace("127.0.0.1", "localhost"),
    )
    assert refused.startswith("http://localhost")


def test_without_credentials_nothing_of_it_is_shown(deployed: Deployment) -> None:
    for path in ("/docs", "/docs/page.js", "/openapi.json", "/console", "/console/page.js"):
        answer = deployed.call("GET", path, token="")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")  # so that browsers ask

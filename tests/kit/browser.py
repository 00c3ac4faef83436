"""Pages in a Chromium that can reach nothing but this machine's own loopback."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.kit.deployment import Deployment
from tests.kit.waiting import LONG


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
            ],
            # Of LANG=C it would make a language that no formatter of numbers and times knows.
            env={**os.environ, "LC_ALL": "en_US.UTF-8"},
        )
        yield running
        running.close()


@pytest.fixture
def context(browser: Browser, deployed: Deployment) -> Iterator[BrowserContext]:
    """A browser whose user gives a token where it asks for a password."""
    opened = browser.new_context(
        http_credentials={"username": "anyone", "password": deployed.token()},
        viewport={"width": 1280, "height": 900},
    )
    opened.set_default_timeout(LONG * 1000)
    expect.set_options(timeout=LONG * 1000)
    yield opened
    opened.close()


@pytest.fixture
def said() -> list[str]:
    """What the page, or the browser because of it, writes to the console."""
    return []


@pytest.fixture
def page(context: BrowserContext, said: list[str]) -> Iterator[Page]:
    """A page that has asked nobody else when the test is over."""
    shown = context.new_page()
    asked: list[str] = []
    shown.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    shown.on("pageerror", lambda error: said.append(f"error: {error}"))
    shown.on("request", lambda request: asked.append(request.url))
    yield shown
    assert {urlsplit(url).hostname for url in asked if not url.startswith("data:")} == {"127.0.0.1"}

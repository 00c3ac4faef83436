"""Pages in the browser of tests/kit/browser.py."""

from tests.kit.browser import browser, page, said

__all__ = ["browser", "page", "said"]

"""Pages in the browser of tests/kit/browser.py."""

from tests.kit.browser import browser, context, page, said

__all__ = ["browser", "context", "page", "said"]

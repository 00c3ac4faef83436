"""The page for operators. It calls /ops with a token that it asks for: what the browser sends by
itself after its own login opens pages only, so that no other site can have it change something.

Charts are drawn by uPlot: 51 kB, no dependencies, and it builds no markup from text. Chart.js is
four times as long and uses the same canvas.
"""

from pathlib import Path

from chalicelib.api.http.files import StaticPage

PAGE = StaticPage(
    folder=Path(__file__).parent / "assets",
    assets=(
        "accounts.js",
        "acts.js",
        "api.js",
        "attention.js",
        "buffers.js",
        "bulk.js",
        "charts.js",
        "dead-letters.js",
        "dialog.js",
        "dom.js",
        "figures.js",
        "filters.js",
        "find.js",
        "format.js",
        "overview.js",
        "page.css",
        "page.js",
        "rejection.js",
        "rejections.js",
        "resources.js",
        "running.js",
        "samples.js",
        "uplot-1.6.32.css",  # a new version of uPlot gets new names
        "uplot-1.6.32.js",
    ),
    pinned="uplot-",
    # No script may turn text into markup.
    policy={"require-trusted-types-for": "'script'", "trusted-types": "'none'"},
)

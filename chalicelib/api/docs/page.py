"""The page to browse the contract."""

from pathlib import Path

from chalicelib.api.http.files import StaticPage

PAGE = StaticPage(
    folder=Path(__file__).parent / "assets",
    assets=(
        "icon.svg",
        "page.css",
        "page.js",
        "swagger-ui-5.24.2.css",  # a new version of Swagger UI gets new names
        "swagger-ui-bundle-5.24.2.js",
    ),
    pinned="swagger-ui-",
    policy={"style-src": "'self' 'unsafe-inline'"},  # Swagger UI writes styles into its markup
)

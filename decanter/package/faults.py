"""Why something cannot be packaged."""


class PackagingError(Exception):
    """The project cannot be packaged as it is; the message says what to do about it."""

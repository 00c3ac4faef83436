"""The error of packaging."""


class PackagingError(Exception):
    """The project cannot be packaged as it is; the message says what to do about it."""

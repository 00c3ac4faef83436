"""The limit of open files, which sockets count towards."""

import resource


class TooFewFilesError(Exception):
    """The system allows fewer open files than a benchmark needs."""


def allow(count: int) -> None:
    """Let this process, and those that it starts, open so many files. Raise TooFewFilesError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            raise TooFewFilesError(
                f"This benchmark needs {count:,} open files in a process, and the system allows"
                f" {hard:,}. Raise the limit as root (ulimit -Hn {count}), and run it again."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))

"""What of the shell's environment the local cloud sees: it asks nobody but itself.

A profile, an endpoint, a proxy or a module path that is meant for other work would lead it, and the
functions that run in it, elsewhere. What goes to real AWS has the shell's environment as it is.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from decanter.local.network import LOOPBACK
from decanter.package import NO_AWS

_OF_AWS = re.compile(r"AWS_\w+|BOTO_CONFIG")
_PLAIN = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|LD_LIBRARY_PATH|DYLD_\w+|VIRTUAL_ENV"
    r"|__PYVENV_LAUNCHER__|SYSTEMROOT|SYSTEMDRIVE|COMSPEC|PATHEXT"
)
_DIRECT = ("NO_PROXY", "no_proxy")  # where both are set, some read the one and some the other


def bare(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Of what runs in the local cloud: where programs and libraries are, and nothing else."""
    kept = {name: value for name, value in variables.items() if _PLAIN.fullmatch(name)}
    return kept | NO_AWS | dict.fromkeys(_DIRECT, "*")


def direct(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What has to be set so that no proxy is asked for this machine itself."""
    said = [place for name in _DIRECT for place in variables.get(name, "").split(",") if place]
    if "*" in said:  # for all; in a list it would mean nothing
        return dict.fromkeys(_DIRECT, "*")
    return dict.fromkeys(_DIRECT, ",".join(dict.fromkeys([*said, LOOPBACK, "localhost", "::1"])))


@contextmanager
def alone() -> Iterator[None]:
    """For the block, this process and those it starts know no AWS but what the block sets.

    Proxies stay, for pip, which fetches what the functions need.
    """
    before = dict(os.environ)
    for name in before:
        if _OF_AWS.fullmatch(name):
            del os.environ[name]
    os.environ.update({**NO_AWS, **direct()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
